"""Entmax of order n < −1 of float32 and float64 rows in their own dtype.

Every key has weight, so nothing is packed. Newton's method climbs to |γ| on a sample of the row and then on all of it,
in float32 for float32 rows, until what is left is small enough for one step to first order, which the last pass takes.
That pass is in float64: in vectors for float32 rows, and for float64 rows by scalar powers, because the logarithm of a
small weight would have to be known to more than float64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.careful.heavy_tails import heavy_power, root_of
from kernelproof.verify.backends.numba.careful.rows import ADAPTIVE, P, solve_heavy_row
from kernelproof.verify.backends.numba.elementary_functions import (
    BLOCK,
    LN2_HIGH,
    LN2_LOW,
    exponential,
    rest,
    upper,
)
from kernelproof.verify.backends.numba.fast.float32 import BLOCK as BLOCK_32
from kernelproof.verify.backends.numba.fast.float32 import (
    FIFTH,
    NIL,
    NINTH,
    ONE,
    SEVENTH,
    THIRD,
    TWO,
    exponential32,
)
from kernelproof.verify.backends.numba.fast.float32 import LN2_HIGH as LN2_HIGH_32
from kernelproof.verify.backends.numba.fast.float32 import LN2_LOW as LN2_LOW_32
from kernelproof.verify.backends.numba.fast.newton import BLOCKS, RUN, SAMPLE
from kernelproof.verify.backends.numba.fast.rows import LARGE, LARGEST, SMALLEST, normalize
from kernelproof.verify.backends.numba.jit import inlined, jit, parallel, reassociated
from kernelproof.verify.backends.numba.llvm import SLACK, exponent, mantissa, wide
from kernelproof.verify.backends.numba.packing import ask, highest
from kernelproof.verify.backends.numba.scalar_functions import two_sum

STEPS = 60
ROUGH = 1e-2  # where a sample suffices
# Newton's relative error after a step δ is below δ², and a weight moves by at most |n|·δ, and by d·|n|·δ/|γ|. What
# the last step, taken to first order, leaves is the square of that: 2^-30 and 2^-60 of the condition of the weight.
SETTLED_32, SETTLED_64 = 1e-3, 1e-6
FARTHEST_32, FARTHEST_64 = np.float32(1e37), 1e300  # x of a masked key; its power is 0


@inlined
def heavy32(x: Any, n: Any) -> tuple[Any, Any]:
    """``(1 + x)ⁿ`` and ``(1 + x)ⁿ⁻¹`` for 0 ≤ x ≤ FARTHEST_32, with one division."""
    u = ONE + x
    lost = (x - (u - ONE)) if x < ONE else (ONE - (u - x))
    f = mantissa(u) - ONE
    both = ONE / ((TWO + f) * u)
    inverse = (TWO + f) * both
    s = f * (u * both)
    z = s * s
    series = s * (z * (THIRD + z * (FIFTH + z * (SEVENTH + z * NINTH))))
    k = exponent(u)
    log = k * LN2_HIGH_32 + (f - (s * f - (series + (k * LN2_LOW_32 + lost * inverse))))
    r = exponential32(n * log)
    return r, r * inverse


@inlined
def heavy64(x: float, n: float) -> tuple[float, float]:
    """``(1 + x)ⁿ`` and its product with ``x/(1 + x)`` for 0 ≤ x ≤ FARTHEST_64."""
    u = 1.0 + x
    lost = (x - (u - 1.0)) if x < 1.0 else (1.0 - (u - x))
    inverse = 1.0 / u
    f = mantissa(u) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = 1.818357216161805012e-01 + z * (1.531383769920937332e-01 + z * 1.479819860511658591e-01)
    series = 3.999999999940941908e-01 + z * (2.857142874366239149e-01 + z * (2.222219843214978396e-01 + z * series))
    series = z * (6.666666666666735130e-01 + z * series)
    half = 0.5 * f * f
    k = exponent(u)
    log = k * LN2_HIGH - ((half - (s * (half + series) + (k * LN2_LOW + lost * inverse))) - f)
    r = exponential(n * log)
    return r, r * (x * inverse)


@reassociated
def sums32(scores: Array, start: int, end: int, top: Any, inverse: Any, n: Any) -> tuple[float, float]:
    """``Σ(1 + x)ⁿ`` and ``Σ(1 + x)ⁿ⁻¹`` of a block, in float32."""
    wide()
    r_total, e_total = NIL, NIL
    for i in range(np.uint64(start), np.uint64(end)):
        r, e = heavy32(min(np.float32(top - scores[i]) * inverse, FARTHEST_32), n)
        r_total += r
        e_total += e
    return np.float64(r_total), np.float64(e_total)


@reassociated
def powers64(
    scores: Array, start: int, end: int, top: float, inverse: float, n: float, out: Floats, slopes: Floats
) -> tuple[float, float, float]:
    """``r = (1 + x)ⁿ`` into `out` and ``r·x/(1 + x)`` into `slopes`; Σr in two parts, and the sum of the slopes."""
    wide()
    r_total, r_lost, s_total = 0.0, 0.0, 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        x = (top - np.float64(scores[i])) * inverse
        r, slope = heavy64(min(x, FARTHEST_64), n)
        inside = x < np.inf
        r, slope = (r if inside else 0.0), (slope if inside else 0.0)
        out[i], slopes[i] = r, slope
        high = upper(r)
        r_total += high
        r_lost += rest(r, high)
        s_total += slope
    return r_total, r_lost, s_total


@jit
def evaluate64(scores: Array, top: float, inverse: float, n: float, out: Floats, slopes: Floats) -> tuple[float, float]:
    """`powers64` of a row."""
    r_total, r_lost, s_total = 0.0, 0.0, 0.0
    for start in range(0, scores.size, BLOCK):
        high, low, slope = powers64(scores, start, min(start + BLOCK, scores.size), top, inverse, n, out, slopes)
        r_total, lost = two_sum(r_total, high)
        r_lost += lost + low
        s_total += slope
    return r_total + r_lost, s_total


@jit
def sharp64(scores: Array, top: float, below: float, n: float, out: Floats, slopes: Floats) -> tuple[float, float]:
    """`evaluate64` with every power within one rounding of its condition; `below` is |γ|/β."""
    r_total, r_lost, s_total = 0.0, 0.0, 0.0
    for i in range(scores.size):
        out[i], slopes[i] = 0.0, 0.0
        if scores[i] > -np.inf:
            gap = top - scores[i]
            r, base, _ = heavy_power(gap, below, n)
            out[i], slopes[i] = r, r * (1.0 - 1.0 / base if gap > below else gap / below / base)
            r_total, lost = two_sum(r_total, r)
            r_lost += lost
            s_total += slopes[i]
    return r_total + r_lost, s_total


@jit
def step_of(mass: float, shares: float, reach: float, n: float) -> float:
    """Newton's step relative to |γ|."""
    return (root_of(mass, n) * -n / reach - 1.0) * (mass / shares)


@jit
def climb32(scores: Array, top: Any, factor: float, n: float, extra: float, reach: float, settled: float) -> float:
    """|γ| from `reach` by steps in float32 until one is below `settled`/|n|.

    Unless `extra` is 1, each key stands for `extra` keys, and there is one more at the top.
    """
    power = np.float32(n)
    for _ in range(STEPS):
        inverse = np.float32(factor / reach)
        r_total, e_total = 0.0, 0.0
        for start in range(0, scores.size, BLOCK_32):
            r, e = sums32(scores, start, min(start + BLOCK_32, scores.size), top, inverse, power)
            r_total += r
            e_total += e
        if extra != 1.0:
            r_total, e_total = 1.0 + extra * r_total, 1.0 + extra * e_total
        step = step_of(r_total, e_total, reach, n)
        reach = max(reach + step * reach, -n)
        if abs(step) * -n < settled:
            break
    return reach


@jit
def sampled(scores: Array, top: Any, kept: Array) -> Array:
    """A sample of the row in runs of neighbouring keys, without the top."""
    stride = scores.size // BLOCKS
    for block in range(BLOCKS):
        for i in range(RUN):
            score = scores[block * stride + i]
            kept[block * RUN + i] = score if score < top else -np.inf
    return kept[:SAMPLE]


@jit
def heavy_row(scores: Array, top: float, factor: float, n: float, weights: Array, kept: Array, room: Floats) -> None:
    """Order n < −1 of an ordinary row."""
    out, slopes = room[0], room[1]
    reach = -n
    if scores.itemsize == 4:
        peak = scores.dtype.type(top)
        if scores.size >= 4 * SAMPLE:
            sample = sampled(scores, peak, kept)
            reach = climb32(sample, peak, factor, n, scores.size / SAMPLE, reach, ROUGH * -n)
        reach = climb32(scores, peak, factor, n, 1.0, reach, SETTLED_32)
        mass, spread = evaluate64(scores, top, factor / reach, n, out, slopes)
    else:
        for _ in range(STEPS):
            mass, spread = evaluate64(scores, top, factor / reach, n, out, slopes)
            step = step_of(mass, mass - spread, reach, n)
            reach = max(reach + step * reach, -n)
            if abs(step) * -n < SETTLED_64:
                break
        mass, spread = sharp64(scores, top, reach / factor, n, out, slopes)
    change = -n * step_of(mass, mass - spread, reach, n)
    normalize(out, slopes, scores.size, change, mass + change * spread, weights)


@jit
def careful_heavy(scores: Array, n: float, factor: float, weights: Array) -> None:
    """Any row, by the careful solver."""
    out = np.zeros((5, scores.size))
    solve_heavy_row(scores.astype(np.float64), ADAPTIVE, n, factor, out, np.zeros(scores.size, np.bool_))
    weights[:] = out[P]


@parallel
def heavy_rows(scores: Array, n: float, factor: float, weights: Array, chunk: int) -> None:
    """Adaptive weights of (R, m) scores at an order n < −1, `chunk` rows at a time on one thread."""
    rows, length = scores.shape
    for part in numba.prange((rows + chunk - 1) // chunk):
        kept, room = np.empty(SAMPLE, scores.dtype), np.empty((2, length + SLACK))
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row])
            if row + 1 < rows:
                ask(scores[row + 1])
                ask(weights[row + 1])
            if odd or top == -np.inf:
                weights[row] = np.nan
            elif factor / -n > SMALLEST and factor < LARGEST and abs(top) < LARGE and LARGE * factor > -n:
                heavy_row(scores[row], top, factor, n, weights[row], kept, room)
            else:
                careful_heavy(scores[row], n, factor, weights[row])
