"""The files of `kernelproof worst-case`: its record as JSON, a page and Markdown."""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.record import RecordFile
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults

WORST_CASE = RecordFile(WorstCaseResults, "worst-case.json", "largest errors")
"""The record of `kernelproof worst-case`."""
WORST_FILES = (WORST_CASE.name, "index.html", "worst-case.md")


def write_worst_case(results: WorstCaseResults, out: Path) -> None:
    """Write `WORST_FILES` into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out, WORST_FILES)
    put(render_worst_case(results), out)


def render_worst_case(results: WorstCaseResults) -> dict[str, str]:
    """Return the text of each of `WORST_FILES`, by name; a pure function of the JSON text of `results`."""
    # Here, because jinja2 takes longer to import than `kernelproof --help` may.
    from kernelproof.reports.search.markdown import worst_case_markdown  # noqa: PLC0415
    from kernelproof.reports.search.pages import worst_case_page  # noqa: PLC0415

    text = WORST_CASE.text_of(results)
    record = WORST_CASE.record_of(text)
    return dict(zip(WORST_FILES, (text, worst_case_page(record), worst_case_markdown(record)), strict=True))
