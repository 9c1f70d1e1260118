"""Scalar functions of the Numba core: exact sums, powers as double words, and the powers of the ratio form.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971; A. Neumaier, 1974.
"""

from __future__ import annotations

import math

import numpy as np

from kernelproof.verify.backends._arrays.core import Floats
from kernelproof.verify.backends.numba.jit import jit

# ln 2 in three pieces; k times the first is exact for |k| < 2^20.
LN2_HIGH, LN2_MIDDLE, LN2_LOW = 0.6931471804855391, 7.44061711001209e-11, 3.061840736018652e-24
SPLIT = 134217729.0  # 2^27 + 1


@jit
def two_sum(a: float, b: float) -> tuple[float, float]:
    """``a + b`` exactly, as the rounded sum and its error."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


@jit
def two_product(a: float, b: float) -> tuple[float, float]:
    """``a·b`` exactly, as the rounded product and its error, unless an intermediate overflows or underflows."""
    product = a * b
    spread_a, spread_b = SPLIT * a, SPLIT * b
    high_a, high_b = spread_a - (spread_a - a), spread_b - (spread_b - b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


@jit
def total(terms: Floats) -> float:
    """The compensated sum; NaN and infinities propagate."""
    value, carry = 0.0, 0.0
    for term in terms:
        value, error = two_sum(value, term)
        carry += error
    return value + carry if math.isfinite(carry) else value


@jit
def dot(a: Floats, b: Floats) -> float:
    """``Σ a·b`` with rounded products and a compensated sum."""
    value, carry = 0.0, 0.0
    for i in range(a.size):
        value, error = two_sum(value, a[i] * b[i])
        carry += error
    return value + carry if math.isfinite(carry) else value


@jit
def exponential(high: float, low: float) -> tuple[float, float]:
    """``exp(high + low)`` to a relative 2⁻⁶⁰ for |high| ≤ 700: Taylor series at a 64th, then squared six times."""
    k = np.rint(high / LN2_HIGH)
    head, tail = two_sum(high - k * LN2_HIGH, -k * LN2_MIDDLE)
    head, tail = two_sum(head, tail + (low - k * LN2_LOW))
    r, s = head / 64.0, tail / 64.0
    square, square_low = two_product(r, r)
    rest = r * square * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r / 5040))))
    a, b = two_sum(r, square / 2.0)
    a, b = two_sum(a, b + (square_low / 2.0 + s + r * s + rest))
    for _ in range(6):
        square, square_low = two_product(a, a)
        twice, error = two_sum(2.0 * a, square)
        a, b = two_sum(twice, error + (2.0 * b + 2.0 * a * b + square_low))
    one, error = two_sum(1.0, a)
    return math.ldexp(one, int(k)), math.ldexp(error + b, int(k))


@jit
def power(base: float, n: float) -> tuple[float, float]:
    """``baseⁿ`` to a relative 2⁻⁶⁰ for 0 ≤ base ≤ 1 and 0 < n ≤ 1; a base below 1e-300 counts as 0."""
    if not base > 1e-300:
        return 0.0, 0.0
    log = math.log(base)
    inverse, inverse_low = exponential(-log, 0.0)
    product, error = two_product(base, inverse)
    log_low = (product - 1.0) + (error + base * inverse_low)
    high, low = two_product(n, log)
    return exponential(high, low + n * log_low)


@jit
def one_minus_powers(terms: Floats, start: float, divisor: float, n: float) -> float:
    """``1 − Σ ((start − term)/divisor)ⁿ`` to nearly one rounding; terms at or beyond `start` count as 0."""
    value, carry = 1.0, 0.0
    for term in terms:
        if term < start:
            high, low = power((start - term) / divisor, n)
            value, error = two_sum(value, -high)
            carry += error - low
    return value + carry


@jit
def ratio_power(x: float, q: float, n: float) -> tuple[float, float, float]:
    """``qⁿ``, ``qⁿ⁻¹`` and ``log q`` for ``q = 1 − x``, where the caller knows q near 0 better than ``1 − x``."""
    if x < 0.5:
        log = math.log1p(-x)
        r = 1.0 - x if n == 1.0 else math.exp(n * log)
        return r, r / (1.0 - x), log
    if q > 0.0:
        r = q**n
        return r, r / q, math.log(q)
    return 0.0, 1.0 if n == 1.0 else 0.0, 0.0


@jit
def psi(x: float) -> float:
    """``(x + expm1(−x))/x²`` for |x| ≤ 1, by a series, of one sign for x ≤ 0."""
    value, term = 0.0, 0.5
    for j in range(1, 20):
        value += term
        term *= -x / (j + 2)
    return value
