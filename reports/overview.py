"""Table of the largest errors: a line for each op and order, a cell for each dtype with the worst of all rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from kernelproof.reference.formats import FORMATS
from kernelproof.reports.summary import order_label
from kernelproof.reports.text import MISSING, number
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults, WorstCaseRow
from kernelproof.verify.judging.grades import grade_of, limit_of

NOTES = 6
"""Searches that ended early and are listed one by one; worst-case.json has all."""


@dataclass(frozen=True)
class Square:
    """The largest errors at one op, order and dtype, over all rules.

    Attributes:
        ulp: the largest error in ulp; None if nothing was decided.
        kappa: the largest error in κ; None if nothing was decided.
        rule: the rule with that κ; "" for entmax.
        grade: of that κ, "F" if it is NaN; "" if nothing was decided.
        beyond: whether that κ is more than the promised grade allows.
        early: whether a search ended early, or tried no rows.
    """

    ulp: float | None
    kappa: float | None
    rule: str
    grade: str
    beyond: bool
    early: bool

    @property
    def text(self) -> str:
        """The text of a cell in the table.

        >>> Square(0.5, 1.25, "fixed:3", "A", beyond=False, early=False).text
        '0.500 / 1.25'
        """
        marks = f"{' ✗' if self.beyond else ''}{' !' if self.early else ''}"
        return f"{number(self.ulp)} / {number(self.kappa)}{marks}"


@dataclass(frozen=True)
class Overview:
    """The table of a run.

    Attributes:
        dtypes: its columns.
        groups: op -> (order, a square for each dtype, None where the target has none).
        notes: how to read it, and what was and was not tried.
    """

    dtypes: tuple[str, ...]
    groups: dict[str, list[tuple[str, list[Square | None]]]]
    notes: list[str]

    @property
    def head(self) -> tuple[str, ...]:
        """The names of the columns."""
        return ("op", "order", *self.dtypes)

    @property
    def lines(self) -> list[list[str]]:
        """The cells as text; the op is named only in its first line."""
        return [
            [op if at == 0 else "", order_label(order), *("" if each is None else each.text for each in squares)]
            for op, held in self.groups.items()
            for at, (order, squares) in enumerate(held)
        ]


def overview(results: WorstCaseResults) -> Overview:
    """Return the table of `results`."""
    dtypes = tuple(name for name in FORMATS if any(row.dtype == name for row in results.table))
    groups: dict[str, list[tuple[str, list[Square | None]]]] = {}
    for op, held in groupby(results.table, lambda row: row.op):
        rows = list(held)
        orders = _by_size({row.order for row in rows})
        groups[op] = [
            (
                order,
                [_square([row for row in rows if (row.order, row.dtype) == (order, name)], results) for name in dtypes],
            )
            for order in orders
        ]
    return Overview(dtypes, groups, list(_notes(results)))


def _by_size(orders: Iterable[str]) -> list[str]:
    """Sort orders, given as text, from the smallest; those given as α come last."""

    def size(order: str) -> tuple[bool, float]:
        plain, _, alpha = order.partition("=")
        top, _, bottom = (alpha or plain).partition("/")
        return bool(alpha), float(top) / float(bottom or 1)

    return sorted(orders, key=size)


def _square(rows: Sequence[WorstCaseRow], results: WorstCaseResults) -> Square | None:
    if not rows:
        return None
    decided = [(row.kappa.error, row.rule) for row in rows if row.kappa is not None]
    ulps = [row.ulp.error for row in rows if row.ulp is not None]
    kappa, rule = max(decided, key=lambda each: _rank(each[0]), default=(None, ""))
    grade = "" if kappa is None else grade_of(kappa)
    return Square(
        ulp=max(ulps, key=_rank, default=None),
        kappa=kappa,
        rule=rule,
        grade=grade,
        beyond=kappa is not None and not kappa <= limit_of(results.promised),
        early=any(row.note or not row.rows for row in rows),
    )


def _rank(error: float) -> float:
    """Return a key that sorts errors, NaN as the largest."""
    return math.inf if math.isnan(error) else error


def _notes(results: WorstCaseResults) -> Iterator[str]:
    yield (
        "Cells: the largest error found in ulp / in κ, whatever the bandwidth rule. "
        f"✗: beyond the promised grade {results.promised}. !: the search ended early. {MISSING}: nothing decided."
    )
    every = dict.fromkeys(_every(results.table))
    if every:
        yield f"Two keys, every finite number against 0: {'; '.join(every)}."
    ended = [row for row in results.table if row.note]
    for row in ended[:NOTES]:
        at = [row.op, *([row.rule] if row.rule else []), f"order {row.order}", row.dtype]
        yield f"! {', '.join(at)}: {row.note}"
    if len(ended) > NOTES:
        yield f"! and {len(ended) - NOTES} more"
    if results.left_out:
        yield f"Not tried, and in the tables with --whole: {'; '.join(results.left_out)}."


def _every(table: Sequence[WorstCaseRow]) -> Iterator[str]:
    """Yield the ops and dtypes for which every line says that every number was tried."""
    for op in dict.fromkeys(row.op for row in table):
        whole = [
            name
            for name in FORMATS
            if (held := [r for r in table if (r.op, r.dtype) == (op, name)]) and all(r.every for r in held)
        ]
        if whole:
            yield f"{op} in {', '.join(whole)}"
