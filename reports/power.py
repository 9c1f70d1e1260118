"""What a run could have seen: the resolution of its comparisons, and the cells in which nothing was learned."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from kernelproof.reports.summary import badness, dtype_key, order_key, order_label
from kernelproof.reports.text import number
from kernelproof.verify.record.schema import Accuracy, Target


@dataclass(frozen=True)
class PowerCell:
    """The resolution of one op, output and dtype over all its orders and rules, at the worst of them.

    Attributes:
        half: the relative error that half of the comparisons would have seen.
        most: the one that 95 % of them would have seen.
        forced: the part of `half` that half an ulp and the storage roundings force.
    """

    half: float | None
    most: float | None
    forced: float | None


@dataclass(frozen=True)
class Power:
    """The resolution table of a target: a column for each dtype, a row for each op and output."""

    dtypes: list[str]
    rows: list[tuple[str, str, list[PowerCell | None]]]


def power(target: Target) -> Power:
    """Fold the accuracy table of `target` into its resolution table; without rows, if it has none."""
    held: dict[tuple[str, str], dict[str, list[Accuracy]]] = defaultdict(lambda: defaultdict(list))
    for row in target.accuracy:
        if row.resolution_half is not None:
            held[row.op, row.output][row.dtype].append(row)
    dtypes = sorted({dtype for line in held.values() for dtype in line}, key=dtype_key)
    rows = [(op, output, [_cell(line.get(dtype, [])) for dtype in dtypes]) for (op, output), line in held.items()]
    return Power(dtypes, rows)


def _cell(rows: list[Accuracy]) -> PowerCell | None:
    if not rows:
        return None
    # The middle order or rule: at some of them, such as next to kinks, nothing can be seen, and `unlearned` says so.
    ranked = sorted(rows, key=lambda row: badness(row.resolution_half))
    middle = ranked[len(ranked) // 2]
    return PowerCell(middle.resolution_half, middle.resolution_most, middle.forced_half)


@dataclass(frozen=True)
class Unlearned:
    """The cells of the accuracy table in which most comparisons would have passed for 0 as well.

    Attributes:
        count: how many there are.
        of: how many cells the table has.
        lines: the output of an op, and where, one for each output.
    """

    count: int
    of: int
    lines: list[str]

    @property
    def headline(self) -> str:
        """What heads the report; empty if something was learned everywhere."""
        if not self.count:
            return ""
        return (
            f"Nothing was learned in {self.count} of {self.of} cells: most comparisons there would pass for 0 as well."
        )


def unlearned(target: Target) -> Unlearned:
    """Find the outputs of which a run learned nothing.

    Comparisons with rows of zeros are left aside: that 0 passes there is no lack of the run.
    """
    cells: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    count = 0
    for row in target.accuracy:
        if 2 * (row.vacuous - row.zeros) > row.compared - row.zeros:
            cells[row.op, row.output][row.dtype].add(row.order)
            count += 1
    lines = []
    for (op, output), dtypes in cells.items():
        places = [
            f"{dtype} at {', '.join(order_label(order) for order in sorted(dtypes[dtype], key=order_key))}"
            for dtype in sorted(dtypes, key=dtype_key)
        ]
        lines.append(f"{output} of {op}, by dtype and order: {'; '.join(places)}")
    return Unlearned(count, len(target.accuracy), lines)


def seen(cell: PowerCell | None) -> str:
    """The text of a cell: what half of the comparisons, and what 95 % of them, would have seen.

    >>> seen(PowerCell(0.01, 0.1, None)), seen(None)
    ('0.010 / 0.10', '')
    """
    return "" if cell is None else f"{number(cell.half, 2)} / {number(cell.most, 2)}"
