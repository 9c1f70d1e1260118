"""Bookkeeping of a fuzzing run: its budget, its coverage, and the kinds of failure already seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.fuzz_record import CoverageCell
from kernelproof.verify.records import Failure

MOST = 12
"""The default limit on findings in a run; after this many, one more is of little use."""


@dataclass(frozen=True)
class Budget:
    """When a run ends.

    Attributes:
        seconds: seconds of wall-clock time; None: no limit.
        examples: recipes to judge, not counting those judged while shrinking; None: no limit.
        seed: seeds everything that is drawn.
        findings: the run ends when it has this many.
    """

    seconds: float | None = 60.0
    examples: int | None = None
    seed: int = 0
    findings: int = MOST


@dataclass
class CellTally:
    """What was tried at one op, order, dtype and family."""

    examples: int = 0
    rows: int = 0
    decided: int = 0
    undecided: int = 0
    kappa: float = 0.0


@dataclass
class SeenFailure:
    """A kind of failure: where it was first seen, and for each order and dtype how often, with the first case."""

    first: Subject
    failure: Failure
    examples: int
    seconds: float
    places: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)


def cells(tallies: Mapping[tuple[str, str, str, str], CellTally]) -> list[CoverageCell]:
    """The coverage table, sorted."""
    return [
        CoverageCell(
            op=op,
            order=order,
            dtype=dtype,
            family=family,
            examples=held.examples,
            rows=held.rows,
            decided=held.decided,
            undecided=held.undecided,
            kappa=held.kappa,
        )
        for (op, order, dtype, family), held in sorted(tallies.items())
    ]


def places(case: Case) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two places against which a death of the process is counted: the family, and the order and dtype."""
    return ("family", case.op, case.family), ("order", case.op, case.order_label, case.dtype)


def rows_of(case: Case) -> int:
    """The number of rows of weights in a case.

    >>> rows_of(Case.parse("entmax order=1 rule=adaptive:1 dtype=float32 family=ties shape=4x64 feature=3 seed=0"))
    4
    """
    if case.op in {"entmax", "weights"}:
        return prod(case.shape[:-1])
    return prod(case.shape[:-3]) if case.op == "regression" else prod(case.shape[:-5]) * case.shape[-4]


def lists(subject: Subject, record: dict[str, Any]) -> dict[str, Any]:
    """The arrays of an explicit subject as nested lists of numbers, for people to read."""
    assert subject.inputs is not None  # the caller has checked this
    held = dict(subject.inputs.arrays)
    if subject.inputs.cotangent is not None:
        held["cotangent"] = subject.inputs.cotangent
    shown = {name: array.astype("float64").tolist() for name, array in held.items()}
    options = {name: value for name, value in record["options"].items() if not isinstance(value, dict)}
    arrays = {name: value.tolist() for name, value in subject.inputs.options.items() if hasattr(value, "dtype")}
    return {**shown, **options, **arrays}
