"""The largest errors as JSON and as a table in Markdown, in the manner of the accuracy tables of libm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.summary import flat
from kernelproof.reports.text import duration, number
from kernelproof.verify.fuzz.records import Extreme, WorstResults, WorstRow

WORST_FILES = ("worst.json", "worst.md")
SHOWN = 4
"""Keys of a witness that the table shows in full; the JSON has all, bit for bit."""


def write_worst(results: WorstResults, out: Path) -> None:
    """Write `WORST_FILES` into the folder `out`, which is made if it is missing.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out, WORST_FILES)
    put({"worst.json": worst_json(results), "worst.md": worst_markdown(results)}, out)


def worst_json(results: WorstResults) -> str:
    """`results` as JSON text, NaN and infinities as strings."""
    return results.model_dump_json(by_alias=True, indent=1) + "\n"


HEAD = ("order", "dtype", "rows", "worst ulp", "at", "worst κ", "at", "note")


def cells(row: WorstRow) -> list[str]:
    """One row of the table, for `HEAD`."""
    note = "; ".join(part for part in (row.every, row.note) if part)
    ulp, kappa = (None if each is None else each.error for each in (row.ulp, row.kappa))
    return [row.order, row.dtype, number(row.rows), number(ulp), at(row.ulp), number(kappa), at(row.kappa), note]


def at(extreme: Extreme | None) -> str:
    """The row of scores of an extreme, cut short where it is long.

    >>> at(Extreme(error=1.5, scores=["0x0.0p+0", "0x1.0p+0"], shown=["0.0", "1.0"]))
    '[0.0, 1.0]'
    """
    if extreme is None:
        return "–"
    more = len(extreme.shown) - SHOWN
    return f"[{', '.join(extreme.shown[:SHOWN])}{f', … {more} more' if more > 0 else ''}]"


def worst_markdown(results: WorstResults) -> str:
    """`results` as Markdown; everything that came from outside is escaped."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def _parts(results: WorstResults) -> Iterator[str]:
    yield f"# kernelproof worst: {escape(results.target)} on {escape(results.device)}"
    promise = "within" if results.passed else "NOT within"
    yield (
        f"The largest errors found in {number(results.rows)} rows, {duration(results.seconds)}, seed {results.seed}, "
        f"started {escape(results.started)}: {promise} the promised grade {escape(results.promised)}. An ulp is the "
        f"spacing of the dtype at the exact value; κ is the error in units of the condition (docs/theory.md §4). What "
        f"was found is a lower bound of the worst, and the worst itself only among what was tried without exception."
    )
    yield code_block(results.command)
    yield table(HEAD, ([escape(cell) for cell in cells(row)] for row in results.table), right=2)
    yield "## Environment"
    yield table(["", ""], ([escape(name), escape(value)] for name, value in flat(results.environment)))
