"""The root γ of the mass equation of one row: in float32 until its steps carry no information, then in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.elementary_functions import evaluate
from kernelproof.verify.backends.numba.fast.float32 import REPEATED, sums32
from kernelproof.verify.backends.numba.jit import jit
from kernelproof.verify.backends.numba.llvm import wide
from kernelproof.verify.backends.numba.packing import limit_of, pack, padded
from kernelproof.verify.backends.numba.scalar_functions import two_product

START = 0.6  # of γ = n, its largest value; Newton's method converges from either side
WIDE = 3.0  # orders above this start from a sample
BLOCKS, RUN = 8, 8  # of a sample, and the keys of each
SAMPLE = BLOCKS * RUN
STEPS = 60
FAST, SHARP, PROVED, FAST_VJP, SHARP_VJP = range(5)
# Newton's relative error after a step δ is about ``(1 + n)·δ²/2``, of high orders less.
STIFF = 16.0
# When to go from float32 to float64; beyond REPEATED a float64 pass costs three in float32, so one more of these pays.
ROUGH, SINGLE, SINGLE_REAL = 3e-3, 2e-6, 1e-9
# What the last step, taken to first order, may leave: 2^-3 of a rounding of the dtype near the edge, less elsewhere.
SETTLED_32, SETTLED_64 = 2.0**-34, 2.0**-61
NEARER = 2.0**-44  # of γ
BORDER, PROVED_STEP = 2.0**-24, 2.0**-29  # what `proved` assumes of the distance to the edge and of the last step


@jit
def root32(r: float, n: float) -> float:
    """``r^(−1/n)`` in float32."""
    if n == 1.0:
        return 1.0 / r
    return np.float64(np.float32(r) ** np.float32(-1.0 / n))


@jit
def inverse_root(r: float, n: float) -> float:
    """``r^(−1/n)``, approximately."""
    if n == 1.0:
        return 1.0 / r
    return 1.0 / math.sqrt(r) if n == 2.0 else math.exp(-math.log(r) / n)


@jit
def step_of(r_total: float, e_total: float, reach: float, rounding: float, n: float, sharp: bool) -> float:
    """Newton's step on ``‖u‖_n − 1`` relative to γ, ``(n·R^(−1/n)/γ − 1)·R/E``; if sharp, to about one rounding."""
    if not sharp:
        return (n * inverse_root(r_total, n) / reach - 1.0) * (r_total / e_total)
    if n == 1.0:
        root = 1.0 / r_total
        back, error = two_product(root, r_total)
        low = ((1.0 - back) - error) / r_total
    else:
        power = -1.0 / n
        back, error = two_product(power, n)
        root = r_total**power
        low = -root * math.log(r_total) * ((1.0 + back) + error) / n
    high, error = two_product(n, root)
    return (((high - reach) + (error + n * low)) / reach - rounding) * (r_total / e_total)


@jit
def rough(kept: Array, count: int, top: Any, factor: float, n: float, extra: float, reach: float) -> float:
    """γ by float32 steps from `reach`; unless `extra` is 1, each key stands for `extra` keys, plus one at the top."""
    inverse, least = np.float32(factor / reach), factor / n
    part = n / factor
    tolerance = ROUGH if extra != 1.0 else SINGLE if n <= REPEATED else SINGLE_REAL
    tolerance /= 1.0 + min(n, STIFF)
    for _ in range(STEPS):
        r_total, e_total = sums32(kept, count, top, inverse, n)
        if extra != 1.0:
            r_total, e_total = 1.0 + extra * r_total, 1.0 + extra * e_total
        step = (part * root32(r_total, n) * np.float64(inverse) - 1.0) * (r_total / e_total)
        inverse = np.float32(max(np.float64(inverse) / (1.0 + step), least))
        if step * step < tolerance:
            break
    return factor / np.float64(inverse)


@jit
def sampled(scores: Array, top: Any, factor: float, n: float, kept: Array) -> float:
    """γ estimated from a sample of the row."""
    stride = scores.size // BLOCKS
    for block in range(BLOCKS):
        for i in range(RUN):
            score = scores[block * stride + i]
            kept[block * RUN + i] = score if score < top else -np.inf
    return rough(kept, SAMPLE, top, factor, n, scores.size / SAMPLE, n)


@jit
def settle(scores: Array, top: float, factor: float, n: float, kept: Array) -> tuple[int, float, Any]:
    """Pack the keys that may have weight into `kept`; return how many, γ by float32, and the score they lie above."""
    peak = scores.dtype.type(top)
    reach, bound = START * n, n
    if n > WIDE and scores.size >= 2 * SAMPLE:
        reach = sampled(scores, peak, factor, n, kept)
        bound = min(n, reach * (1.0 + 1.0 / n))
    while True:
        limit = limit_of(scores, top, bound, factor)
        count = pack(scores, 0, scores.size, limit, scores, kept, 0)
        reach = rough(kept, padded(kept, count), peak, factor, n, 1.0, min(reach, bound))
        # A root of the packed keys inside the bound is one of all keys.
        if bound == n or reach < bound * (1.0 - 1e-4):
            return count, reach, limit
        bound = n


@jit
def polish(
    kept: Array, count: int, top: float, factor: float, n: float, reach: float, goal: int, out: Floats, slopes: Floats
) -> tuple[float, float, float, float]:
    """The last steps, in float64.

    Args:
        kept: packed scores.
        count: how many, a multiple of SLACK.
        top: the largest score.
        factor: β.
        n: the order.
        reach: γ, approximately.
        goal: FAST, SHARP or PROVED; FAST_VJP or SHARP_VJP where ``[1 − z/γ]₊ⁿ⁻¹`` matters as well.
        out: filled with ``r = [1 − z/γ]₊ⁿ``.
        slopes: filled with ``γ/n·∂r/∂γ``.

    Returns:
        n·δ, where δ is the relative step in γ that `elementary_functions.finish` still has to take to first order; Σr
        before that step, or 0 where only the exact test can tell which keys have weight; its slope; and β/γ before the
        step.
    """
    sharp = goal not in (FAST, FAST_VJP)
    settled, digits = (SETTLED_64, 2.0**55) if sharp else (SETTLED_32, 2.0**26)
    lowest = -1080.0 if goal in (SHARP, SHARP_VJP) else -160.0  # log2 of the largest number that counts as an underflow
    if goal in (FAST_VJP, SHARP_VJP):
        lowest = lowest * n / (n - 1.0) if n > 1.0 else -np.inf
    for _ in range(STEPS):
        inverse = factor / reach
        back, error = two_product(inverse, reach)
        r_total, s_total, nearest = evaluate(kept, count, top, inverse, n, sharp, out, slopes)
        step = step_of(r_total, r_total + s_total, reach, ((factor - back) - error) / factor, n, sharp)
        if goal == PROVED:
            if nearest <= BORDER and n * math.log2(BORDER) >= lowest:
                break
            # ``n·z/(γ − z)`` is at most this where a weight does not underflow in float32.
            steepest = n * min(1.0 / nearest, 2.0 ** (152.0 / n) - 1.0)
            if abs(step) * steepest <= PROVED_STEP:
                return n * step, r_total, s_total, inverse
        elif (1.0 + min(n, STIFF)) * step * step <= settled:
            # Of keys with ``u = 1 − z/γ`` the step leaves ``nδ²/2u`` of their condition, and keys near 0 may cross it.
            near = max(NEARER, digits * n * step * step, 4.0 * n * abs(step))
            # At high orders every z/γ is small, and n·δ need not be: what counts is n·δ·z/(γ − z).
            if nearest >= 1.0 or nearest > near * (1.0 - nearest) or n * math.log2(near) < lowest:
                return n * step, r_total, s_total, inverse
            if near == NEARER:
                break
        reach = min(reach + step * reach, n)
    return 0.0, 0.0, 0.0, 0.0


@jit
def underflown(kept: Array, count: int, top: float, slope: float, out: Floats) -> bool:
    """Whether a key inside the ball, ``slope·(max s − s) < 1``, has a power that underflows to 0 in float64."""
    wide()
    found = 0
    for i in range(count):
        found |= (out[i] == 0.0) & ((top - kept[i]) * slope < 1.0) & (kept[i] > -np.inf)
    return found != 0
