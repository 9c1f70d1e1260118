"""Benchmarks as JSON, a page, Markdown, pictures and the README's table, all pure functions of the record."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from kernelproof.reference.errors import DomainError
from kernelproof.reports.folder import check_writable as _check_writable
from kernelproof.reports.folder import put
from kernelproof.verify.bench.bench_record import SCHEMA, BenchResults

__all__ = ["FILES", "check_writable", "from_json", "read", "render", "to_json", "write"]

FILES = ("bench.json", "index.html", "bench.md")
"""Besides these there is one SVG for every picture."""


def to_json(results: BenchResults) -> str:
    """`results` as JSON text."""
    return results.model_dump_json(by_alias=True, indent=1) + "\n"


def from_json(text: str) -> BenchResults:
    """The results that `text` holds.

    Raises:
        DomainError: `text` is no JSON, or not of this schema; the message names the first field that is wrong.
    """
    try:
        return BenchResults.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text itself"
        msg = f"the benchmarks must follow the schema {SCHEMA!r}; at {place}: {first['msg']}"
        raise DomainError(msg) from None


def read(path: Path) -> BenchResults:
    """The results in the file `path`, or in `path/bench.json` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    file = path / FILES[0] if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"benchmarks must be a readable bench.json or a folder with one; got {str(path)!r} ({reason})"
        raise DomainError(msg) from None
    return from_json(text)


def check_writable(out: Path) -> None:
    """Nothing, if `write` can put its files into the folder `out`; call it before a long run.

    Raises:
        DomainError: it cannot.
    """
    _check_writable(out, FILES)


def render(results: BenchResults) -> dict[str, str]:
    """The text of every file by its name; a pure function of the JSON text of `results`."""
    # Here, because matplotlib and jinja2 take longer to import than `kernelproof --help` may.
    from kernelproof.reports.bench.markdown import markdown  # noqa: PLC0415
    from kernelproof.reports.bench.page import page  # noqa: PLC0415
    from kernelproof.reports.bench.pictures import alone  # noqa: PLC0415

    text = to_json(results)
    record = from_json(text)
    files = dict(zip(FILES, (text, page(record), markdown(record)), strict=True))
    return files | {f"{name}.svg": drawn for name, drawn in alone(record).items()}


def write(results: BenchResults, out: Path) -> None:
    """Write every file into the folder `out`, which is made if it is missing; other files there stay.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out)
    put(render(results), out)
