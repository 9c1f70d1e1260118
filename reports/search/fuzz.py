"""The files of `kernelproof fuzz`: its record as JSON, a page and Markdown."""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.record import RecordFile
from kernelproof.verify.fuzz.fuzz_record import FuzzResults

FUZZ = RecordFile(FuzzResults, "fuzz.json", "fuzz results")
"""The record of `kernelproof fuzz`."""
FUZZ_FILES = (FUZZ.name, "index.html", "fuzz.md")


def write_fuzz(results: FuzzResults, out: Path) -> None:
    """Write `FUZZ_FILES` into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out, FUZZ_FILES)
    put(render_fuzz(results), out)


def render_fuzz(results: FuzzResults) -> dict[str, str]:
    """Return the text of each of `FUZZ_FILES`, by name; a pure function of the JSON text of `results`."""
    # Here, because jinja2 takes longer to import than `kernelproof --help` may.
    from kernelproof.reports.search.markdown import fuzz_markdown  # noqa: PLC0415
    from kernelproof.reports.search.pages import fuzz_page  # noqa: PLC0415

    text = FUZZ.text_of(results)
    record = FUZZ.record_of(text)
    return dict(zip(FUZZ_FILES, (text, fuzz_page(record), fuzz_markdown(record)), strict=True))
