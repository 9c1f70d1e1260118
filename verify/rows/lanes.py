"""Exponential, logarithm and powers in float64 without branches or calls, so that LLVM vectorizes the loops.

Numba calls the scalar libm otherwise. All loops run over blocks that stay in the first cache. `contract` (a product
and a sum rounded once) is allowed here: it only takes roundings away. `reassoc` is allowed in the sums alone,
whose terms have one sign, so that any order of n terms is within ``n·u`` of the sum; NaN and infinities keep their
meaning everywhere.

Source: fdlibm, e_log.c and s_log1p.c, for the coefficients and the reduction of the logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.rows.core import Array, Floats
from kernelproof.verify.rows.jit import contracted, inlined, jit, reassociated
from kernelproof.verify.rows.scalar import two_sum
from kernelproof.verify.rows.vectors import exponent, mantissa, scaled, wide

LOWEST = -708.0  # exp of it is still normal
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
MAGIC = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer and leaves that in the low bits
REPEATED = 8.0  # Integer orders up to here are multiplied out.
BLOCK = 1024  # float64 numbers of a block: 8 KiB of the first cache


@inlined
def exponential(x: float) -> float:
    """``exp(x)`` for x ≤ 0 within 1 ulp; 0 below LOWEST.

    ``x = k ln 2 + r``: k·LN2_HIGH is exact for |k| < 2^20, the rest of the reduction is within 2^-54·|r| + 2^-63, and
    the series to r^13 leaves out ``0.347^14/14! < 2^-57``.
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
    return scaled(p, shifted) if x > LOWEST else 0.0


@inlined
def log1m(x: float) -> float:
    """``log(1 − x)`` for 0 ≤ x < 1 within 1.1 ulp.

    The rounding error of ``u = 1 − x`` is put back as ``error·(1 + x)``: u is exact for x ≥ 1/2, and below that
    ``1 + x`` differs from 1/u by at most a third of it, which leaves an eighth of an ulp at most.
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


@reassociated
def lane_sum(terms: Floats, start: int, end: int) -> float:
    """The sum of terms of one sign, in the order that the vector unit likes."""
    wide()
    value = 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        value += terms[i]
    return value


@contracted
def gaussians(scores: Array, start: int, end: int, top: float, factor: float, out: Floats) -> None:
    """``exp(−β(max s − s))``."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        out[i] = exponential((scores[i] - top) * factor)


@contracted
def whole_powers(
    kept: Array, start: int, end: int, top: float, inverse: float, n: int, out: Floats, shares: Floats
) -> None:
    """``[1 − z/γ]₊ⁿ`` into `out` and ``[1 − z/γ]₊ⁿ⁻¹`` into `shares`, 0 off the support at order 1 as well.

    Args:
        kept: scores.
        start: where the block begins.
        end: where it ends.
        top: the largest score.
        inverse: β/γ.
        n: from 1 to REPEATED.
        out: filled from start to end.
        shares: filled from start to end.
    """
    wide()
    # n − 1 in binary; the three questions are the same for all lanes.
    once, twice, fourfold = (n - 1) & 1, (n - 1) & 2, (n - 1) & 4
    for i in range(np.uint64(start), np.uint64(end)):
        u = 1.0 - (top - np.float64(kept[i])) * inverse
        inside = u > 0.0
        u = u if inside else 0.0
        square = u * u
        share = (u if once else 1.0) * (square if twice else 1.0) * (square * square if fourfold else 1.0)
        share = share if inside else 0.0
        shares[i] = share
        out[i] = share * u


@contracted
def real_powers(
    kept: Array, start: int, end: int, top: float, inverse: float, n: float, out: Floats, shares: Floats
) -> None:
    """As `whole_powers`, any n ≥ 1; the shares are within 2^-22."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        x = (top - np.float64(kept[i])) * inverse
        inside = x < 1.0
        x = x if inside else 0.0
        r = exponential(n * log1m(x))
        out[i] = r if inside else 0.0
        shares[i] = r * np.float64(np.float32(1.0) / np.float32(1.0 - x)) if inside else 0.0


@contracted
def near_edge(kept: Array, count: int, top: float, inverse: float, near: float) -> bool:
    """Whether a key is so near the edge of the support that only the exact test can say on which side."""
    wide()
    found = 0
    for i in range(np.uint64(count)):
        found |= abs(1.0 - (top - np.float64(kept[i])) * inverse) <= near
    return found != 0


@jit
def evaluate(
    kept: Array, count: int, top: float, inverse: float, n: float, out: Floats, shares: Floats
) -> tuple[float, float]:
    """Powers of the first `count` keys and their two sums, block by block; `count` is a multiple of SLACK."""
    r_total, r_lost, e_total = 0.0, 0.0, 0.0
    repeated = n <= REPEATED and n == int(n)
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        if repeated:
            whole_powers(kept, start, end, top, inverse, int(n), out, shares)
        else:
            real_powers(kept, start, end, top, inverse, n, out, shares)
        r_total, lost = two_sum(r_total, lane_sum(out, start, end))
        r_lost += lost
        e_total += lane_sum(shares, start, end)
    return r_total + r_lost, e_total


@contracted
def finish(
    out: Floats, shares: Floats, start: int, end: int, change: float, scale: float, scale_low: float, weights: Array
) -> None:
    """Weights of a block in their dtype: ``(r + (e − r)·n·δ)·scale``, a first-order step in γ by the relative δ."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        r = out[i] + (shares[i] - out[i]) * change
        weights[i] = r * scale + r * scale_low
