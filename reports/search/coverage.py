"""Coverage of a fuzzing run: what it tried, summed over the cells of its record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from kernelproof.verify.fuzz.fuzz_record import CoverageCell
from kernelproof.verify.records import OPS


@dataclass(frozen=True)
class OrderCoverage:
    """What was tried at one op, dtype and order, summed over `families` families."""

    op: str
    dtype: str
    order: str
    families: int
    examples: int
    rows: int
    decided: int
    undecided: int
    kappa: float


def tried(cells: Sequence[CoverageCell]) -> list[OrderCoverage]:
    """Sum up what was tried at each op, dtype and order; the JSON has each family separately."""
    held: dict[tuple[str, str, str], list[CoverageCell]] = defaultdict(list)
    for cell in cells:
        held[cell.op, cell.dtype, cell.order].append(cell)
    return [
        OrderCoverage(
            *key,
            families=len({cell.family for cell in found}),
            examples=sum(cell.examples for cell in found),
            rows=sum(cell.rows for cell in found),
            decided=sum(cell.decided for cell in found),
            undecided=sum(cell.undecided for cell in found),
            kappa=max(cell.kappa for cell in found),
        )
        for key, found in held.items()
    ]


@dataclass(frozen=True)
class FamilyGrid:
    """The number of rows tried of each of `families`, for each op."""

    families: list[str]
    rows: list[tuple[str, list[int]]]


def families_tried(cells: Sequence[CoverageCell]) -> FamilyGrid:
    """Count the rows tried of each family for each op."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for cell in cells:
        counts[cell.op, cell.family] += cell.rows
    names = sorted({family for _, family in counts})
    ops = [op for op in OPS if any(op == each for each, _ in counts)]
    return FamilyGrid(names, [(op, [counts.get((op, name), 0) for name in names]) for op in ops])
