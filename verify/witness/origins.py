"""Where a script gets its target from: a backend, a peer, a module, a file or a program."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kernelproof.verify.targets.loading import BACKEND, BUILT_IN
from kernelproof.verify.targets.program import words_of
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.peers import definition

_PEERS = "kernelproof.verify.targets.peers."


@dataclass(frozen=True)
class Origin:
    """Where a target is.

    Attributes:
        kind: ``module``: importable by its name once `folder` is first on the path; ``file``: not importable by name.
        module: the name of the module.
        object: dotted names in the module; "" for the module itself.
        folder: of the module; None: it is installed, or else in the working directory.
        file: the path of a file.
        definition: the source of a peer.
        words: the program and its arguments.
        made: whether the target is an instance of the class `object`, made without arguments.
    """

    kind: Literal["built-in", "peer", "module", "file", "program"]
    module: str = ""
    object: str = ""
    folder: str | None = None
    file: str = ""
    definition: str = ""
    words: list[str] = field(default_factory=list)
    made: bool = False


def origin_of(target: Target) -> Origin:
    """Return where `target` is."""
    place, made = target.place, target.form.made
    if target.is_program:
        return Origin("program", words=words_of(place))
    if place.module.startswith(BUILT_IN):
        return Origin("built-in", place.module.removeprefix(BUILT_IN))
    if place.module.startswith(_PEERS):
        source = "\n".join(definition(place.module, place.object)).strip("\n")
        return Origin("peer", object=place.object, definition=source, made=made)
    if not place.module.endswith(".py"):
        name = place.object or ("" if target.form.module else BACKEND)
        return Origin("module", place.module, name, made=made)
    path = place.name.rpartition(":")[0]
    shown = Path(path if path.endswith(".py") else place.module)
    stem = shown.stem
    if stem.isidentifier() and stem not in sys.stdlib_module_names and _is_free(stem, place.module):
        return Origin("module", stem, place.object, folder=shown.parent.as_posix(), made=made)
    return Origin("file", stem, place.object, file=shown.as_posix(), made=made)


def _is_free(stem: str, file: str) -> bool:
    """Whether no module other than `file` is called `stem`."""
    try:
        found = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        return False
    return found is None or found.origin == file
