"""Where to look for the root of a row, in plain float64: proposals prove nothing and need no error bound.

The exponential and the logarithm here are accurate to about 2^-50.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import bits_of, compiled, float_of

Floats = NDArray[np.float64]

_MAGIC = 6755399441055744.0
_MAGIC_BITS = 0x4338000000000000
_LOG_TWO_HEAD = 0.693147180369123816490
_LOG_TWO_TAIL = 1.90821492927058770002e-10
_INVERSE_LOG_TWO = 1.4426950408889634
STEPS = 64
"""The largest number of Newton steps of a proposal."""


@compiled
def approximate_exp(x: float) -> float:
    """exp(x), approximately; 0 below −700."""
    y = min(max(x, -700.0), 700.0)
    shifted = y * _INVERSE_LOG_TWO + _MAGIC
    k = bits_of(shifted) - _MAGIC_BITS
    whole = shifted - _MAGIC
    r = (y - whole * _LOG_TWO_HEAD) - whole * _LOG_TWO_TAIL
    tail = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * (1 / 39916800 + r / 479001600)))
    p = r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * tail)))))))
    value = (1.0 + p) * float_of((k + 1023) << 52)
    return value if x > -700.0 else 0.0


@compiled
def approximate_log(x: float) -> float:
    """log(x), approximately, for normal x > 0."""
    i = bits_of(x)
    upper = ((i >> 44) & 255) >= 106
    e = (i >> 52) - 1023 + (1 if upper else 0)
    m = float_of((i & 0x000FFFFFFFFFFFFF) | (0x3FE0000000000000 if upper else 0x3FF0000000000000))
    t = (m - 1.0) / (m + 1.0)
    w = t * t
    tail = 1 / 13 + w * (1 / 15 + w * (1 / 17 + w * (1 / 19 + w / 21)))
    p = 1 / 3 + w * (1 / 5 + w * (1 / 7 + w * (1 / 9 + w * (1 / 11 + w * tail))))
    whole = float_of(e + _MAGIC_BITS) - _MAGIC
    return whole * _LOG_TWO_HEAD + (2.0 * t + (2.0 * t * w * p + whole * _LOG_TWO_TAIL))


@compiled
def approximate_power(base: float, order: float) -> float:
    """base^order, approximately, for base ≥ 0; 0 for a base below 2^-1000."""
    return approximate_exp(order * approximate_log(base)) if base > 1e-301 else 0.0


@compiled
def integer_power(base: float, n: int) -> float:
    """base^n, approximately, for an int n ≥ 0."""
    power, square = 1.0, base
    while n:
        if n & 1:
            power *= square
        square *= square
        n >>= 1
    return power


@compiled
def smooth_root(gaps: Floats, count: int, order: float, whole: int) -> float:
    """γ for n ≥ 1 from `count` gaps, which it permutes: Newton's method on ``‖u‖_n − 1``, convex, from the left.

    Args:
        gaps: d_i < n in any order, one of them 0.
        count: how many.
        order: n.
        whole: n if powers are computed by multiplication, else 0.
    """
    reach = order * approximate_power(1.0 / count, 1.0 / order)
    kept = count
    for step in range(STEPS):
        mass, slope, i = 0.0, 0.0, 0
        while i < kept:
            base = (reach - gaps[i]) / order
            if base <= 0.0 and step > 1:
                # From the second step on the iterates decrease, so this key stays outside.
                kept -= 1
                gaps[i], gaps[kept] = gaps[kept], gaps[i]
                continue
            if base > 0.0:
                below = integer_power(base, whole - 1) if whole else approximate_power(base, order - 1.0)
                slope += below
                mass += below * base
            i += 1
        if not mass > 0.0 or not slope > 0.0:
            break
        # S(1 − S^(−1/n))/W, in the unit of γ.
        root = approximate_power(mass, -1.0 / order) if whole != 1 else 1.0 / mass
        new = min(max(reach - order * mass * (1.0 - root) / slope, 0.0), order)
        if abs(new - reach) <= 1e-15 * reach:
            return new
        reach = new
    return reach


@compiled
def low_root(gaps: Floats, count: int, order: float) -> tuple[int, float]:
    """(size of the support, n·p_k^(1/n)) for n < 1 from ascending gaps: bisection, then Newton's method on p_k.

    The mass is convex in the smallest weight p_k, and at ``p_k = 1/size`` it is at least 1.
    """
    low, high = 1, count + 1
    while high - low > 1:
        middle = (low + high) // 2
        edge = gaps[middle - 1]
        mass = 0.0
        for j in range(middle - 1):
            mass += approximate_power((edge - gaps[j]) / order, order)
        if mass < 1.0:
            low = middle
        else:
            high = middle
    edge = gaps[low - 1]
    x = 1.0 / low
    for _ in range(STEPS):
        v = approximate_power(x, 1.0 / order)
        mass, slope = -1.0, 0.0
        for j in range(low):
            base = (edge - gaps[j]) / order + v
            power = approximate_power(base, order)
            mass += power
            slope += power / base if base > 0.0 else 0.0
        slope *= v / x
        new = x - mass / slope
        if not new > 0.0 or not slope > 0.0:
            break
        if abs(new - x) <= 1e-16 * x:
            x = new
            break
        x = new
    return low, order * approximate_power(x, 1.0 / order)


@compiled
def large_shift(gaps: Floats, count: int, inverse: float) -> float:
    """λ = n − γ for large n from gaps in any order: Newton's method on log S, nearly linear in λ. `inverse` is 1/n."""
    total = 0.0
    for i in range(count):
        total += approximate_exp(-gaps[i])
    shift = approximate_log(total)
    for _ in range(STEPS):
        mass, slope = 0.0, 0.0
        for i in range(count):
            a = shift + gaps[i]
            x = a * inverse
            power = (
                approximate_exp(-a * (1.0 + x * (1 / 2 + x * (1 / 3 + x * (1 / 4 + x * (1 / 5 + x / 6))))))
                if x < 0.002
                else 0.0
            )
            mass += power
            slope += power / (1.0 - x)
        move = approximate_log(mass) * mass / slope
        shift = max(shift + move, 0.0)
        if abs(move) <= 1e-15 * shift + 1e-300:
            break
    return shift
