"""Exponential, logarithm and powers without branches or calls, so that LLVM vectorizes the loops around them.

Numba calls the scalar libm otherwise. All loops run over blocks that stay in the first cache. `contract` (a product
and a sum rounded once) is allowed here: it only takes roundings away. `reassoc` is allowed in the sums,
whose terms have one sign, so that any order of n terms is within ``n·u`` of the sum; NaN and infinities keep their
meaning everywhere.

Source: fdlibm, e_log.c and s_log1p.c, for the coefficients and the reduction of the logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernelproof.verify.rows.core import Array, Floats
from kernelproof.verify.rows.jit import contracted, inlined, jit, reassociated

_INT64, _FLOAT64 = ir.IntType(64), ir.DoubleType()
LOWEST = -708.0  # exp of it is still normal
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
MAGIC = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer and leaves that in the low bits
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
REPEATED = 8.0  # Integer orders up to here are multiplied out.


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(context: Any, value: Any) -> Any:  # noqa: ARG001 (the signature that Numba asks for)
    """The bits of a float64 as an int64."""
    return types.int64(types.float64), lambda _, builder, __, args: builder.bitcast(args[0], _INT64)


@intrinsic  # type: ignore[untyped-decorator]
def float_of(context: Any, value: Any) -> Any:  # noqa: ARG001 (the signature that Numba asks for)
    """The float64 with these bits."""
    return types.float64(types.int64), lambda _, builder, __, args: builder.bitcast(args[0], _FLOAT64)


@inlined
def exponential(x: float) -> float:
    """``exp(x)`` for x ≤ 0 within 1 ulp; 0 below LOWEST.

    ``x = k ln 2 + r``: k·LN2_HIGH is exact for |k| < 2^20, the rest of the reduction is within 2^-54·|r| + 2^-63, and
    the series to r^13 leaves out ``0.347^14/14! < 2^-57``.
    """
    y = x if x > LOWEST else LOWEST
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
    scaled = float_of(bits_of(p) + (bits_of(shifted) << 52))
    return scaled if x > LOWEST else 0.0


@inlined
def log1m(x: float) -> float:
    """``log(1 − x)`` for 0 ≤ x < 1 within 1.1 ulp.

    The rounding error of ``u = 1 − x`` is put back as ``error·(1 + x)``: u is exact for x ≥ 1/2, and below that
    ``1 + x`` differs from 1/u by at most a third of it, which leaves an eighth of an ulp at most.
    """
    u = 1.0 - x
    lost = ((1.0 - u) - x) * (1.0 + x)
    bits = bits_of(u)
    exponent = (bits - ROOT_HALF_BITS) >> 52
    k = float(exponent)
    f = float_of(bits - (exponent << 52)) - 1.0
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
    value = 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        value += terms[i]
    return value


@contracted
def gaussians(scores: Array, top: float, factor: float, out: Floats) -> None:
    """``exp(−β(max s − s))``."""
    for i in range(scores.size):
        out[i] = exponential((scores[i] - top) * factor)


@jit
def scale(values: Floats, factor: float, out: Array) -> None:
    """``values·factor`` in the dtype of `out`."""
    for i in range(values.size):
        out[i] = values[i] * factor


@inlined
def multiplied(n: float) -> bool:
    """Whether the powers of this order are products."""
    return n <= REPEATED and n == int(n)


@inlined
def share_of(u: float, once: bool, twice: bool, fourfold: bool) -> float:
    """``[u]₊ⁿ⁻¹`` with n − 1 in binary, 0 for u ≤ 0 at order 1 as well."""
    square = u * u
    share = (u if once else 1.0) * (square if twice else 1.0) * (square * square if fourfold else 1.0)
    return share if u > 0.0 else 0.0


@reassociated
def product_sums(z: Floats, start: int, end: int, reach: float, n: float) -> tuple[float, float]:
    """``Σ [1 − z/γ]₊ⁿ`` and ``Σ [1 − z/γ]₊ⁿ⁻¹`` at an order that is `multiplied`."""
    inverse = 1.0 / reach
    once, twice, fourfold = (int(n) - 1) & 1 != 0, (int(n) - 1) & 2 != 0, (int(n) - 1) & 4 != 0
    r_total, e_total = 0.0, 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        u = 1.0 - z[i] * inverse
        share = share_of(u, once, twice, fourfold)
        e_total += share
        r_total += share * (u if u > 0.0 else 0.0)
    return r_total, e_total


@contracted
def ratio_powers(z: Floats, start: int, end: int, reach: float, n: float, out: Floats, shares: Floats) -> None:
    """``[1 − z/γ]₊ⁿ`` into `out` and, if not `multiplied`, ``[1 − z/γ]₊ⁿ⁻¹`` into `shares`."""
    inverse = 1.0 / reach
    if multiplied(n):
        once, twice, fourfold = (int(n) - 1) & 1 != 0, (int(n) - 1) & 2 != 0, (int(n) - 1) & 4 != 0
        for i in range(np.uint64(start), np.uint64(end)):
            u = 1.0 - z[i] * inverse
            out[i] = share_of(u, once, twice, fourfold) * (u if u > 0.0 else 0.0)
    else:
        for i in range(np.uint64(start), np.uint64(end)):
            x = z[i] * inverse
            inside = x < 1.0
            x = x if inside else 0.0
            r = exponential(n * log1m(x))
            out[i] = r if inside else 0.0
            shares[i] = out[i] / (1.0 - x)
