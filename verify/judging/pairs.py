"""Pairs of calls that must agree: bit for bit, or within the errors that the grade allows, as the contract says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.errors import near_kink
from kernelproof.verify.judging.grades import limit_of
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.row_gradients import by_row
from kernelproof.verify.judging.slack import judge_ratios, ratio_of
from kernelproof.verify.records import Contract, Failure, Flags, Floats, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


@dataclass(frozen=True)
class Pair:
    """Two arrays of one shape (R, …) that must agree.

    Attributes:
        base: the result of the plain call.
        other: the result of the call that must not differ.
        slack: what the grade allows each element of either; broadcasts.
        rows: (R,) rows with one admissible value.
        loose: (R,) rows where the slack is not a bound.
        what: names the array in messages.
    """

    base: Floats
    other: Floats
    slack: Floats
    rows: Flags
    loose: Flags
    what: str


def judge_same(pair: Pair, contract: Contract, difference: str) -> Judgement:
    """Judge every element; `difference` says how the inputs of the other call differ.

    Where the contract promises the same bits, two NaNs are the same and everything else must be equal. Otherwise an
    equal element passes in every row, and the difference of any other element is compared with twice the slack.
    """
    if pair.base.shape != pair.other.shape:
        message = f"{pair.what} has shape {pair.other.shape} {difference}, and {pair.base.shape} without"
        failure = Failure(message=message, kappa=np.inf)
        return Judgement(decided=1, failed=1, failures=(failure,), worst=failure)

    def describe(index: tuple[int, ...]) -> str:
        place = list(index)
        got, was = float(pair.other[index]), float(pair.base[index])
        return f"{pair.what}{place} is {got!r} {difference}, was {was!r}"

    equal = (pair.base == pair.other) | (np.isnan(pair.base) & np.isnan(pair.other))
    if contract.same == "bits":
        everywhere = np.ones(len(pair.base), dtype=bool)
        return judge_ratios(np.where(equal, 0.0, np.inf), everywhere, ~everywhere, 1.0, describe)
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(pair.other - pair.base)
        slack = np.broadcast_to(2.0 * pair.slack, off.shape)
    ratio = np.where(equal, 0.0, ratio_of(np.where(np.isnan(off), np.inf, off), slack))
    return judge_ratios(ratio, pair.rows, pair.loose, 1.0, describe)


def gradient_pairs(case: Case, truth: Truth, outcomes: tuple[Outcome, Outcome], contract: Contract) -> list[Pair]:
    """Pair up each gradient that both outcomes have and the truth knows, with the slack of its certified unit.

    Gradients that are sums over rows are loose if one of the rows is.
    """
    precision = precision_of(case.dtype, contract, case.op)
    limit = limit_of(contract.grade)
    loose = truth.kink | truth.unsure | near_kink(truth, precision).any(axis=1) | truth.empty
    found = []
    for name, values in (truth.gradients or {}).items():
        arrays = [outcome.arrays.get(name) for outcome in outcomes]
        if arrays[0] is None or arrays[1] is None:
            continue
        base, other = (np.asarray(array).astype(np.float64) for array in arrays)
        if not base.shape == other.shape == values.head.shape:
            # Other checks judge wrong shapes.
            continue
        slack = allowance_of(values, precision).at(limit)
        own = by_row(case, name)
        count = len(loose) if own else 1
        base, other, slack = (part.reshape(count, -1) for part in (base, other, slack))
        open_ = np.asarray(loose if own else np.array([bool(loose.any())]))
        found.append(Pair(base, other, slack, np.ones(len(open_), dtype=bool), open_, f"d/d{name}"))
    return found


def merged(parts: list[Judgement]) -> Judgement:
    """Merge `parts` into one judgement: sums of counts, the worst failures, the worst comparison."""
    failures = sorted((each for part in parts for each in part.failures), key=_size, reverse=True)
    worst = max((part.worst for part in parts if part.worst is not None), key=_size, default=None)
    return replace(
        Judgement(),
        decided=sum(part.decided for part in parts),
        undecided=sum(part.undecided for part in parts),
        vacuous=sum(part.vacuous for part in parts),
        failed=sum(part.failed for part in parts),
        failures=tuple(failures[:5]),
        worst=failures[0] if failures else worst,
    )


def _size(failure: Failure) -> float:
    return failure.kappa if failure.kappa is not None else 0.0
