"""Exact numbers from what a caller passes: rationals, indices and flags, each with an error of one line.

This module and `kernelproof.reference.model` hold words that the reference and the backends share, and no arithmetic.
"""

from __future__ import annotations

import math
import operator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.errors import DomainError, shown

_NUMBERS = "a number, a Fraction, a string such as '3/2', or a 0-d array"
_INFINITY = math.inf


def exact_number(value: Any, name: str) -> Fraction | float:
    """The exact rational that `value` stands for; infinities pass as floats.

    Args:
        value: int, float, Fraction, Decimal, NumPy scalar, string such as ``"3/2"`` or ``"inf"``, or a 0-d array.
        name: the name of the argument, for an error message.

    Raises:
        DomainError: `value` is NaN or not a number, or its magnitude is neither 0 nor in [2^-1074, 2^1024).

    >>> exact_number("3/2", "order"), exact_number(2**53 + 1, "order") - 2**53
    (Fraction(3, 2), Fraction(1, 1))
    """
    if type(value) in {int, float} and -1e308 < value < 1e308:
        # The common case, once per row.
        return Fraction(value)
    number = _rational(value)
    if number is None:
        allowed = "a number such as 2, 1.5, 3/2 or inf" if isinstance(value, str) else _NUMBERS
        msg = f"{name} must be {allowed}; got {shown(value)}"
        raise DomainError(msg)
    if isinstance(number, float) and math.isnan(number):
        msg = f"{name} must be a number; got nan"
        raise DomainError(msg)
    beyond = isinstance(number, _Beyond)
    if beyond or (isinstance(number, Fraction) and number and not _LEAST <= abs(number) < _LARGEST):
        msg = f"{name} must be 0, infinite or of magnitude in [2**-1074, 2**1024), as float64; got {shown(value)}"
        raise DomainError(msg)
    return number


_LEAST, _LARGEST = Fraction(1, 2**1074), Fraction(2**1024)


class _Beyond(float):
    """Stands for a decimal that is never expanded to a rational, because its exponent is out of range."""


def _rational(value: Any) -> Fraction | float | None:
    """The number that `value` stands for: a Fraction, an infinity, NaN or `_Beyond`; None if it is not a number."""
    # Converting a tensor with a gradient to a number warns; only its value is needed here.
    value = value.detach() if hasattr(value, "detach") else value
    if hasattr(value, "dtype"):
        # Python's own scalar of a NumPy scalar, a 0-d array or a tensor; a long double has none.
        value = value.item() if getattr(value, "shape", None) == () else None
    if isinstance(value, str):
        return _parsed(value.strip().lower())
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, np.longdouble):
        return Fraction(*value.as_integer_ratio()) if np.isfinite(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        return None
    return value if isinstance(value, float) and not math.isfinite(value) else Fraction(value)


def _parsed(text: str) -> Fraction | float | None:
    if text in {"inf", "+inf", "infinity", "oo", "∞"}:
        return _INFINITY
    if text in {"-inf", "-infinity", "-oo", "-∞"}:
        return -_INFINITY
    try:
        return Fraction(text) if "/" in text else _finite(Decimal(text))
    except (ValueError, ZeroDivisionError, InvalidOperation):
        return None


def _finite(value: Decimal) -> Fraction | float | None:
    return _decimal(value) if value.is_finite() else None


def _decimal(value: Decimal) -> Fraction | float:
    if not value.is_finite():
        return float("nan") if value.is_nan() else float(value)
    # Decimal exponents up to 400 cover float64; a larger one is never expanded.
    return Fraction(value) if not value or abs(value.adjusted()) <= 400 else _Beyond(value.adjusted())


def exact_index(value: Any, name: str, least: int, most: int | None = None) -> int:
    """`value` as an int in [least, most].

    Raises:
        DomainError: not an int (bools, floats and arrays are not), or out of range.

    >>> exact_index(np.int64(3), "k", 1)
    3
    """
    kind = getattr(value, "dtype", None)
    single = getattr(value, "shape", ()) == () and not isinstance(value, bool | np.bool_) and str(kind)[-4:] != "bool"
    try:
        number = operator.index(value) if single else None
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        msg = f"{name} must be an int {allowed}; got {shown(value)}"
        raise DomainError(msg)
    return number


def exact_flag(value: Any, name: str) -> bool:
    """`value` as a bool.

    Raises:
        DomainError: neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        msg = f"{name} must be True or False; got {shown(value)}"
        raise DomainError(msg)
    return bool(value)
