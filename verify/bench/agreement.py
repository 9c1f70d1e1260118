"""Compare outputs that were timed with the truth: sampled rows of weights and of their vector-Jacobian products.

The condition units are those of docs/theory.md §4, to first order and in closed form, because the rows here are too
long for the matrices of `kernelproof.verify.truth.units`; a test compares the two. Keys that a few roundings may move
across the threshold, and weights that lose their digits near it, are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.bench.bench_record import Agreement
from kernelproof.verify.judging.errors import NEAR
from kernelproof.verify.judging.grades import GRADE_LIMITS
from kernelproof.verify.judging.precision import eta

Floats = NDArray[np.float64]

SAMPLED = 8192
"""Elements to compare with the truth, in whole rows from the first on; at least two rows."""
STEEP = 0.1
"""First order is valid while errors of grade A change a weight by less than this share, as in `judging.errors`."""


@dataclass(frozen=True, eq=False)
class TimedRowTruth:
    """The exact entmax of one row of m keys, with its condition.

    Attributes:
        head: (m,) weights in float64; the sum head + tail is accurate to twice the precision of float64.
        tail: (m,) see `head`.
        support: (m,) keys with a positive weight, decided exactly.
        near: (m,) keys that `NEAR` roundings may move across the threshold.
        gaps: (m,) d, the distance of each logit from the largest.
        slope: (m,) w = p^(1 − 1/n) on the support.
        bent: (m,) the relative change of `slope` for one rounding of the gaps, over u.
        unit: (m,) condition unit of each weight.
        lean: (m,) T ≥ 0, with which the derivative in α is ``Σ w_i(g_i − ḡ)T_i``, ḡ the mean of g under w (G2).
    """

    head: Floats
    tail: Floats
    support: NDArray[np.bool_]
    near: NDArray[np.bool_]
    gaps: Floats
    slope: Floats
    bent: Floats
    unit: Floats
    lean: Floats


def row_truth(row: NDArray[Any], order: float) -> TimedRowTruth:
    """The truth of a row of logits at an order; cached for the other figures that need it."""
    return _row_truth(row.tobytes(), row.dtype.name, order)


@lru_cache(maxsize=256)
def _row_truth(raw: bytes, dtype: str, order: float) -> TimedRowTruth:
    z = np.frombuffer(raw, dtype).astype(np.float64)
    found = reference.entmax(z, order=order)
    head, tail, _ = found.weights.split()
    gaps = z.max() - z
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = np.where(found.support & (head > 0), head ** (1 - 1 / order), 0.0)
        share = slope / slope.sum()
        mean = float(share @ np.where(slope > 0, gaps, 0.0))
        # w_i[(1 − 2w_i/W)d_i + Σ_j w_j d_j/W]: the change of p_i caused by rounding the gaps.
        unit = np.where(slope > 0, head + slope * (np.abs(1 - share) * gaps + mean - share * gaps), 0.0)
        step = gaps + mean
        bent = step if np.isinf(order) else np.abs(order - 1) * step / np.maximum(found.margin, 1e-300)
        near = np.abs(found.margin) <= NEAR * FORMATS[dtype].unit_roundoff * step
        lean = -np.log(head.max()) * gaps
        if np.isinf(order):
            lean += gaps**2 / 2
        else:
            u = (head / head.max()) ** (1 / order)
            lean += order * found.margin.max() * np.where(u > 0, u * np.log(u) + 1 - u, 0.0)
    near |= found.boundary
    kept = slope > 0
    return TimedRowTruth(
        head, tail, found.support, near, gaps, slope, np.where(kept, bent, 0.0), unit, np.where(kept, lean, 0.0)
    )


def weights_agreement(z: NDArray[Any], weights: NDArray[Any], order: float, what: str = "weights") -> Agreement:
    """Check sampled rows of `weights`, in the dtype of z: the support must be exact, and κ within grade A."""
    worst, compared, left = weights_kappa(z, weights, order)
    return _agreement(worst, compared, left, f"{what} of {_counted(z)}")


def weights_kappa(z: NDArray[Any], weights: NDArray[Any], order: float) -> tuple[float, int, int]:
    """(worst κ, compared, left out) over the sampled rows; a nonzero weight outside the support has κ = ∞."""
    worst, compared, left = 0.0, 0, 0
    target = FORMATS[z.dtype.name]
    for at in sampled(z.shape):
        truth = row_truth(z[at], order)
        got = np.asarray(weights[at]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs((got - truth.head) - truth.tail)
            kappa = off / (target.unit_roundoff * truth.unit + eta(target))
            steep = GRADE_LIMITS["A"] * target.unit_roundoff * (truth.unit / truth.head - 1) > STEEP
        kappa = np.where(truth.support, kappa, np.where(got == 0, 0.0, np.inf))
        kappa = np.where(np.isfinite(got), kappa, np.inf)
        skipped = truth.near | (truth.support & (truth.head > 0) & steep)
        worst = max(worst, float(kappa[~skipped].max(initial=0.0)))
        compared += int((~skipped).sum())
        left += int(skipped.sum())
    return worst, compared, left


def product_agreement(
    z: NDArray[Any], cotangent: NDArray[Any], gradient: NDArray[Any], order: float, what: str = "gradients"
) -> Agreement:
    """Check sampled rows of the vector-Jacobian product ``J g`` against the certified one: κ within grade A."""
    worst, compared, left = 0.0, 0, 0
    target = FORMATS[z.dtype.name]
    for at in sampled(z.shape):
        truth = row_truth(z[at], order)
        upstream = cotangent[at].astype(np.float64)
        head, tail, _ = reference.entmax_vjp(z[at], upstream, order=order)["z"].split()
        off = np.abs((np.asarray(gradient[at]).astype(np.float64) - head) - tail)
        unit = _product_unit(truth, np.abs(upstream))
        kappa = off / (target.unit_roundoff * unit + eta(target))
        kappa = np.where(np.isnan(kappa), np.inf, kappa)
        skipped = truth.near | (GRADE_LIMITS["A"] * target.unit_roundoff * truth.bent > STEEP)
        worst = max(worst, float(kappa[~skipped].max(initial=0.0)))
        compared += int((~skipped).sum())
        left += int(skipped.sum())
    return _agreement(worst, compared, left, f"{what} of {_counted(z)}")


def parameter_agreement(z: NDArray[Any], cotangent: NDArray[Any], found: Any, order: float) -> Agreement:
    """Check the derivative of all rows together in the order, at ∞ in α, against the certified one: κ within grade A.

    Its unit is summed over the sampled rows and scaled to the number of all rows. It counts a rounding of every term,
    with the slopes and the mean as in the product with respect to the logits.
    """
    name, given = ("alpha", {"alpha": 1}) if np.isinf(order) else ("order", {"order": order})
    exact = float(reference.entmax_vjp(z, cotangent, **given)[name].round("float64"))
    rows = sampled(z.shape)
    unit = 0.0
    for at in rows:
        truth = row_truth(z[at], order)
        size = np.abs(cotangent[at].astype(np.float64))
        share = truth.slope / truth.slope.sum()
        unit += float((truth.slope * truth.lean * (truth.bent + 2)) @ (size + float(share @ size)))
    unit *= len(z) / len(rows) * (1.0 if np.isinf(order) else order**-2.0)
    kappa = abs(float(found) - exact) / (FORMATS[z.dtype.name].unit_roundoff * unit)
    return _agreement(np.inf if np.isnan(kappa) else kappa, 1, 0, f"the derivative in the {name}")


def _product_unit(truth: TimedRowTruth, size: Floats) -> Floats:
    """(m,) the change of ``w_i(g_i − Σ w_j g_j/W)`` for one rounding of gaps, slopes and products, over u.

    Every slope changes by the share `bent` and by a rounding; every π_j = w_j/W does so twice.
    """
    share = truth.slope / truth.slope.sum()
    mean = float(share @ size)
    spoiled = float((share * (truth.bent + 1)) @ size) + float(share @ (truth.bent + 1)) * mean
    return np.asarray(truth.slope * ((truth.bent + 1) * (size + mean) + spoiled))


def exact_agreement(got: NDArray[Any], truth: NDArray[Any], what: str) -> Agreement:
    """Check that every element is equal, bit for bit except for the sign of zero."""
    same = np.asarray(got == truth)
    wrong = int(same.size - same.sum())
    told = "all equal" if wrong == 0 else f"{wrong} differ"
    return Agreement(passed=wrong == 0 and same.size > 0, compared=int(same.size), what=f"{what}: {told}")


def joined(one: Agreement, other: Agreement) -> Agreement:
    """Combine the agreements of two outputs of one call."""
    return Agreement(
        passed=one.passed and other.passed, compared=one.compared + other.compared, what=f"{one.what}; {other.what}"
    )


def both(ours: Agreement, rival: str) -> Agreement:
    """`ours` with a remark on the rival's output, which does not affect whether ours passes."""
    return ours.model_copy(update={"what": f"{ours.what}; {rival}"})


def sampled(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The rows of a matrix that are compared.

    >>> sampled((4096, 2048)), sampled((64, 65536)), sampled((1, 10))
    ((0, 1, 2, 4095), (0, 63), (0,))
    """
    rows, keys = shape
    wanted = max(2, SAMPLED // max(keys, 1))
    return tuple(sorted({*range(min(wanted - 1, rows)), rows - 1}))


def _counted(z: NDArray[Any]) -> str:
    rows = len(sampled(z.shape))
    return f"{rows} row{'s' if rows > 1 else ''}"


def _agreement(worst: float, compared: int, left: int, what: str) -> Agreement:
    near = f", {left} near the threshold left out" if left else ""
    told = f"{what} against the truth: worst κ {worst:.2g}{near}"
    return Agreement(passed=worst <= GRADE_LIMITS["A"] and compared > 0, compared=compared, what=told)
