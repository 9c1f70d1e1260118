"""Arithmetic on double words, unevaluated sums head + tail: for residuals below order 1, and to round once.

Source: Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18 (1971).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_SPLIT = 2.0**27 + 1.0
# log 2 in two parts; the first has 11 zero bits at its end, so that its product with an exponent is exact.
_LOG2_HEAD = float.fromhex("0x1.62E42FEFA3800p-1")
_LOG2_TAIL = float.fromhex("0x1.EF35793C76730p-45")


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a + b`` exactly, as the rounded sum and its error."""
    head = a + b
    part = head - a
    return head, (a - (head - part)) + (b - part)


def two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a·b`` exactly, as the rounded product and its error, for factors below 2^990."""
    head = a * b
    a_high, b_high = a * _SPLIT, b * _SPLIT
    a_high, b_high = a_high - (a_high - a), b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    return head, ((a_high * b_high - head) + a_high * b_low + a_low * b_high) + a_low * b_low


def quotient(a: Tensor, a_tail: Tensor, b: Tensor, b_tail: Tensor) -> tuple[Tensor, Tensor]:
    """``(a + a_tail)/(b + b_tail)`` as the rounded quotient of the heads and its remaining error."""
    head = a / b
    product, error = two_product(head, b)
    tail = (((a - product) - error) + (a_tail - head * b_tail)) / b
    return head, torch.where(tail.isfinite(), tail, 0.0)


def total(heads: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over the last axis (kept, of length 1) of ``heads + tails``, to about twice the precision."""
    while heads.shape[-1] > 1:
        if heads.shape[-1] % 2:
            heads, tails = pad(heads, (0, 1)), pad(tails, (0, 1))
        half = heads.shape[-1] // 2
        heads, errors = two_sum(heads[..., :half], heads[..., half:])
        tails = tails[..., :half] + tails[..., half:] + errors
    return heads, tails


def logarithm(value: Tensor) -> tuple[Tensor, Tensor]:
    """``log value`` with an absolute error below 2^-60·max(1, |log value|), for normal positive values.

    ``log f = 2 atanh((f − 1)/(f + 1))`` on [√½, √2]: the first term is a double word; the others, below 1/290, are in
    float64.
    """
    fraction, exponent = torch.frexp(value)
    small = fraction < math.sqrt(0.5)
    fraction = torch.where(small, 2 * fraction, fraction)
    power = exponent.to(torch.float64) - small.to(torch.float64)
    top, (bottom, rest) = fraction - 1, two_sum(fraction, torch.ones_like(fraction))
    s = top / bottom
    product, error = two_product(s, bottom)
    s_tail = (((top - product) - error) - s * rest) / bottom
    square = s * s
    series = torch.zeros_like(s)
    for odd in range(25, 1, -2):
        series = square * (series + 1 / odd)
    head, error = two_sum(power * _LOG2_HEAD, 2 * s)
    return two_sum(head, error + (2 * s_tail + 2 * s * series + power * _LOG2_TAIL))


def power(value: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """``value^exponent`` as head + tail with a relative error near 2^-58, for normal positive values."""
    head = value.pow(exponent)
    a, a_tail = logarithm(value)
    b, b_tail = logarithm(head)
    product, error = two_product(a, torch.full_like(a, exponent))
    return head, head * ((product - b) + (error + exponent * a_tail - b_tail))
