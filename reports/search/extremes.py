"""Tables of the largest errors: one for each op and kind of bandwidth rule, with one line for each search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from kernelproof.reports.text import number
from kernelproof.verify.fuzz.worst_case_record import ExactArray, Extreme, WorstCaseResults, WorstCaseRow

SHOWN = 4
"""How many numbers of a row, or of each of q, k and v, a table shows; the JSON has all, bit for bit."""

Section = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, head and lines of a table."""


def sections(results: WorstCaseResults) -> Iterator[Section]:
    """Yield a table for each op and kind of bandwidth rule."""
    for (op, kind), rows in groupby(results.table, lambda row: (row.op, row.rule.partition(":")[0])):
        ruled = ("rule",) if kind else ()
        head = ("order", "dtype", *ruled, "rows", "worst ulp", "at", "worst κ", "at", "note")
        yield f"{op}, {kind}" if kind else op, head, [cells(row) for row in rows]


def cells(row: WorstCaseRow) -> list[str]:
    """Return one line of a table."""
    open_ = "undecided: rounding the inputs may choose other keys" if row.rows and row.kappa is None else ""
    note = "; ".join(part for part in (row.every, open_, row.note) if part)
    ulp, kappa = (None if each is None else each.error for each in (row.ulp, row.kappa))
    ruled = [row.rule] if row.rule else []
    found = [number(ulp), at(row.ulp), number(kappa), at(row.kappa)]
    return [row.order, row.dtype, *ruled, number(row.rows), *found, note]


def at(extreme: Extreme | None) -> str:
    """Return the inputs of an extreme, shortened: the row of scores, or enough of q, k and v to distinguish them.

    >>> z = ExactArray(shape=[1, 2], bits=["0x0.0p+0", "0x1.0p+0"], shown=["0.0", "1.0"])
    >>> at(Extreme(error=1.5, inputs={"z": z}))
    '[0.0, 1.0]'
    """
    if extreme is None:
        return "–"
    if len(extreme.inputs) == 1:
        return _listed(next(iter(extreme.inputs.values())).shown, SHOWN)
    named = [f"{name} {_short(array)}" for name, array in extreme.inputs.items()]
    return "; ".join([*named, *(f"{name}={_said(value)}" for name, value in extreme.options.items())])


def _said(value: Any) -> str:
    """Return an option as text; an array, such as a mask, is only hinted at."""
    return "[…]" if isinstance(value, list) else str(value)


def _short(array: ExactArray) -> str:
    """Return a few numbers of `array` to a few digits, grouped by key if a key has several."""
    width = array.shape[-1]
    shown = [f"{float.fromhex(each):.4g}" for each in array.bits]
    keys = [shown[start : start + width] for start in range(0, len(shown), width)]
    fit = max(SHOWN // width, 1)
    return _listed([key[0] if width == 1 else f"[{', '.join(key)}]" for key in keys], fit)


def _listed(shown: list[str], fit: int) -> str:
    more = len(shown) - fit
    return f"[{', '.join(shown[:fit])}{f', … {more} more' if more > 0 else ''}]"
