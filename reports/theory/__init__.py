"""Reports of `kernelproof theory`: its record as JSON, an HTML page, Markdown, and LaTeX for use in a paper.

The JSON is written first and the others are made from it, so that a report made from a kept `theory.json` equals the
report of the run.
"""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports.folder import check_writable as _check_writable
from kernelproof.reports.folder import put
from kernelproof.reports.record import RecordFile
from kernelproof.theory.results import TheoryResults

__all__ = ["FILES", "THEORY", "check_writable", "read", "render", "write"]

THEORY = RecordFile(TheoryResults, "theory.json", "theory results")
"""The record of `kernelproof theory`."""
FILES = (THEORY.name, "index.html", "theory.md", "theory.tex")


def check_writable(out: Path) -> None:
    """Check that `write` can put its files into the folder `out`; call it before a long run.

    Raises:
        DomainError: `out` is a file, cannot be written, or holds a folder named like one of `FILES`.
    """
    _check_writable(out, FILES)


def render(results: TheoryResults) -> dict[str, str]:
    """Return the text of each of `FILES`, by name; a pure function of the JSON text of `results`."""
    # Here, because matplotlib and jinja2 take longer to import than `kernelproof --help` may.
    from kernelproof.reports.theory.latex import latex  # noqa: PLC0415
    from kernelproof.reports.theory.markdown import markdown  # noqa: PLC0415
    from kernelproof.reports.theory.page import page  # noqa: PLC0415

    text = THEORY.text_of(results)
    record = THEORY.record_of(text)
    return dict(zip(FILES, (text, page(record), markdown(record), latex(record)), strict=True))


def read(path: Path) -> TheoryResults:
    """Read the results in the file `path`, or in ``path/theory.json`` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    return THEORY.read(path)


def write(results: TheoryResults, out: Path) -> None:
    """Write `FILES` into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out)
    put(render(results), out)
