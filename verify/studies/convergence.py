"""The convergence of float backends and other targets to softmax: right at every order, and where rounding meets c₁/n.

Every target gets the same row at many orders. The row is rounded to the dtype once, and exact from then on. At every
order the weights are judged as `kernelproof verify` judges them: by κ against the certified weights of the order
received, and by the grade that the target promises. For the figure, arb encloses their distances from softmax and from
the certified weights.

The predicted floor is κ·u times the condition unit of the row (docs/theory.md §4), in the norm of the curve, with
κ = 1: the error that one rounding of every input and output may cause. Source: docs/theory.md §3 and §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import inf
from typing import Any

import numpy as np
from flint import arb, ctx

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.theory.convergence import data
from kernelproof.theory.convergence.curves import first_bits, trace
from kernelproof.theory.convergence.expansion import SoftmaxExpansion
from kernelproof.theory.convergence.fits import FEWEST, line, local_slopes, regime
from kernelproof.theory.convergence.norms import norm_of
from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.quantities import Weights
from kernelproof.theory.convergence.records import ends
from kernelproof.theory.convergence.studies import Datum
from kernelproof.theory.series import ball
from kernelproof.verify.cases.case import Case
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import ACCURACY, Call, Inputs, Outcome
from kernelproof.verify.studies.backend_records import (
    BackendCurve,
    BackendPoint,
    BackendStudy,
    OrderVerdict,
    Verdict,
    concluded,
)
from kernelproof.verify.studies.study_row import KEYS, NORM, floor_at_limit, known, rounded, row
from kernelproof.verify.targets.shapes import fitted
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.lookup import lookup, truth_for
from kernelproof.verify.workers.judge import judge_target
from kernelproof.verify.workers.runner import Runner, compiles, with_patience
from kernelproof.verify.workers.tasks import CaseResult, CheckResult
from kernelproof.verify.workers.worker import outcomes_of

DTYPES = ("float64", "float32", "float16", "bfloat16")
"""The dtypes to try by default."""
JUDGES = frozenset({ACCURACY, "simplex", "support"})
"""The checks that judge every order: κ of every weight, and what no κ forgives (docs/theory.md §4)."""
AT_FLOOR = Fraction(1, 1000)
"""A point is at its floor if the target's own error is at least this part of the distance from truth to softmax."""
LOCAL = Fraction(1, 1000)
"""On the orders of a fit, every later local slope of the truth is at most this far from its limit: they end at the
floor, so the 1/n² term must be small at their start already."""
TURN = 4
"""A curve turns upward if its own error is more than this many predicted floors, the κ of grade A, and it rises by more
than twice as many."""


def study(
    work: Runner, targets: Sequence[Target], orders: Sequence[Fraction], seed: int, dtypes: Sequence[str] | None = None
) -> BackendStudy:
    """Measure the curves of `targets` in worker processes of `work`; a crash or hang becomes the result of its curve.

    Args:
        work: runs the targets.
        targets: targets that `describe` returned.
        orders: the orders to try; a target that takes α gets those with ``1 + 1/n`` exact in the dtype.
        seed: seeds the row.
        dtypes: dtypes that the targets take; None means `DTYPES`.

    Raises:
        TargetError: a target has no op entmax, or no parameter for the order.
        DomainError: none of the targets takes one of `dtypes`.
    """
    for target in targets:
        scope = target.scope("entmax")
        if scope is None or scope.fixed:
            msg = f"{target.name} must have entmax with a parameter for the order or alpha to be studied as n grows"
            raise TargetError(msg)
    wanted = DTYPES if dtypes is None else tuple(dtypes)
    pairs = [(target, dtype) for target in targets for dtype in wanted if dtype in target.dtypes]
    missing = [dtype for dtype in dtypes or () if not any(dtype == found for _, found in pairs)]
    if missing or not pairs:
        taken = sorted({dtype for target in targets for dtype in target.dtypes})
        msg = f"no target takes {', '.join(missing or wanted)}; they take: {', '.join(taken)}"
        raise DomainError(msg)
    logits = row(seed)
    jobs = [_Job(target, dtype, rounded(logits, dtype), orders_for(target, dtype, orders)) for target, dtype in pairs]
    futures = [_started(work, job) for job in jobs]
    whole = trace(Datum("row", data.Source.RANDOM, Weights(logits)), orders)
    truth = next(curve for curve in whole if curve.norm is NORM)
    with lookup(None):
        curves = [_curve(job, future.result(), len(orders)) for job, future in zip(jobs, futures, strict=True)]
    return BackendStudy(row=list(logits), truth=truth, curves=curves)


def _takes(target: Target) -> tuple[str, ...]:
    scope = target.scope("entmax")
    return () if scope is None else scope.takes


def orders_for(target: Target, dtype: str, orders: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The orders that a target takes, and that can be passed exactly; α in the dtype, as the target may convert it."""
    precision, by_order = FORMATS[dtype].precision, "order" in _takes(target)
    return tuple(
        order
        for order in orders
        if (Fraction(float(order)) == order if by_order else _fits(1 + 1 / order, precision))
        and target.refuses(_case(target, dtype, order)) is None
    )


def _fits(number: Fraction, precision: int) -> bool:
    """Whether a rational is a binary number of at most `precision` bits."""
    return Fraction(float(number)) == number and number.numerator.bit_length() <= precision


@dataclass(frozen=True)
class _Job:
    """The job of one worker: one target on one row in one dtype.

    Attributes:
        target: the target.
        dtype: the dtype of the row.
        logits: the row, exact in that dtype.
        orders: the orders to ask.
    """

    target: Target
    dtype: str
    logits: tuple[float, ...]
    orders: tuple[Fraction, ...]

    def inputs(self) -> Inputs:
        """The row as a new array."""
        return _inputs(self.logits, self.dtype, _shape(self.target))

    def case(self, order: Fraction) -> Case:
        """The case of one order."""
        return _case(self.target, self.dtype, order)


def _shape(target: Target) -> tuple[int, ...]:
    """One row, with the number of axes that the target takes."""
    scope = target.scope("entmax")
    assert scope is not None  # `study` has seen to it
    return (*fitted("entmax", scope.shapes, (1, KEYS))[:-1], KEYS)


def _case(target: Target, dtype: str, order: Fraction) -> Case:
    return Case("entmax", str(order), None, "adaptive:1", dtype, "convergence", _shape(target), "-")


def ask(job: _Job, limits: Limits | None = None) -> list[Outcome] | str:
    """The outcome of every order, or how the process of the target ended; without times: records do not depend on them.

    Args:
        job: the target, its row and its orders.
        limits: of its calls, if this is a worker process; None: the target is called in this process, for tests.
    """
    if not job.orders:
        return []
    # A new array for every call: a target may write into the last one.
    calls = [Call(job.inputs(), order=str(order)) for order in job.orders]
    return outcomes_of(job.target, job.case(job.orders[0]), calls, limits)


def _started(work: Runner, job: _Job) -> Future[list[Outcome] | str]:
    if work.pool is None:
        return work.submit(ask, job=job)
    # A target that hangs does not get the time of another one, which compiles.
    limits = with_patience(work.limits) if compiles(job.target) else work.limits
    return work.submit(ask, job=job, limits=limits)


def _curve(job: _Job, answers: list[Outcome] | str, asked: int) -> BackendCurve:
    left_out = asked - len(job.orders)
    number = "order" if "order" in _takes(job.target) else "α"
    curve = BackendCurve(
        target=job.target.name,
        device=job.target.device,
        dtype=job.dtype,
        grade=job.target.contract.grade,
        refused=f"{left_out} of {asked} orders are not taken, or have no exact {number} in {job.dtype}"
        if left_out
        else "",
    )
    if isinstance(answers, str):
        return curve.model_copy(update={"verdict": Verdict.NO_ANSWER, "why": answers})
    judged = _judged(job, answers)
    verdict, why = concluded(judged)
    measured = [each for each in judged if each.kappa is not None]
    worst = max(measured, key=lambda each: each.kappa or 0.0, default=None)
    update: dict[str, Any] = {"verdict": verdict, "why": why, "judged": judged}
    if worst is not None:
        update |= {"kappa": worst.kappa, "worst": worst.order}
    drawn = [
        (order, weights) for order, answer in zip(job.orders, answers, strict=True) if (weights := _finite(job, answer))
    ]
    return _drawn(curve.model_copy(update=update), job, drawn)


class _Given:
    """A target whose outcome is known already: it was called in a host, and is judged here."""

    fate = None
    modes: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def __init__(self, target: Target, outcome: Outcome) -> None:
        self.target, self.outcome = target, outcome
        self.remarks: dict[str, None] = {}

    def answer(self, case: Case, calls: Sequence[Call]) -> list[Outcome]:
        """The outcome, for every call."""
        return [self.outcome for _ in calls]

    def fresh(self) -> None:
        """Do nothing."""


def _judged(job: _Job, answers: Sequence[Outcome]) -> list[OrderVerdict]:
    """The verdict of every order, by the checks of `kernelproof verify`."""
    inputs, contract = _judged_inputs(job.logits, job.dtype, _shape(job.target)), job.target.contract
    found = []
    for order, outcome in zip(job.orders, answers, strict=True):
        case = job.case(order)
        truth, undecided = truth_for(case, inputs, contract)
        given = _Given(job.target, outcome)
        result = judge_target(case, inputs, truth, given, undecided=undecided, only=JUDGES)
        found.append(_order_verdict(order_text(order), result, outcome))
    return found


@cache
def _judged_inputs(logits: tuple[float, ...], dtype: str, shape: tuple[int, ...]) -> Inputs:
    """The same arrays for every target, which then share their truths (see `Lookup`)."""
    return _inputs(logits, dtype, shape)


def _inputs(logits: tuple[float, ...], dtype: str, shape: tuple[int, ...]) -> Inputs:
    return Inputs({"z": np.array(logits).astype(FORMATS[dtype].dtype).reshape(shape)})


def _order_verdict(order: str, result: CaseResult, outcome: Outcome) -> OrderVerdict:
    accuracy = result.checks.get(ACCURACY, CheckResult()).judgement
    kappa = None if accuracy.worst is None else accuracy.worst.kappa
    if outcome.crash is not None:
        return OrderVerdict(order=order, verdict=Verdict.FAILED, kappa=inf, why=outcome.crash)
    for check in result.checks.values():
        if check.judgement.failed:
            why = check.judgement.failures[0].message
            return OrderVerdict(order=order, verdict=Verdict.FAILED, kappa=kappa, why=why)
    if not accuracy.decided:
        why = result.note or "no weight could be judged"
        return OrderVerdict(order=order, verdict=Verdict.UNDECIDED, kappa=kappa, why=why)
    return OrderVerdict(order=order, verdict=Verdict.PASSED, kappa=kappa)


def _finite(job: _Job, outcome: Outcome) -> list[float]:
    """The weights, if the call returned a finite number for every key; else none."""
    output = outcome.arrays.get("output")
    if output is None or output.size != len(job.logits):
        return []
    weights = output.astype(np.float64).reshape(-1)
    return [float(each) for each in weights] if np.isfinite(weights).all() else []


def _drawn(curve: BackendCurve, job: _Job, answers: Sequence[tuple[Fraction, Sequence[float]]]) -> BackendCurve:
    """Add points, floors and fit to `curve`."""
    if not answers:
        return curve
    u = FORMATS[job.dtype].unit_roundoff
    orders = [order for order, _ in answers]
    points, distances, truths, coefficient = [], [], [], arb(0)
    with ctx.workprec(first_bits(max(orders))):
        coefficient = norm_of(NORM, SoftmaxExpansion.of(job.logits).first)
        for order, answer in answers:
            truth = known(job.logits, order)
            distance = norm_of(NORM, [arb(a) - p for a, p in zip(answer, truth.limit, strict=True)])
            own = norm_of(NORM, [arb(a) - w for a, w in zip(answer, truth.weights, strict=True)])
            kept = own < ball(AT_FLOOR) * truth.distance
            distances.append(distance)
            truths.append(truth.distance)
            text = order_text(order)
            points.append(
                BackendPoint(order=text, error=ends(distance), own=ends(own), floor=u * truth.unit, kept=bool(kept))
            )
        start = regime(local_slopes(orders, truths), NORM.slope, LOCAL)
        above = [at for at in range(start, len(points)) if points[at].kept]
        fit = None
        if len(above) >= FEWEST:
            fit = line([orders[at] for at in above], [distances[at] for at in above], NORM.slope, coefficient)
    lowest = min(range(len(points)), key=lambda at: points[at].error.middle)
    return curve.model_copy(
        update={
            "points": points,
            "meets": float(coefficient) / (u * floor_at_limit(job.logits)),
            "lowest": points[lowest].order,
            "turns": turning(points),
            "fit": fit,
        }
    )


def turning(points: Sequence[BackendPoint]) -> str | None:
    """The order of the lowest point before the first rise that the target causes; None without such a rise.

    The target causes a rise of more than ``2 · TURN`` floors if its own error there is more than `TURN` floors.
    """
    lowest: BackendPoint | None = None
    for point in points:
        if lowest is None or point.error.middle <= lowest.error.middle:
            lowest = point
            continue
        rise = point.error.middle - lowest.error.middle
        if rise > 2 * TURN * point.floor and point.own.middle > TURN * point.floor:
            return lowest.order
    return None
