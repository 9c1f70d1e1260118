"""Summaries of the record: sums and pivot tables, the same for every format of a report."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reports.text import INTERRUPTED, MISSING, number
from kernelproof.verify.checks import headline
from kernelproof.verify.record.schema import Accuracy, Check, Coverage, Recipes, Results, Target, Verdict, Worst

GRADES = "ABCDEF"
_TELLING = frozenset({Verdict.FAIL, Verdict.CRASH, Verdict.UNDECIDED, Verdict.XFAIL})
_DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True)
class Totals:
    """Numbers of comparisons of a target or a run: decided, undecided, and failed among the decided."""

    decided: int
    undecided: int
    failed: int


def totals(checks: Iterable[Check]) -> Totals:
    """Sum up `checks`."""
    rows = [(check.decided, check.undecided, check.failed) for check in checks]
    return Totals(*(sum(column) for column in zip(*rows, strict=True))) if rows else Totals(0, 0, 0)


def run_totals(results: Results) -> Totals:
    """Sum up every check of every target."""
    return totals(check for target in results.targets for check in target.checks)


def lede(results: Results) -> str:
    """Return one sentence: how many targets keep what they promise, and how many could not be tried here."""
    tried = [target for target in results.targets if target.verdict is not Verdict.UNAVAILABLE]
    absent = len(results.targets) - len(tried)
    passed = sum(target.passed for target in tried)
    more = f" {absent} {'is' if absent == 1 else 'are'} not available here." if absent else ""
    more += f" {INTERRUPTED}" if results.interrupted else ""
    if not tried:
        return "No target was verified." + more
    if passed == len(tried):
        whole = "The target keeps what it promises." if passed == 1 else f"All {passed} targets keep what they promise."
        return whole + more
    kept = "keeps what it promises" if passed == 1 else "keep what they promise"
    return f"{passed} of {len(tried)} targets {kept}.{more}"


def badness(error: float | None) -> float:
    """Return a key that sorts errors: NaN is as bad as infinity, a missing one is the best.

    >>> badness(float("nan")), badness(None)
    (inf, -inf)
    """
    if error is None:
        return -math.inf
    return math.inf if math.isnan(error) else error


def worst_accuracy(target: Target) -> Accuracy | None:
    """Return the row of the accuracy table with the largest condition-normalized error; None if it has no row."""
    return max(target.accuracy, key=lambda row: badness(row.kappa_max), default=None)


def largest_errors(target: Target, count: int) -> list[Accuracy]:
    """Return the `count` rows of the accuracy table with the largest κ, or all in their order if there are no more."""
    if len(target.accuracy) <= count:
        return target.accuracy
    return sorted(target.accuracy, key=lambda row: -badness(row.kappa_max))[:count]


def worst_kappa(target: Target) -> float | None:
    """Return the largest condition-normalized error of the accuracy table, which sets the grade; None without rows.

    The κ of other checks is in units of what they allow, so it cannot be compared with a grade.
    """
    worst = worst_accuracy(target)
    return None if worst is None else worst.kappa_max


def first_failure(target: Target) -> tuple[Check, Worst] | None:
    """Return the check that names the fault best, of those that did not pass and have a case to show, and the case."""
    shown = {check.id: check for check in target.checks if check.verdict in _TELLING and cases(check)}
    failed = [name for name, check in shown.items() if check.verdict in {Verdict.FAIL, Verdict.CRASH}]
    if not shown:
        return None
    check = shown[headline(failed or shown)]
    return check, cases(check)[0]


def cases(check: Check) -> list[Worst]:
    """Return the cases of `check` to show: its failures, or else the worst comparison that passed."""
    if check.failures:
        return check.failures
    return [check.worst] if check.worst is not None else []


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested `values` into lines (dotted name, text).

    >>> flat({"cpu": {"cores": 2, "flags": ["avx2", "fma"]}, "gpu": None})
    [('cpu.cores', '2'), ('cpu.flags', 'avx2, fma'), ('gpu', '–')]
    """
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            lines.append((f"{prefix}{name}", ", ".join(str(item) for item in value) or MISSING))
        else:
            lines.append((f"{prefix}{name}", MISSING if value in (None, "", {}) else str(value)))
    return lines


def order_key(order: str) -> tuple[int, Fraction | float, str]:
    """Return a key that sorts orders as numbers, with ∞ last, and other text after them.

    >>> sorted(["inf", "2", "1/16", "1e4", "alpha"], key=order_key)
    ['1/16', '2', '1e4', 'inf', 'alpha']
    """
    try:
        return 0, exact_number(order, "order"), order
    except DomainError:
        return 1, 0, order


def dtype_key(dtype: str) -> tuple[int, str]:
    """Return a key that sorts dtypes from the widest to the narrowest."""
    return (_DTYPES.index(dtype) if dtype in _DTYPES else len(_DTYPES)), dtype


def order_label(order: str) -> str:
    """Return an order as a column head: ``inf`` becomes ∞ and powers of ten stay short.

    >>> order_label("inf"), order_label("100000000"), order_label("3/2")
    ('∞', '1e8', '3/2')
    """
    if order == "inf":
        return "∞"
    stem = order.rstrip("0")
    return f"1e{len(order) - 1}" if stem == "1" and len(order) > 4 else order


@dataclass(frozen=True)
class Matrix:
    """Accuracy with one column per order: for each (op, output, rule, dtype) the worst row of each order, or None."""

    orders: list[str]
    rows: list[tuple[tuple[str, str, str, str], list[Accuracy | None]]]


def accuracy_matrix(target: Target) -> Matrix:
    """Fold the accuracy table of `target` into one line per op, output, rule and dtype."""
    cells: dict[tuple[str, str, str, str], dict[str, Accuracy]] = defaultdict(dict)
    for row in target.accuracy:
        line = cells[row.op, row.output, row.rule, row.dtype]
        held = line.get(row.order)
        if held is None or badness(row.kappa_max) > badness(held.kappa_max):
            line[row.order] = row
    orders = sorted({row.order for row in target.accuracy}, key=order_key)
    ops = list(dict.fromkeys(row.op for row in target.accuracy))
    outputs = list(dict.fromkeys(row.output for row in target.accuracy))
    keys = sorted(cells, key=lambda key: (ops.index(key[0]), outputs.index(key[1]), key[2], dtype_key(key[3])))
    return Matrix(orders, [(key, [cells[key].get(order) for order in orders]) for key in keys])


State = Literal["decided", "partly", "undecided", "nothing", "untried"]


def state(cell: Coverage) -> State:
    """Return the state of a cell of the coverage table; only ``decided`` and ``partly`` verified anything."""
    if cell.decided:
        return "partly" if cell.undecided else "decided"
    if cell.undecided:
        return "undecided"
    return "untried" if cell.cases == 0 else "nothing"


@dataclass(frozen=True)
class CellCounts:
    """For one op and family: the number of cells (order × dtype), and of those in which something was decided."""

    cells: int
    decided: int
    comparisons: int

    @property
    def share(self) -> float:
        """The share of the cells in which something was decided, 0 to 1."""
        return self.decided / self.cells if self.cells else 0.0


@dataclass(frozen=True)
class CoverageGrid:
    """Coverage of one op: a column for each family, a row for each order and dtype."""

    op: str
    families: list[str]
    rows: list[tuple[str, str, list[Coverage | None]]]
    overview: list[CellCounts | None]

    @property
    def counts(self) -> Counter[State]:
        """The number of cells in each state."""
        return Counter(state(cell) for _, _, line in self.rows for cell in line if cell is not None)


def coverage_grids(target: Target) -> list[CoverageGrid]:
    """Return the coverage table of `target`, one grid per op, all with the same columns."""
    families = sorted({cell.family for cell in target.coverage})
    grids = []
    for op in dict.fromkeys(cell.op for cell in target.coverage):
        by_row: dict[tuple[str, str], dict[str, Coverage]] = defaultdict(dict)
        for cell in target.coverage:
            if cell.op == op:
                by_row[cell.order, cell.dtype][cell.family] = cell
        keys = sorted(by_row, key=lambda key: (dtype_key(key[1]), order_key(key[0])))
        rows = [(order, dtype, [by_row[order, dtype].get(name) for name in families]) for order, dtype in keys]
        overview = [_overview([line[at] for _, _, line in rows]) for at in range(len(families))]
        grids.append(CoverageGrid(op, families, rows, overview))
    return grids


def _overview(column: list[Coverage | None]) -> CellCounts | None:
    found = [cell for cell in column if cell is not None]
    if not found:
        return None
    return CellCounts(len(found), sum(cell.decided > 0 for cell in found), sum(cell.decided for cell in found))


@dataclass(frozen=True)
class RecipesGrid:
    """Recipes tried: a column for each family, a row for each op; None if an op has no such family."""

    families: list[str]
    rows: list[tuple[str, list[Recipes | None]]]


def recipes_grid(target: Target) -> RecipesGrid:
    """Return the recipes of `target` as a table, in the order of its ops."""
    found = {(each.op, each.family): each for each in target.recipes}
    families = sorted({family for _, family in found})
    ops = dict.fromkeys(op for op, _ in found)
    return RecipesGrid(families, [(op, [found.get((op, family)) for family in families]) for op in ops])


def pairs_lines(target: Target) -> list[str]:
    """A sentence for each op and kind of comparison: how many pairs of levels were covered, and which were not."""
    found = []
    for each in target.pairs:
        line = f"{each.op}, {each.of}: pairs covered {number(each.covered)} of {number(each.possible)}"
        if each.missing:
            few = "not covered" if len(each.missing) == each.possible - each.covered else "not covered, among others"
            line += f"; {few}: {', '.join(each.missing)}"
        if each.left_out:
            line += f"; out of the count: {'; '.join(each.left_out)}"
        found.append(line)
    return found


@dataclass(frozen=True)
class Gap:
    """Cells of the coverage table that verified nothing, for one reason."""

    reason: str
    cells: int
    ops: list[str]
    dtypes: list[str]
    orders: list[str]
    families: list[str]


def not_tried(target: Target) -> list[Gap]:
    """Return what was not verified on `target`, by reason, the largest group first."""
    groups: dict[str, list[Coverage]] = defaultdict(list)
    for cell in target.coverage:
        found = state(cell)
        if found in {"decided", "partly"}:
            continue
        usual = {"undecided": "tried, nothing could be decided", "nothing": "tried, nothing was compared"}
        groups[cell.not_tried or usual.get(found, "no case of this family exists here")].append(cell)
    gaps = [
        Gap(
            reason,
            len(cells),
            sorted({cell.op for cell in cells}),
            sorted({cell.dtype for cell in cells}, key=dtype_key),
            sorted({cell.order for cell in cells}, key=order_key),
            sorted({cell.family for cell in cells}),
        )
        for reason, cells in groups.items()
    ]
    return sorted(gaps, key=lambda gap: (-gap.cells, gap.reason))
