"""The mass equation in float32: two sums over a row, for the steps that only need to approach the root.

None of this reaches a result: the last step is in float64 (`elementary_functions`) and removes the error of these. The
relative errors are about 2^-22.

Source: fdlibm, e_log.c, for the reduction of the logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array
from kernelproof.verify.backends.numba.jit import inlined, jit, reassociated
from kernelproof.verify.backends.numba.llvm import exponent, mantissa, scaled, wide

F = np.float32
ONE, TWO, HALF, NIL = F(1), F(2), F(0.5), F(0)
LOWEST = F(-87)
LOG2_E, LN2_HIGH, LN2_LOW = F(1.442695041), F(0.693359375), F(-2.12194440e-4)
MAGIC = F(12582912)  # 1.5·2^23
THIRD, FIFTH, SEVENTH, NINTH = F(2 / 3), F(2 / 5), F(2 / 7), F(2 / 9)
SIXTH, T4, T5, T6, T7 = F(1 / 6), F(1 / 24), F(1 / 120), F(1 / 720), F(1 / 5040)
BLOCK = 2048  # terms of a float32 sum before it is added to a float64 sum
REPEATED = 8.0  # Integer orders up to here are multiplied out.


@inlined
def exponential32(x: Any) -> Any:
    """``exp(x)`` for x ≤ 0; 0 below LOWEST."""
    y = max(LOWEST, x)
    shifted = y * LOG2_E + MAGIC
    k = shifted - MAGIC
    r = (y - k * LN2_HIGH) - k * LN2_LOW
    p = T6 + r * T7
    p = T5 + r * p
    p = T4 + r * p
    p = SIXTH + r * p
    p = HALF + r * p
    p = ONE + (r + r * r * p)
    return scaled(p, shifted) if x > LOWEST else NIL


@inlined
def log1m32(x: Any, u: Any, f: Any, s: Any) -> Any:
    """``log(1 − x)`` from ``u = 1 − x = 2^k(1 + f)`` and ``s = f/(2 + f)``; corrects u as `log1m` does."""
    lost = ((ONE - u) - x) * (ONE + x)
    z = s * s
    series = s * (z * (THIRD + z * (FIFTH + z * (SEVENTH + z * NINTH))))
    # 2s = f − s·f, which keeps the digits of a small f.
    k = exponent(u)
    return k * LN2_HIGH + (f - (s * f - (series + (k * LN2_LOW + lost))))


@inlined
def ratio32(top: Any, score: Any, inverse: Any) -> Any:
    """``1 − z/γ`` of a key, −inf if it is masked."""
    return ONE - np.float32(top - score) * inverse


@inlined
def powers32(u: Any, once: int, twice: int, fourfold: int) -> Any:
    """``[u]₊ⁿ⁻¹`` for n − 1 in binary; 0 off the support at order 1 as well."""
    inside = u > NIL
    u = u if inside else NIL
    square = u * u
    share = (u if once else ONE) * (square if twice else ONE) * (square * square if fourfold else ONE)
    return share if inside else NIL


@inlined
def general32(x: Any, n: Any) -> tuple[Any, Any]:
    """``[1 − x]₊ⁿ`` and ``[1 − x]₊ⁿ⁻¹`` with one division for ``1/(2 + f)`` and ``1/(1 − x)``."""
    inside = x < ONE
    x = x if inside else NIL
    u = ONE - x
    f = mantissa(u) - ONE
    both = ONE / ((TWO + f) * u)
    r = exponential32(n * log1m32(x, u, f, f * (u * both)))
    return (r if inside else NIL), (r * ((TWO + f) * both) if inside else NIL)


@reassociated
def whole_sums(kept: Array, start: int, end: int, top: Any, inverse: Any, n: int) -> tuple[float, float]:
    """``Σ[1 − z/γ]₊ⁿ`` and ``Σ[1 − z/γ]₊ⁿ⁻¹`` over a block, n from 1 to REPEATED."""
    wide()
    once, twice, fourfold = (n - 1) & 1, (n - 1) & 2, (n - 1) & 4
    r_total, e_total = NIL, NIL
    for i in range(np.uint64(start), np.uint64(end)):
        u = ratio32(top, kept[i], inverse)
        share = powers32(u, once, twice, fourfold)
        e_total += share
        r_total += share * u if share > NIL else NIL
    return np.float64(r_total), np.float64(e_total)


@reassociated
def real_sums(kept: Array, start: int, end: int, top: Any, inverse: Any, n: Any) -> tuple[float, float]:
    """`whole_sums` for any n ≥ 1."""
    wide()
    r_total, e_total = NIL, NIL
    for i in range(np.uint64(start), np.uint64(end)):
        r, e = general32(np.float32(top - kept[i]) * inverse, n)
        r_total += r
        e_total += e
    return np.float64(r_total), np.float64(e_total)


@jit
def sums32(kept: Array, count: int, top: Any, inverse: Any, n: float) -> tuple[float, float]:
    """The sums over the first `count` keys, a multiple of SLACK."""
    r_total, e_total = 0.0, 0.0
    repeated = n <= REPEATED and n == int(n)
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        if repeated:
            r, e = whole_sums(kept, start, end, top, inverse, int(n))
        else:
            r, e = real_sums(kept, start, end, top, inverse, np.float32(n))
        r_total += r
        e_total += e
    return r_total, e_total
