"""Write the table of benchmarks in a README, between two markers, from the kept record.

Command: ``python -m kernelproof.reports.bench.readme README.md reports/gallery/bench-cpu``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kernelproof.reference.errors import DomainError
from kernelproof.reference.files import write_whole
from kernelproof.reports.bench import read
from kernelproof.reports.bench.markdown import readme_section
from kernelproof.verify.bench.bench_record import BenchResults

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def with_table(readme: str, results: BenchResults) -> str:
    """Return `readme` with the table of `results` between its markers.

    Raises:
        DomainError: the markers are not both there, each once and in order.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        msg = f"the README must have the lines {BEGIN!r} and {END!r} once each, in this order"
        raise DomainError(msg)
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{readme_section(results)}{END}{after}"


def update(path: Path, results: BenchResults) -> None:
    """Write the table of `results` into the file at `path`.

    Raises:
        DomainError: the file cannot be read or written, or lacks the markers.
    """
    try:
        found = with_table(path.read_text("utf-8"), results)
        write_whole(path, found.encode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"the README must be a text that can be written; got {str(path)!r} ({reason})"
        raise DomainError(msg) from None


if __name__ == "__main__":
    update(Path(sys.argv[1]), read(Path(sys.argv[2])))
