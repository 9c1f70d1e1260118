"""Double words: unevaluated sums of two float64, for the one place where float64 is too short.

At order n < 1 the smallest weight of a support near its threshold is 1 minus a sum of powers. The problem is
conditioned such that this sum may be off by n roundings only, not by a whole one. Here it is accurate to 2⁻⁶⁰.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
"""

from __future__ import annotations

import numpy as np

from kernelproof.verify.backends._arrays.core import Floats

DoubleWord = tuple[Floats, Floats]
# ln 2 in three pieces; k times the first is exact for |k| < 2^20.
LN2 = (0.6931471804855391, 7.44061711001209e-11, 3.061840736018652e-24)
SPLIT = 134217729.0  # 2^27 + 1


def two_sum(a: Floats, b: Floats) -> DoubleWord:
    """``a + b`` exactly, as the rounded sum and its error."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def two_product(a: Floats, b: Floats) -> DoubleWord:
    """``a·b`` exactly, as the rounded product and its error, unless an intermediate overflows or underflows."""
    product = a * b
    spread_a, spread_b = SPLIT * a, SPLIT * b
    high_a, high_b = spread_a - (spread_a - a), spread_b - (spread_b - b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def exponential(high: Floats, low: Floats) -> DoubleWord:
    """``exp(high + low)`` to a relative 2⁻⁶⁰ for |high| ≤ 700: Taylor series at a 64th, then squared six times."""
    k = np.rint(high / LN2[0])
    head, tail = two_sum(high - k * LN2[0], -k * LN2[1])
    head, tail = two_sum(head, tail + (low - k * LN2[2]))
    r, s = head / 64, tail / 64
    square, square_low = two_product(r, r)
    rest = r * square * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r / 5040))))
    a, b = two_sum(r, square / 2)
    a, b = two_sum(a, b + (square_low / 2 + s + r * s + rest))
    for _ in range(6):  # exp(2r) − 1 = 2a + a², a = exp(r) − 1
        square, square_low = two_product(a, a)
        twice, error = two_sum(2 * a, square)
        a, b = two_sum(twice, error + (2 * b + 2 * a * b + square_low))
    one, error = two_sum(np.ones_like(a), a)
    exponent = k.astype(np.int64)
    return np.ldexp(one, exponent), np.ldexp(error + b, exponent)


def power(base: Floats, n: float) -> DoubleWord:
    """``baseⁿ`` to a relative 2⁻⁶⁰ for 0 ≤ base ≤ 1 and 0 < n ≤ 1; bases below 1e-300 count as 0."""
    usable = base > 1e-300
    safe = np.where(usable, base, 1.0)
    log = np.log(safe)
    inverse, inverse_low = exponential(-log, np.zeros_like(log))
    product, error = two_product(safe, inverse)
    log_low = (product - 1.0) + (error + safe * inverse_low)  # log of a number this close to 1
    high, low = two_product(np.full_like(log, n), log)
    value, value_low = exponential(high, low + n * log_low)
    return np.where(usable, value, 0.0), np.where(usable, value_low, 0.0)


def total(terms: Floats, low: Floats | None = None) -> Floats:
    """``Σ (terms + low)`` over the last axis, which is kept, to nearly one rounding: a tree of exact sums.

    NaN and infinities propagate. The order of the tree depends on the length alone, not on the other rows.
    """
    carried = np.zeros_like(terms[..., :1]) if low is None else low.sum(-1, keepdims=True)
    while terms.shape[-1] > 1:
        if terms.shape[-1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[..., :1])], axis=-1)
        terms, lost = two_sum(terms[..., ::2], terms[..., 1::2])
        carried = carried + lost.sum(-1, keepdims=True)
    return np.where(np.isfinite(carried), terms + carried, terms)
