"""Slack: the error that a grade allows each element, the rows where it is a bound, and judgements of ratios to it.

A grade allows every element an error of a(κ) (docs/theory.md §4, `kernelproof.verify.judging.allowance`). A check
divides the deviation that it measures by the sum of the slacks of the elements involved; a ratio of at most 1 passes.
The unit is first order: in a row where first order does not hold (near a kink), a ratio above 1 is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.errors import broken, near_kink, nonlinear, select_rows
from kernelproof.verify.judging.grades import band_of, limit_of, sharp_of
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.records import Call, Contract, Failure, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

KEPT = 5
LARGEST = 1e300
"""The largest ratio of a finite excess."""


@dataclass(frozen=True)
class Bounds:
    """What a grade allows on one case.

    Attributes:
        slack: (R, w) the absolute error that is allowed in every element.
        rows: (R,) rows with one admissible value.
        loose: (R,) rows where the slack is not a bound.
        limit: κ of the grade.
        band: (R, w) as `slack`, for errors that no grade forgives; it differs from `slack` for grades D and E only.
        width: κ of the band.
        fixed: (R, w) the part of `slack` that does not grow with κ.
    """

    slack: Floats
    band: Floats
    rows: Flags
    loose: Flags
    limit: float
    width: float
    fixed: Floats


def bounds_of(case: Case, truth: Truth, contract: Contract) -> Bounds:
    """Compute the slack of every element of `truth` under `contract`."""
    precision = precision_of(case.dtype, contract, case.op)
    limit, width = limit_of(contract.grade), band_of(contract.grade, precision.unit)
    allowance = allowance_of(truth.output, precision)
    own = truth.output.head.shape == truth.margin.shape
    loose = nonlinear(truth, precision, float(case.kernel.order)) if own else near_kink(truth, precision)
    rows = ~(truth.empty | truth.unsure)
    loose = np.asarray(loose.any(axis=1))
    return Bounds(allowance.at(limit), allowance.at(width), rows, loose, limit, width, allowance.fixed)


def sum_allowance(truth: Truth, contract: Contract, precision: Precision) -> Floats:
    """(R,) by how much the sum of a row may miss 1: conditioning does not excuse it, but every weight is stored."""
    stored = allowance_of(truth.output, precision).fixed.sum(axis=1)
    # Half a rounding of float64 is that of the sum taken here.
    return np.asarray(sharp_of(contract.grade, precision.unit) * precision.unit + stored + 2.0**-53)


def forward(inputs: Inputs) -> dict[str, Call]:
    """Ask for one forward call; all checks that ask for it on the same inputs share it."""
    return {"forward": Call(inputs)}


def forward_of_weights(case: Case, inputs: Inputs, keys: int = 1) -> dict[str, Call]:
    """`forward`, if the op returns weights, rows have at least `keys` keys, and the family is not ``special``."""
    applies = case.op in {"entmax", "weights"} and case.size >= keys and case.family != "special"
    return forward(inputs) if applies else {}


def forward_and_vjp(inputs: Inputs) -> dict[str, Call]:
    """`forward`, and the vector-Jacobian product if there is a cotangent and all rows are checked."""
    wanted = forward(inputs)
    if inputs.cotangent is not None and inputs.rows is None:
        wanted["vjp"] = Call(inputs, "vjp")
    return wanted


def scores_of(inputs: Inputs, truth: Truth) -> Floats:
    """(R, m) the checked rows of the scores of entmax or weights, as float64."""
    rows = select_rows(next(iter(inputs.arrays.values())), truth.margin.shape, inputs)
    assert not isinstance(rows, Judgement)  # inputs have the shape of their truth
    return rows


def rows_of(
    outcomes: dict[str, Outcome], names: tuple[str, ...], truth: Truth, inputs: Inputs, contract: Contract
) -> list[Floats] | Judgement:
    """The checked rows of the outputs of these calls; the judgement of `broken` if a call has no output."""
    found: list[Floats] = []
    for name in names:
        if (fault := broken(outcomes[name], truth, contract)) is not None:
            return fault
        raw = select_rows(outcomes[name].arrays["output"], truth.output.head.shape, inputs)
        if isinstance(raw, Judgement):
            return raw
        found.append(raw)
    return found


def exact_sums(rows: Floats) -> Floats:
    """(R,) the sum of each row rounded once; NaN where an element is not finite, ±∞ where the sum is beyond float64.

    >>> exact_sums(np.array([[0.5, 0.5], [np.inf, 0.0], [1.5e308, 1.5e308]])).tolist()
    [1.0, nan, inf]
    """

    def total(row: Floats) -> float:
        if not np.isfinite(row).all():
            return math.nan
        if float(np.abs(row).max(initial=0.0)) < 2.0**960:
            return math.fsum(row)
        # Partial sums may overflow where the elements do not; the bits lost by the scaling are far below these.
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float64(math.fsum(row * 2.0**-64)) * 2.0**64)

    return np.array([total(row) for row in rows], dtype=np.float64)


def judge_ratios(
    ratio: Floats,
    rows: Flags,
    loose: Flags,
    limit: float,
    describe: Callable[[tuple[int, ...]], str],
    undecided: int = 0,
) -> Judgement:
    """Judge `ratio` (R, …): at most 1 passes, NaN fails.

    Args:
        ratio: the measured deviation over the allowed one.
        rows: (R,) rows that are judged.
        loose: (R,) rows where a finite ratio above 1 decides nothing.
        limit: κ of the grade, for the κ that is shown.
        describe: the message for an index of `ratio`.
        undecided: comparisons that were not decided for other reasons.
    """
    shape = (-1,) + (1,) * (ratio.ndim - 1)
    bad = ~(ratio <= 1)
    judged = np.broadcast_to(rows.reshape(shape), ratio.shape)
    open_ = bad & loose.reshape(shape) & np.isfinite(ratio)
    decided = judged & ~open_
    failed = decided & bad
    ranking = np.where(decided, np.where(np.isnan(ratio), np.inf, ratio), -1.0)
    order = np.argsort(-ranking, axis=None, kind="stable")[:KEPT]

    def failure(flat: int) -> Failure:
        index = tuple(int(i) for i in np.unravel_index(flat, ratio.shape))
        kappa = float(ranking[index]) * (limit if np.isfinite(limit) else 1.0)
        return Failure(message=describe(index), index=index, kappa=kappa)

    return Judgement(
        decided=int(decided.sum()),
        undecided=int((judged & open_).sum()) + int((~judged).sum()) + undecided,
        failed=int(failed.sum()),
        failures=tuple(failure(int(at)) for at in order if failed.reshape(-1)[at]),
        worst=failure(int(order[0])) if len(order) and ranking.reshape(-1)[order[0]] > 0 else None,
    )


def judge_flags(wrong: Flags, decided: Flags, describe: Callable[[tuple[int, ...]], str]) -> Judgement:
    """Judge yes-or-no comparisons; those not `decided` are counted as undecided."""
    failed = wrong & decided
    places = [tuple(int(i) for i in place) for place in np.argwhere(failed)[:KEPT]]
    failures = tuple(Failure(message=describe(place), index=place) for place in places)
    return Judgement(
        decided=int(decided.sum()),
        undecided=int((~decided).sum()),
        failed=int(failed.sum()),
        failures=failures,
        worst=failures[0] if failures else None,
    )


def ratio_of(excess: Floats, slack: Floats) -> Floats:
    """`excess` over `slack`, where a NaN or an infinite excess is infinite and 0 over 0 is 0.

    A finite excess has a finite ratio, however small the slack, so that it decides nothing near a kink.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.where(excess <= 0, 0.0, np.minimum(excess / slack, LARGEST))
        return np.where(np.isfinite(excess), np.where(np.isnan(ratio), 0.0, ratio), np.inf)
