"""The terms of the mass equation of a row in double words, each with one proved relative bound for the whole row.

Let ε = `OPERATION` = 2^-102. Double words that are definitions (the point s or λ at which the row is evaluated) count
as exact. The four forms compute u^n of

- POWER (an int n ≤ 64) and REAL: u = (β(z_i − z_k) + s)/n, anchored at the smallest key k of the support. The gap is
  within ε/2, the sum within ε, 1/n within ε/16, the product within ε: u is within 2.6ε.
- LARGE (n ≥ 2^20): u = 1 − x, x = (λ + βd_i)/n, d_i = max z − z_i. log u = −x·log_ratio(−x), and n cancels.
- SOFTMAX (n = ∞): exp(−βd_i).

A difference of keys is exact (TwoSum). Where β is not 1, its word is within u² and the product within 7u²: ε/2 in all.

Bounds:

The callers keep s ≤ 1.001n and z_i − z_k ≤ n, so that u ≤ 2.01; x ≤ 2^-9; and count·ε/4 small.

- POWER: a product of P_j ≈ u^j and P_k ≈ u^k is within the sum of their bounds plus ε, so by induction u^n is within
  (2.6n + n − 1)ε(1 + 2^-50).
- REAL: y = n·log u is wrong by n(2.7 + 1 + |log u|)ε + 1.1ε|y| ≤ (3.7n + 2.1·650)ε, exp by another ε.
- LARGE: λ + βd within 1.5ε, x within 2.6ε (which moves log_ratio by x ≤ 2^-9 times that), log_ratio ε/2, the product ε:
  y is wrong by at most 3.1ε·650 = 2015ε, exp by another ε.
- SOFTMAX: exp is within ε, and where β is not 1 the exponent is wrong by 650·ε/2.

A term below e^-650 < 2^-937, or below 2^-900 in POWER, is stored as head 0, with an upper bound of the true term in
place of the tail. In POWER no intermediate power can have underflowed unless the result is below 2^-899: for u ≥ 1/2
none is below 2^-64, and for u < 1/2 each is at least 1 − 2^-40 times the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import compiled
from kernelproof.reference.bulk.double_word import OPERATION, Word, add, add_float, mul, two_sum
from kernelproof.reference.bulk.elementary_functions import LEAST_EXPONENT, exp_word, log_ratio, log_word

Floats = NDArray[np.float64]

POWER, REAL, LARGE, SOFTMAX = 0, 1, 2, 3
TINY = 2.0**-890
"""A bound above every term that is stored without digits, and above its change when the root moves."""
LEAST = 5e-324


class Order(NamedTuple):
    """The order in the form that a kernel takes.

    Attributes:
        form: POWER, REAL, LARGE or SOFTMAX.
        whole: n for POWER, else 0.
        head, tail: n as a double word.
        inverse_head, inverse_tail: 1/n as a double word.
        exact: whether head + tail is n exactly.
        one, least: 1 and the least subnormal, which must not be compile-time constants of the kernel.
        scaled: whether β below is not 1.
        scale_head, scale_tail: β, the factor of the scores, as a double word.
    """

    form: int
    whole: int
    head: float
    tail: float
    inverse_head: float
    inverse_tail: float
    exact: bool
    one: float = 1.0
    least: float = LEAST
    scaled: bool = False
    scale_head: float = 1.0
    scale_tail: float = 0.0


@compiled
def term_error(order: Order) -> float:
    """The relative bound for every term of a row, as derived above and rounded up."""
    if order.form == POWER:
        return 3.7 * order.whole * OPERATION
    if order.form == REAL:
        return (3.8 * order.head + 1400.0) * OPERATION
    if order.form == LARGE:
        return 2100.0 * OPERATION
    return 330.0 * OPERATION if order.scaled else 1.01 * OPERATION


@compiled
def scaled_difference(order: Order, z: float, anchor: float) -> Word:
    """β(z − anchor): exact for β = 1, else within a relative ε/2."""
    h, g = two_sum(z, -anchor)
    if order.scaled:
        return mul(h, g, order.scale_head, order.scale_tail)
    return h, g


@compiled
def word_power(h: float, g: float, n: int) -> Word:
    """(h, g)^n for an int n ≥ 1 by the binary digits of n, the leading one first."""
    ph, pl = h, g
    digit = 1
    while digit <= n >> 1:
        digit <<= 1
    digit >>= 1
    while digit:
        ph, pl = mul(ph, pl, ph, pl)
        if n & digit:
            ph, pl = mul(ph, pl, h, g)
        digit >>= 1
    return ph, pl


@compiled
def decay(yh: float, yl: float) -> Word:
    """exp(y); below e^-650, head 0 and an upper bound (e^-760 < 2^-1096); NaN beyond 1, where nothing is proved."""
    if yh < LEAST_EXPONENT:
        return 0.0, (LEAST if yh < -760.0 else TINY)
    if yh <= 1.0:
        return exp_word(yh, yl)
    return np.nan, np.nan


@compiled
def evaluate(
    order: Order, z: Floats, count: int, anchor: float, sh: float, sl: float, base: Floats, head: Floats, tail: Floats
) -> None:
    """Fill base = n·u (float64, within 2^-51), head and tail with the `count` terms.

    Args:
        order: the order.
        z: keys; for POWER and REAL those at or above `anchor`, for LARGE and SOFTMAX those at most 1900 below it.
        count: how many.
        anchor: z_k for POWER and REAL, max z for LARGE and SOFTMAX.
        sh: head of s (POWER, REAL) or λ (LARGE).
        sl: its tail.
        base: out.
        head: out.
        tail: out.
    """
    for i in range(count):
        dh, dl = scaled_difference(order, z[i], anchor)
        if order.form == SOFTMAX:
            h, g = decay(dh, dl)
            base[i] = 1.0
        elif order.form == LARGE:
            ah, al = add(-dh, -dl, sh, sl)
            xh, xl = mul(ah, al, order.inverse_head, order.inverse_tail)
            base[i] = order.head * (1.0 - xh)
            rh, rl = log_ratio(-xh, -xl)
            yh, yl = mul(-ah, -al, rh, rl)
            h, g = decay(yh, yl)
        else:
            bh, bl = add(dh, dl, sh, sl)
            base[i] = bh
            uh, ul = mul(bh, bl, order.inverse_head, order.inverse_tail)
            if order.form == POWER:
                h, g = word_power(uh, ul, order.whole)
                if h < 2.0**-900:
                    h, g = 0.0, TINY
            else:
                gh, gl = log_word(uh, ul)
                yh, yl = mul(gh, gl, order.head, order.tail)
                h, g = decay(yh, yl)
        head[i], tail[i] = h, g


@compiled
def total(head: Floats, tail: Floats, count: int) -> Word:
    """The sum of the terms that have digits; they are positive, so it is within a relative count·ε/4."""
    h, g = 0.0, 0.0
    for i in range(count):
        # A NaN propagates.
        if head[i] != 0.0:
            h, g = add(h, g, head[i], tail[i])
    return h, g


@compiled
def slope(order: Order, base: Floats, head: Floats, count: int) -> float:
    """dS/dγ = Σ u^(n−1) = n·Σ u^n/(n·u) in float64, without terms that have no digits; within (count + 8)·2^-53."""
    summed = 0.0
    for i in range(count):
        summed += head[i] / base[i]
    return summed * order.head


@compiled
def minus_one(h: float, g: float) -> float:
    """(h, g) − 1 in float64, within a relative 2^-51."""
    a, b = add_float(h, g, -1.0)
    return a + b
