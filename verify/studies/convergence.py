"""The convergence of float backends and other targets to softmax: where rounding, κ·u, meets c₁/n, and what follows.

Every target gets the same row at many orders. The row is rounded to the dtype once, and exact from then on. Arb
encloses the distance of the returned weights from softmax, and from the certified weights of the order received.

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

import numpy as np
from flint import arb, ctx
from pydantic import Field

from kernelproof.reference import Adaptive, entmax
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.record import Record
from kernelproof.theory.convergence import data
from kernelproof.theory.convergence.curves import first_bits, trace
from kernelproof.theory.convergence.expansion import SoftmaxExpansion
from kernelproof.theory.convergence.fits import FEWEST, line, local_slopes, regime
from kernelproof.theory.convergence.norms import Norm, norm_of
from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.quantities import Weights
from kernelproof.theory.convergence.records import CurveState, Ends, ErrorCurve, LineFit, ends
from kernelproof.theory.convergence.studies import Datum
from kernelproof.theory.series import ball, balls
from kernelproof.verify.cases.case import Case
from kernelproof.verify.process.blame import Ended
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Inputs
from kernelproof.verify.targets.target import BUILT_IN, Target
from kernelproof.verify.truth.units import RowUnits
from kernelproof.verify.workers.runner import Runner
from kernelproof.verify.workers.worker import guard_of, limit_memory

DTYPES = ("float64", "float32", "float16", "bfloat16")
"""The dtypes to try by default."""
KEYS = 16
NORM = Norm.VARIATION
AT_FLOOR = Fraction(1, 1000)
"""A point is at its floor if the target's own error is at least this part of the distance from truth to softmax."""
LOCAL = Fraction(1, 1000)
"""On the orders of a fit, every later local slope of the truth is at most this far from its limit. These orders end at
the floor, so the 1/n² term must be smaller at their start than for a fit of the truth."""
TURN = 4
"""How many predicted floors the error of a target may be: the κ of grade A. A curve turns upward only if it rises by
more than twice this many floors."""


class BackendPoint(Record):
    """One order of a target's curve.

    Attributes:
        order: n as the target received it.
        error: distance of the returned weights from softmax.
        own: distance of the returned weights from the certified weights at that order: the observed floor.
        floor: the predicted floor, ``u·Σ unit/2``.
        kept: whether the point is above its floor, and so may be part of a fit.
    """

    order: str
    error: Ends
    own: Ends
    floor: float
    kept: bool


class BackendCurve(Record):
    """The curve of one target, device and dtype.

    Attributes:
        target: the name of the target.
        device: the device on which it ran.
        dtype: the dtype of the row and the weights.
        built_in: whether it is a built-in backend, whose curve must not turn upward.
        failure: why there is no curve, or what ended it; otherwise "".
        refused: why orders were left out, or "".
        points: the points, by ascending order.
        meets: the order where the first-order term meets the predicted floor, ``c₁/(u·Σ unit/2)``.
        kappa: the largest ``own/floor``: the observed κ.
        lowest: the order at which the distance to softmax is smallest.
        turns: the order from which the curve first turns upward, or None.
        fit: the fit over the asymptotic orders above the floor; None if there are too few.
        state: the outcome of the fit.
    """

    target: str
    device: str
    dtype: str
    built_in: bool
    failure: str = ""
    refused: str = ""
    points: list[BackendPoint] = Field(default_factory=list)
    meets: float | None = None
    kappa: float | None = None
    lowest: str | None = None
    turns: str | None = None
    fit: LineFit | None = None
    state: CurveState = CurveState.SHORT

    @property
    def label(self) -> str:
        """The label in a legend: target and dtype, and the device unless it is the CPU."""
        return " ".join([self.target, self.dtype, *([] if self.device == "cpu" else [self.device])])


class BackendStudy(Record):
    """The curves of all targets, and the truth of the row.

    Attributes:
        row: the logits in float64; each dtype gets them rounded to it.
        truth: the exact curve of the row, over all orders of the study.
        curves: one for each target, device and dtype.
    """

    row: list[float]
    truth: ErrorCurve
    curves: list[BackendCurve]

    @property
    def passed(self) -> bool:
        """Whether every built-in backend ran without an upward turn, and no fit of one failed."""
        ours = [curve for curve in self.curves if curve.built_in]
        steady = all(not curve.failure and curve.turns is None for curve in ours)
        return steady and all(curve.state is not CurveState.FAILS for curve in ours)


def row(seed: int) -> tuple[float, ...]:
    """Logits N(0, 2²) that use every bit of a float64; each dtype gets them rounded to it."""
    # Logits of few bits would hide rounding errors: for them z/n − τ is exact if n is a power of 2.
    return tuple((2.0 * data.generator(seed, 5).standard_normal(KEYS)).tolist())


@dataclass(frozen=True)
class _Known:
    """The truth of a row at one order.

    Attributes:
        distance: distance of the certified weights from softmax.
        limit: the softmax weights.
        weights: the certified weights.
        unit: the predicted floor over u.
    """

    distance: arb
    limit: tuple[arb, ...]
    weights: tuple[arb, ...]
    unit: float


@cache
def known(logits: tuple[float, ...], order: Fraction) -> _Known:
    """Compute the truth of a row at an order."""
    bits = first_bits(order)
    with ctx.workprec(bits):
        found = entmax(list(logits), order=order, precision=bits)
        values, limit = balls(found.weights.values()), SoftmaxExpansion.of(logits).p
        distance = norm_of(NORM, [a - b for a, b in zip(values, limit, strict=True)])
    keys = np.flatnonzero(found.support)
    weights, gaps = np.array([float(value) for value in values]), max(logits) - np.array(logits)
    units = RowUnits(weights[keys], found.margin[keys], float(order), Adaptive(1), 1.0, gaps[keys], gaps[keys])
    return _Known(distance, tuple(limit), tuple(values), float(units.weight.sum() / 2))


def floor_at_limit(logits: tuple[float, ...]) -> float:
    """The predicted floor over u in the limit of large orders, that is, for softmax."""
    p = np.array([float(each) for each in SoftmaxExpansion.of(logits).p])
    gaps = max(logits) - np.array(logits)
    units = RowUnits(p, np.full_like(p, inf), inf, Adaptive(1), 1.0, gaps, gaps)
    return float(units.weight.sum() / 2)


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
    curves = [_curve(job, _answer(future), len(orders)) for job, future in zip(jobs, futures, strict=True)]
    return BackendStudy(row=list(logits), truth=truth, curves=curves)


def rounded(logits: Sequence[float], dtype: str) -> tuple[float, ...]:
    """The logits, rounded to a dtype."""
    return tuple(np.array(logits).astype(FORMATS[dtype].dtype).astype(np.float64).tolist())


def _takes(target: Target) -> tuple[str, ...]:
    scope = target.scope("entmax")
    return () if scope is None else scope.takes


def orders_for(target: Target, dtype: str, orders: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The orders that can be passed to a target exactly; α must be exact in the dtype, as the target may convert it."""
    if "order" in _takes(target):
        return tuple(order for order in orders if Fraction(float(order)) == order)
    precision = FORMATS[dtype].precision
    return tuple(order for order in orders if _fits(1 + 1 / order, precision))


def _fits(number: Fraction, precision: int) -> bool:
    """Whether a rational is a binary number of at most `precision` bits."""
    return Fraction(float(number)) == number and number.numerator.bit_length() <= precision


@dataclass(frozen=True)
class _Job:
    """The job of one worker: one target on one row in one dtype."""

    target: Target
    dtype: str
    logits: tuple[float, ...]
    orders: tuple[Fraction, ...]


Answers = list[list[float] | str]
"""For every order, the weights, or a text that says how the call failed."""


def ask(job: _Job, limits: Limits | None = None) -> Answers:
    """Call the target for every order; runs in a worker.

    Args:
        job: the target, its row and its orders.
        limits: limits on memory, to be set if this is a worker process.
    """
    caller = guard_of(job.target).caller
    if limits is not None:
        limit_memory(limits, [job.target])
    array = np.array(job.logits).astype(FORMATS[job.dtype].dtype)
    found: Answers = []
    for order in job.orders:
        case = Case("entmax", str(order), None, "adaptive:1", job.dtype, "convergence", array.shape, "-")
        outcome = caller(case, Call(Inputs({"z": array})))
        failure = outcome.error or outcome.crash
        if failure is not None:
            found.append(failure)
            continue
        weights = np.asarray(outcome.arrays["output"]).astype(np.float64)
        same = weights.shape == array.shape
        found.append(weights.tolist() if same else f"the output has shape {weights.shape}, not {array.shape}")
    return found


def _started(work: Runner, job: _Job) -> Future[Answers]:
    if work.pool is None:
        return work.submit(ask, job=job)
    return work.limited(work.limits.seconds, ask, job=job, limits=work.limits)


def _answer(future: Future[Answers]) -> Answers | str:
    """The answers of a worker, or how it ended."""
    try:
        return future.result()
    except Ended as error:
        return error.end.reason


def _curve(job: _Job, answers: Answers | str, asked: int) -> BackendCurve:
    left_out = asked - len(job.orders)
    number = "order" if "order" in _takes(job.target) else "α"
    curve = BackendCurve(
        target=job.target.name,
        device=job.target.device,
        dtype=job.dtype,
        built_in=job.target.place.module.startswith(BUILT_IN),
        refused=f"{left_out} of {asked} orders have no exact {number} in {job.dtype}" if left_out else "",
    )
    if isinstance(answers, str):
        return curve.model_copy(update={"failure": answers})
    failures = [answer for answer in answers if isinstance(answer, str) or not np.isfinite(answer).all()]
    if failures:
        first = failures[0] if isinstance(failures[0], str) else "weights that are not finite"
        return curve.model_copy(update={"failure": f"{len(failures)} of {len(answers)} orders: {first}"})
    return _judged(curve, job, [answer for answer in answers if not isinstance(answer, str)])


def _judged(curve: BackendCurve, job: _Job, answers: Sequence[Sequence[float]]) -> BackendCurve:
    """Add points, floors and fit to `curve`."""
    if not answers:
        return curve
    u = FORMATS[job.dtype].unit_roundoff
    points, distances, truths, coefficient = [], [], [], arb(0)
    with ctx.workprec(first_bits(max(job.orders))):
        coefficient = norm_of(NORM, SoftmaxExpansion.of(job.logits).first)
        for order, answer in zip(job.orders, answers, strict=True):
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
        start = regime(local_slopes(job.orders, truths), NORM.slope, LOCAL)
        above = [at for at in range(start, len(points)) if points[at].kept]
        fit = None
        if len(above) >= FEWEST:
            fit = line([job.orders[at] for at in above], [distances[at] for at in above], NORM.slope, coefficient)
    lowest = min(range(len(points)), key=lambda at: points[at].error.middle)
    fitted = CurveState.SHORT if fit is None else CurveState.HOLDS if fit.holds else CurveState.FAILS
    return curve.model_copy(
        update={
            "points": points,
            "meets": float(coefficient) / (u * floor_at_limit(job.logits)),
            "kappa": max(point.own.middle / point.floor for point in points),
            "lowest": points[lowest].order,
            "turns": turning(points),
            "fit": fit,
            "state": fitted,
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
