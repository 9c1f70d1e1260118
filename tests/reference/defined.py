"""What docs/theory.md §1 and §4 define, in mpmath; it shares only names with the oracle.

The mass equation is solved by bisection in û = max z/n − τ, and numbers are rounded by the definition of a format.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import ctx

from kernelproof.reference import Anchored, Fixed, Kernel, Nearest
from kernelproof.reference.formats import FORMATS

BITS = [120, 260]
ORDERS = ["1/16", "1/2", "1", "3/2", "2", "2.7", "3", "8", "64", "1e4"]

both_precisions = pytest.mark.parametrize("bits", BITS)
every_order = pytest.mark.parametrize("order", ORDERS)


def mp(value: Any) -> Any:
    """An exact number, rounded to the working precision only."""
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mpmath.mpf(value)


def exact(order: str) -> Fraction:
    """A finite order."""
    number = Kernel(order).order
    assert isinstance(number, Fraction)
    return number


def working(bits: int, order: Fraction = Fraction(1)) -> Any:
    """mpmath with room for u^n, which takes log2 n bits for n > 1 and n-ths of them for n < 1."""
    return mpmath.workprec(int(bits / min(order, Fraction(1))) + int(max(order, Fraction(1))).bit_length() + 48)


def u_hat(gaps: list[Any], n: Any) -> Any:
    """û with ``Σ [û − d_j/n]₊^n = 1``, by bisection of [0, 1] to the working precision."""
    return _u_hat(tuple(sorted(gaps)), n, mpmath.mp.prec)


@cache
def _u_hat(gaps: tuple[Any, ...], n: Any, precision: int) -> Any:
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    for _ in range(precision):
        middle = (low + high) / 2
        mass = mpmath.fsum((middle - d / n) ** n for d in gaps if d / n < middle)
        low, high = (low, middle) if mass >= 1 else (middle, high)
    return (low + high) / 2


def gamma_of(scores: list[Any], n: Any, rule: Any) -> Any:
    """γ by the table of docs/theory.md §1."""
    top = max(scores)
    if isinstance(rule, Fixed):
        return (mp(rule.exact) ** 2 - min(-2 * s for s in scores)) / 2
    if isinstance(rule, Anchored):
        return mp(rule.exact)
    beta = mp(rule.exact)
    return n / beta * u_hat([beta * (top - s) for s in scores], n)


def ratio_form(scores: list[Any], n: Any, rule: Any) -> list[Any]:
    """``w_i ∝ [1 − d_i/γ]₊^n`` over the keys that Nearest keeps."""
    kept, inner = scores, rule
    if isinstance(rule, Nearest):
        kept, inner = sorted(scores, reverse=True)[: rule.k], rule.then
    gamma, top = gamma_of(kept, n, inner), max(scores)
    terms = [(1 - (top - s) / gamma) ** n if s in kept and top - s < gamma else mpmath.mpf(0) for s in scores]
    return [term / mpmath.fsum(terms) for term in terms]


def ends(value: Any, bits: int) -> tuple[Any, Any]:
    """What the oracle proved of one number, as two numbers of mpmath."""
    if isinstance(value, Fraction):
        return mp(value), mp(value)
    with ctx.workprec(2 * bits + 64):
        pairs = [end.man_exp() for end in (value.lower(), value.upper())]
    low, high = (mpmath.ldexp(mpmath.mpf(int(mantissa)), int(exponent)) for mantissa, exponent in pairs)
    return low, high


def agree(found: Any, expected: list[Any], bits: int) -> None:
    """Every expected number lies in its enclosure to 2^-bits, which `working` leaves room for; none is wide."""
    slack = mpmath.mpf(2) ** -bits
    for value, number in zip(np.ravel(found.values()), expected, strict=True):
        low, high = ends(value, bits)
        # The oracle has 8 bits to spare beyond `bits`, and a weight costs it fewer than 16.
        assert high - low <= 2**16 * slack
        assert low - slack <= number <= high + slack


def sparsemax(z: list[float]) -> list[Any]:
    """[z_i − τ]₊ with τ = (Σ_{j ≤ K} z_j − 1)/K, K the most keys whose weights are all positive; exact but for /K."""
    ranked = sorted((mp(x) for x in z), reverse=True)
    count = max(k for k in range(1, len(z) + 1) if k * ranked[k - 1] - mpmath.fsum(ranked[:k]) + 1 > 0)
    total = mpmath.fsum(ranked[:count]) - 1
    return [max((count * mp(x) - total) / count, mpmath.mpf(0)) for x in z]


def rounded(value: Any, name: str) -> tuple[float, bool]:
    """`value` to the nearest number of a format, ties to even, by its definition; and whether it was a tie."""
    target = FORMATS[name]
    if not value:
        return 0.0, False
    exponent = max(mpmath.frexp(value)[1] - 1, target.emin)
    quotient = mpmath.ldexp(value, target.precision - 1 - exponent)
    below = mpmath.floor(quotient)
    tie = quotient - below == mpmath.mpf("0.5")
    up = int(below) % 2 == 1 if tie else quotient - below > mpmath.mpf("0.5")
    return float(mpmath.ldexp(below + up, exponent - target.precision + 1)), tie
