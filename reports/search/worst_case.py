"""The largest errors as JSON, as a page and in Markdown, in the manner of the accuracy tables of libm."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.overview import overview
from kernelproof.reports.summary import flat
from kernelproof.reports.text import duration, number
from kernelproof.verify.fuzz.worst_record import Extreme, Numbers, WorstResults, WorstRow

WORST_FILES = ("worst-case.json", "index.html", "worst-case.md")
SHOWN = 4
"""Numbers of a row, or of q, k and v each, that a table shows; the JSON has all, bit for bit."""


def write_worst(results: WorstResults, out: Path) -> None:
    """Write `WORST_FILES` into the folder `out`, which is made if it is missing.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out, WORST_FILES)
    put(render_worst(results), out)


def render_worst(results: WorstResults) -> dict[str, str]:
    """The text of each of `WORST_FILES`, by name; a pure function of the JSON text of `results`."""
    from kernelproof.reports.search.pages import worst_page  # noqa: PLC0415 (jinja2 takes long to import)

    text = worst_json(results)
    record = WorstResults.model_validate_json(text)
    return dict(zip(WORST_FILES, (text, worst_page(record), worst_markdown(record)), strict=True))


def worst_json(results: WorstResults) -> str:
    """`results` as JSON text, NaN and infinities as strings."""
    return results.model_dump_json(by_alias=True, indent=1) + "\n"


Section = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, head and lines of a table."""


def sections(results: WorstResults) -> Iterator[Section]:
    """A table for each op and kind of bandwidth rule."""
    for (op, kind), rows in groupby(results.table, lambda row: (row.op, row.rule.partition(":")[0])):
        ruled = ("rule",) if kind else ()
        head = ("order", "dtype", *ruled, "rows", "worst ulp", "at", "worst κ", "at", "note")
        yield f"{op}, {kind}" if kind else op, head, [cells(row) for row in rows]


def cells(row: WorstRow) -> list[str]:
    """One line of a table."""
    open_ = "undecided: rounding the inputs may choose other keys" if row.rows and row.kappa is None else ""
    note = "; ".join(part for part in (row.every, open_, row.note) if part)
    ulp, kappa = (None if each is None else each.error for each in (row.ulp, row.kappa))
    ruled = [row.rule] if row.rule else []
    found = [number(ulp), at(row.ulp), number(kappa), at(row.kappa)]
    return [row.order, row.dtype, *ruled, number(row.rows), *found, note]


def at(extreme: Extreme | None) -> str:
    """The inputs of an extreme: the row of scores, or so much of q, k and v as to know them by; cut where it is long.

    >>> at(Extreme(error=1.5, inputs={"z": Numbers(shape=[1, 2], bits=["0x0.0p+0", "0x1.0p+0"], shown=["0.0", "1.0"])}))
    '[0.0, 1.0]'
    """
    if extreme is None:
        return "–"
    if len(extreme.inputs) == 1:
        return _listed(next(iter(extreme.inputs.values())).shown, SHOWN)
    named = [f"{name} {_short(array)}" for name, array in extreme.inputs.items()]
    return "; ".join([*named, *(f"{name}={_said(value)}" for name, value in extreme.options.items())])


def _said(value: Any) -> str:
    """An option; of an array, such as a mask, its name must do."""
    return "[…]" if isinstance(value, list) else str(value)


def _short(array: Numbers) -> str:
    """A few digits of a few numbers of `array`, those of one key in brackets of their own where it has several."""
    width = array.shape[-1]
    shown = [f"{float.fromhex(each):.4g}" for each in array.bits]
    keys = [shown[start : start + width] for start in range(0, len(shown), width)]
    fit = max(SHOWN // width, 1)
    return _listed([key[0] if width == 1 else f"[{', '.join(key)}]" for key in keys], fit)


def _listed(shown: list[str], fit: int) -> str:
    more = len(shown) - fit
    return f"[{', '.join(shown[:fit])}{f', … {more} more' if more > 0 else ''}]"


def worst_markdown(results: WorstResults) -> str:
    """`results` as Markdown; everything that came from outside is escaped."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def _parts(results: WorstResults) -> Iterator[str]:
    yield f"# kernelproof worst-case: {escape(results.target)} on {escape(results.device)}"
    promise = "within" if results.passed else "NOT within"
    yield (
        f"The largest errors found in {number(results.rows)} rows of scores or queries, {duration(results.seconds)}, "
        f"seed {results.seed}, started {escape(results.started)}: {promise} the promised grade "
        f"{escape(results.promised)}. An ulp is the spacing of the dtype at the exact value, and has no bound where "
        f"the output is ill-conditioned; κ is the error in units of the condition (docs/theory.md §4). What was found "
        f"is a lower bound of the worst, and the worst itself only among what was tried without exception. Of q, k and "
        f"v the tables show a few digits; worst-case.json has every number, bit for bit."
    )
    yield code_block(results.command)
    seen = overview(results)
    yield table(seen.head, ([escape(cell) for cell in line] for line in seen.lines), right=2)
    yield from map(escape, seen.notes)
    for title, head, lines in sections(results):
        yield f"## {escape(title)}"
        yield table(head, ([escape(cell) for cell in line] for line in lines), right=2)
    yield "## Environment"
    yield table(["", ""], ([escape(name), escape(value)] for name, value in flat(results.environment)))
