"""The orders of a study: exact rationals, half powers of 2 by default."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import inf, sqrt
from typing import Any

from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.solver import LEAST_ORDER


def half_power(k: int) -> Fraction:
    """``2^(k/2)``: exact for even k, the float64 nearest to it for odd k, as an exact number.

    >>> half_power(-2), float(half_power(1)) == sqrt(2)
    (Fraction(1, 2), True)
    """
    return Fraction(2) ** (k // 2) * (Fraction(sqrt(2)) if k % 2 else 1)


ORDERS: tuple[Fraction, ...] = tuple(half_power(k) for k in range(-2, 81))
"""From 1/2 to 2^40, evenly spaced in log n, alternating between integers and reals."""


def checked_orders(values: Iterable[Any] | None) -> tuple[Fraction, ...]:
    """`values` as exact orders, ascending, each once; `ORDERS` for None.

    Raises:
        DomainError: no orders, or an order that is not a number in [2^-20, ∞).

    >>> checked_orders(["2", 0.5, "2"])
    (Fraction(1, 2), Fraction(2, 1))
    """
    if values is None:
        return ORDERS
    found = {_checked(value) for value in ([values] if isinstance(values, str) else values)}
    if not found:
        msg = "orders must hold at least one order, such as 1/2 or 64; got none"
        raise DomainError(msg)
    return tuple(sorted(found))


def _checked(value: Any) -> Fraction:
    number = exact_number(value, "order")
    if not isinstance(number, Fraction) or number < LEAST_ORDER:
        note = " (n = ∞ is the limit itself)" if number == inf else ""
        msg = f"an order of a convergence study must be in [2**-20, inf); got {shown(value)}{note}"
        raise DomainError(msg)
    return number


def order_text(order: Fraction) -> str:
    """The exact order as text: an integer, the decimals of a float64, or a fraction.

    >>> order_text(Fraction(8)), order_text(Fraction(1, 2)), order_text(Fraction(4, 3))
    ('8', '0.5', '4/3')
    """
    if order.denominator == 1:
        return str(order.numerator)
    return repr(float(order)) if Fraction(float(order)) == order else str(order)
