"""Exponential, logarithm and powers in float64 without branches or calls, so that LLVM vectorizes the loops.

Otherwise Numba calls the scalar libm. All loops run over blocks that stay in the first-level cache. `contract` (a
product and a sum rounded once) is allowed here, since it only removes roundings. `reassoc` is allowed in the sums
alone: their terms have one sign, so that n terms in any order are within ``n·u`` of the sum. NaN and infinities keep
their meaning everywhere.

Source: fdlibm, e_log.c and s_log1p.c, for the coefficients and the reduction of the logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.jit import contracted, inlined, jit, reassociated
from kernelproof.verify.backends.numba.llvm import exponent, fused, mantissa, ranked, scaled, unranked, wide
from kernelproof.verify.backends.numba.scalar_functions import two_sum

LOWEST = -708.0  # its exponential is still normal
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
MAGIC = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer and leaves that in the low bits
REPEATED = 8.0  # Integer orders up to here are multiplied out.
COARSE = 1536.0  # 1.5·2^10: its last bit is 2^-42
FARTHEST: Any = np.int64(0x7FF0000000000000)  # the rank of inf
BLOCK = 1024  # float64 numbers of a block: 8 KiB of the first-level cache


@inlined
def exponential(x: float) -> float:
    """``exp(x)`` for x ≤ 0 within 1 ulp; 0 below LOWEST.

    With ``x = k ln 2 + r``, k·LN2_HIGH is exact for |k| < 2^20, the rest of the reduction is within 2^-54·|r| + 2^-63,
    and truncating the series after r^13 loses less than ``0.347^14/14! < 2^-57``.
    """
    y = max(LOWEST, x)
    shifted = y * LOG2_E + MAGIC
    k = shifted - MAGIC
    r = (y - k * LN2_HIGH) - k * LN2_LOW
    p = 1 / 479001600 + r * (1 / 6227020800)
    p = 1 / 39916800 + r * p
    p = 1 / 3628800 + r * p
    p = 1 / 362880 + r * p
    p = 1 / 40320 + r * p
    p = 1 / 5040 + r * p
    p = 1 / 720 + r * p
    p = 1 / 120 + r * p
    p = 1 / 24 + r * p
    p = 1 / 6 + r * p
    p = 0.5 + r * p
    p = 1.0 + (r + r * r * p)
    return float(scaled(p, shifted)) if x > LOWEST else 0.0


@inlined
def log1m(x: float) -> Any:
    """``log(1 − x)`` for 0 ≤ x < 1 within 1.1 ulp.

    The rounding error of ``u = 1 − x`` is restored as ``error·(1 + x)``: u is exact for x ≥ 1/2, and below that
    ``1 + x`` differs from 1/u by at most a third of it, which leaves at most an eighth of an ulp.
    """
    u = 1.0 - x
    lost = ((1.0 - u) - x) * (1.0 + x)
    k = exponent(u)
    f = mantissa(u) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = 1.818357216161805012e-01 + z * (1.531383769920937332e-01 + z * 1.479819860511658591e-01)
    series = 3.999999999940941908e-01 + z * (2.857142874366239149e-01 + z * (2.222219843214978396e-01 + z * series))
    series = z * (6.666666666666735130e-01 + z * series)
    half = 0.5 * f * f
    return k * LN2_HIGH - ((half - (s * (half + series) + (k * LN2_LOW + lost))) - f)


@contracted
def gaussians(scores: Array, start: int, end: int, top: float, factor: float, out: Floats) -> None:
    """``exp(−β(max s − s))``."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        out[i] = exponential((scores[i] - top) * factor)


@inlined
def whole_power(x: float, once: int, twice: int, fourfold: int) -> tuple[float, float]:
    """``r = [1 − x]₊ⁿ`` for n − 1 in binary, and ``γ/n·∂r/∂γ = x·[1 − x]₊ⁿ⁻¹``."""
    u = 1.0 - x
    inside = u > 0.0
    u = u if inside else 0.0
    square = u * u
    share = (u if once else 1.0) * (square if twice else 1.0) * (square * square if fourfold else 1.0)
    return share * u, (share * x if inside else 0.0)


@inlined
def product(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """``(a + a_low)·(b + b_low)`` as a double word, to a relative 2^-104."""
    high = a * b
    return high, fused(a, b, -high) + (a * b_low + a_low * b)


@inlined
def sharp_share(x: float, once: int, twice: int, fourfold: int) -> tuple[bool, float, float, float, float]:
    """Whether ``x < 1``; ``u = [1 − x]₊`` and ``uⁿ⁻¹`` for n − 1 in binary, each as a double word."""
    u = 1.0 - x
    low = (1.0 - u) - x
    inside = u > 0.0
    u, low = (u if inside else 0.0), (low if inside else 0.0)
    square, square_low = product(u, low, u, low)
    fourth, fourth_low = product(square, square_low, square, square_low)
    share, share_low = (u if once else 1.0), (low if once else 0.0)
    share, share_low = product(share, share_low, square if twice else 1.0, square_low if twice else 0.0)
    share, share_low = product(share, share_low, fourth if fourfold else 1.0, fourth_low if fourfold else 0.0)
    return inside, u, low, share, share_low


@inlined
def sharp_power(x: float, once: int, twice: int, fourfold: int) -> tuple[float, float]:
    """`whole_power` of ``1 − x`` without rounding ``1 − x``: double words throughout, within little more than 2^-53."""
    inside, u, low, share, share_low = sharp_share(x, once, twice, fourfold)
    r, r_low = product(share, share_low, u, low)
    return (r + r_low if inside else 0.0), (share * x if inside else 0.0)


@inlined
def upper(r: float) -> float:
    """r in [0, 1] rounded to a multiple of 2^-42; any 2^10 of these have an exact sum in any order."""
    return (r + COARSE) - COARSE


@inlined
def rest(r: float, high: float) -> float:
    """``r − high``, exactly."""
    return r - high


@inlined
def real_power(x: float, n: float) -> tuple[float, float]:
    """`whole_power` for any n ≥ 1; the second number is within 2^-22."""
    inside = x < 1.0
    x = x if inside else 0.0
    r = exponential(n * log1m(x))
    return (r if inside else 0.0), (r * (x * np.float64(np.float32(1.0) / np.float32(1.0 - x))) if inside else 0.0)


@inlined
def fraction(top: float, score: Any, inverse: float) -> float:
    """``z/γ`` of a key, inf if it is masked."""
    return (top - np.float64(score)) * inverse


@reassociated
def whole_powers(
    kept: Array, start: int, end: int, top: float, inverse: float, n: int, out: Floats, slopes: Floats
) -> tuple[float, float, int]:
    """``r = [1 − z/γ]₊ⁿ`` into `out` and ``γ/n·∂r/∂γ`` into `slopes`.

    Args:
        kept: scores.
        start: where the block begins.
        end: where it ends.
        top: the largest score.
        inverse: β/γ.
        n: from 1 to REPEATED.
        out: filled from start to end.
        slopes: filled from start to end.

    Returns:
        The sums of both, and the rank of the smallest ``|1 − z/γ|``.
    """
    wide()
    # n − 1 in binary; the three branches are the same for all lanes.
    once, twice, fourfold = (n - 1) & 1, (n - 1) & 2, (n - 1) & 4
    r_total, s_total, nearest = 0.0, 0.0, FARTHEST
    for i in range(np.uint64(start), np.uint64(end)):
        x = fraction(top, kept[i], inverse)
        out[i], slopes[i] = whole_power(x, once, twice, fourfold)
        r_total += out[i]
        s_total += slopes[i]
        nearest = min(nearest, ranked(abs(1.0 - x)))
    return r_total, s_total, nearest


@reassociated
def sharp_powers(
    kept: Array, start: int, end: int, top: float, inverse: float, n: int, out: Floats, slopes: Floats
) -> tuple[float, float, float, int]:
    """`whole_powers`, each power within little more than 2^-53; the sum of powers is a double word."""
    wide()
    once, twice, fourfold = (n - 1) & 1, (n - 1) & 2, (n - 1) & 4
    r_total, r_lost, s_total, nearest = 0.0, 0.0, 0.0, FARTHEST
    for i in range(np.uint64(start), np.uint64(end)):
        x = fraction(top, kept[i], inverse)
        r, slope = sharp_power(x, once, twice, fourfold)
        out[i], slopes[i] = r, slope
        high = upper(r)
        r_total += high
        r_lost += rest(r, high)
        s_total += slope
        nearest = min(nearest, ranked(abs(1.0 - x)))
    return r_total, r_lost, s_total, nearest


@reassociated
def real_powers(
    kept: Array, start: int, end: int, top: float, inverse: float, n: float, out: Floats, slopes: Floats
) -> tuple[float, float, float, int]:
    """`sharp_powers` for any n ≥ 1; the slopes are within 2^-22."""
    wide()
    r_total, r_lost, s_total, nearest = 0.0, 0.0, 0.0, FARTHEST
    for i in range(np.uint64(start), np.uint64(end)):
        x = fraction(top, kept[i], inverse)
        r, slope = real_power(x, n)
        out[i], slopes[i] = r, slope
        high = upper(r)
        r_total += high
        r_lost += rest(r, high)
        s_total += slope
        nearest = min(nearest, ranked(abs(1.0 - x)))
    return r_total, r_lost, s_total, nearest


@reassociated
def split_sum(terms: Floats, start: int, end: int) -> tuple[float, float]:
    """The sum of at most BLOCK terms in [0, 1], in two parts."""
    wide()
    value, lost = 0.0, 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        high = upper(terms[i])
        value += high
        lost += rest(terms[i], high)
    return value, lost


@jit
def evaluate(
    kept: Array, count: int, top: float, inverse: float, n: float, sharp: bool, out: Floats, slopes: Floats
) -> tuple[float, float, float]:
    """Compute powers of the first `count` keys, a multiple of SLACK; return two sums and the smallest ``|1 − z/γ|``."""
    r_total, r_lost, s_total, nearest = 0.0, 0.0, 0.0, FARTHEST
    repeated = n <= REPEATED and n == int(n)
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        low = 0.0
        if repeated and not sharp:
            r, slope, near = whole_powers(kept, start, end, top, inverse, int(n), out, slopes)
        elif repeated:
            r, low, slope, near = sharp_powers(kept, start, end, top, inverse, int(n), out, slopes)
        else:
            r, low, slope, near = real_powers(kept, start, end, top, inverse, n, out, slopes)
        r_total, lost = two_sum(r_total, r)
        r_lost += lost + low
        s_total += slope
        nearest = min(nearest, near)
    return r_total + r_lost, s_total, unranked(nearest)


@contracted
def finish(
    out: Floats, slopes: Floats, start: int, end: int, change: float, scale: float, scale_low: float, weights: Array
) -> None:
    """Weights of a block in their dtype: ``(r + slope·n·δ)·scale``, a first-order step in γ by the relative δ."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        # A key at the edge whose power underflows in the dtype may be carried beyond the edge.
        r = max(out[i] + slopes[i] * change, 0.0)
        weights[i] = r * scale + r * scale_low
