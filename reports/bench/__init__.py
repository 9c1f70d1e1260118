"""Benchmarks as JSON, a page, Markdown, pictures and the README's table, all pure functions of the record."""

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
"""Besides these there is one SVG for every picture."""


def read(path: Path) -> BenchResults:
    """The results in the file `path`, or in `path/bench.json` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    return BENCHMARKS.read(path)


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

    text = BENCHMARKS.text_of(results)
    record = BENCHMARKS.record_of(text)
    files = dict(zip(FILES, (text, page(record), markdown(record)), strict=True))
    return files | {f"{name}.svg": drawn for name, drawn in alone(record).items()}


def write(results: BenchResults, out: Path) -> None:
    """Write every file into the folder `out`, which is made if it is missing; other files there stay.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out)
    put(render(results), out)
