"""Notes that explain why a goal is not met; people write them in a TOML file beside the module of the family."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from pydantic import ValidationError

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.bench.bench_record import Note
from kernelproof.verify.bench.figure import FigureFamily


class NoteError(KernelproofError):
    """A file of notes is malformed."""


def notes(family: FigureFamily) -> dict[str, Note]:
    """The notes of a family by the id of their claim; empty if there is no file.

    Raises:
        NoteError: the file is not TOML, names a claim that does not exist, or a note has the wrong fields.
    """
    name = f"{family.id}.toml"
    file = files("kernelproof.verify.bench.figures") / name
    if not file.is_file():
        return {}
    return parsed(file.read_text("utf-8"), name, {claim.id for claim in family.claims})


def parsed(text: str, name: str, claims: set[str]) -> dict[str, Note]:
    r"""Parse the notes in `text`.

    Raises:
        NoteError: as for `notes`.

    >>> parsed("[low]\ntried = 'a'\nin_the_way = 'b'\n", "x.toml", {"low"})
    {'low': Note(tried='a', in_the_way='b')}
    """
    try:
        found = tomllib.loads(text)
        unknown = sorted(set(found) - claims)
        if unknown:
            msg = f"{name}: there is no claim {unknown[0]!r}; claims: {', '.join(sorted(claims))}"
            raise NoteError(msg)
        return {claim: Note.model_validate(note) for claim, note in found.items()}
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        msg = f"{name}: {str(error).partition(chr(10))[0]}"
        raise NoteError(msg) from None
