"""Reports of benchmarks: JSON, a page, Markdown, pictures and the README's table, pure functions of the record."""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports.folder import check_writable as _check_writable
from kernelproof.reports.folder import put
from kernelproof.reports.record import RecordFile
from kernelproof.verify.bench.bench_record import BenchResults

__all__ = ["BENCHMARKS", "FILES", "check_writable", "read", "render", "write"]

BENCHMARKS = RecordFile(BenchResults, "bench.json", "benchmarks")
"""The record of `kernelproof bench`."""
FILES = (BENCHMARKS.name, "index.html", "bench.md")
"""The files of every run; a run also writes one SVG for every picture."""


def read(path: Path) -> BenchResults:
    """Read the results in the file `path`, or in `path/bench.json` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    return BENCHMARKS.read(path)


def check_writable(out: Path) -> None:
    """Check that `write` can put its files into the folder `out`; call it before a long run.

    Raises:
        DomainError: `out` is a file, cannot be written, or holds a folder named like a file of the run.
    """
    _check_writable(out, FILES)


def render(results: BenchResults) -> dict[str, str]:
    """Return the text of every file, by name; a pure function of the JSON text of `results`."""
    # Here, because matplotlib and jinja2 take longer to import than `kernelproof --help` may.
    from kernelproof.reports.bench.markdown import markdown  # noqa: PLC0415
    from kernelproof.reports.bench.page import page  # noqa: PLC0415
    from kernelproof.reports.bench.pictures import alone  # noqa: PLC0415

    text = BENCHMARKS.text_of(results)
    record = BENCHMARKS.record_of(text)
    files = dict(zip(FILES, (text, page(record), markdown(record)), strict=True))
    return files | {f"{name}.svg": drawn for name, drawn in alone(record).items()}


def write(results: BenchResults, out: Path) -> None:
    """Write every file into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out)
    put(render(results), out)
