"""Reports of a run: its record as JSON, an HTML page, Markdown and JUnit XML.

The JSON is written first and the others are made from it, so that a report made from a kept `results.json` equals the
report of the run.
"""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports.folder import check_writable as _check_writable
from kernelproof.reports.folder import put
from kernelproof.reports.record import RESULTS
from kernelproof.verify.record.schema import Results

__all__ = ["FILES", "check_writable", "read", "render", "write"]

FILES = (RESULTS.name, "index.html", "report.md", "junit.xml")


def read(path: Path) -> Results:
    """Read the results in the file `path`, or in ``path/results.json`` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    return RESULTS.read(path)


def check_writable(out: Path) -> None:
    """Check that `write` can put its files into the folder `out`; call it before a long run.

    Raises:
        DomainError: `out` is a file, cannot be written, or holds a folder named like one of `FILES`.
    """
    _check_writable(out, FILES)


def render(results: Results) -> dict[str, str]:
    """Return the text of each of `FILES`, by name; a pure function of the JSON text of `results`."""
    # Here, because matplotlib and jinja2 take longer to import than `kernelproof --help` may.
    from kernelproof.reports.html import page  # noqa: PLC0415
    from kernelproof.reports.junit import junit  # noqa: PLC0415
    from kernelproof.reports.markdown import markdown  # noqa: PLC0415

    text = RESULTS.text_of(results)
    record = RESULTS.record_of(text)
    return dict(zip(FILES, (text, page(record), markdown(record), junit(record)), strict=True))


def write(results: Results, out: Path) -> None:
    """Write `FILES` into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out)
    put(render(results), out)
