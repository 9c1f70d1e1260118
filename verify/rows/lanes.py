"""Exponential, logarithm and powers without branches or calls, so that LLVM vectorizes the loops around them.

Numba calls the scalar libm otherwise. All loops run over blocks that stay in the first cache. `contract` (a product
and a sum rounded once) is allowed here: it only takes roundings away. `reassoc` is allowed in `lane_sum` alone,
whose terms have one sign, so that any order of n terms is within ``n·u`` of the sum; NaN and infinities keep their
meaning everywhere.

Source: fdlibm, e_log.c and s_log1p.c, for the coefficients and the reduction of the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

from kernelproof.verify.rows.core import Array, Floats
from kernelproof.verify.rows.jit import contracted, inlined, jit, reassociated

LOWEST = -708.0  # exp of it is still normal
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
MAGIC = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer and leaves that in the low bits
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
REPEATED = 8.0  # Integer orders up to here are multiplied out.


def _bits_of(_context: Any, _value: Any) -> Any:
    return types.int64(types.float64), _same_bits


def _float_of(_context: Any, _value: Any) -> Any:
    return types.float64(types.int64), _same_bits


def _same_bits(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


# The bits of a float64 as an int64, and back.
bits_of = cast("Callable[[float], int]", intrinsic(_bits_of))
float_of = cast("Callable[[int], float]", intrinsic(_float_of))


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


@contracted
def ratio_powers(z: Floats, start: int, end: int, reach: float, n: float, out: Floats, shares: Floats) -> None:
    """``[1 − z/γ]₊ⁿ`` into `out` and ``[1 − z/γ]₊ⁿ⁻¹`` into `shares`, 0 off the support at order 1 as well."""
    inverse = 1.0 / reach
    if n <= REPEATED and n == int(n):
        # n − 1 in binary; the three questions are the same for all lanes.
        once, twice, fourfold = (int(n) - 1) & 1, (int(n) - 1) & 2, (int(n) - 1) & 4
        for i in range(np.uint64(start), np.uint64(end)):
            u = 1.0 - z[i] * inverse
            inside = u > 0.0
            u = u if inside else 0.0
            square = u * u
            share = (u if once else 1.0) * (square if twice else 1.0) * (square * square if fourfold else 1.0)
            shares[i] = share if inside else 0.0
            out[i] = shares[i] * u
    else:
        for i in range(np.uint64(start), np.uint64(end)):
            x = z[i] * inverse
            inside = x < 1.0
            x = x if inside else 0.0
            r = exponential(n * log1m(x))
            out[i] = r if inside else 0.0
            shares[i] = out[i] / (1.0 - x)
