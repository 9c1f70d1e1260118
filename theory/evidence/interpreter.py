"""A SymPy expression as a function of guarded balls: no code of an author stands between a statement and its proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce
from operator import add, mul
from typing import Any

import sympy
from flint import arb
from sympy import Expr

from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.evidence.ball import Ball, guard

_ONE: Mapping[type, Callable[[Ball], Ball]] = {
    sympy.exp: Ball.exp, sympy.log: Ball.log, sympy.sin: Ball.sin, sympy.cos: Ball.cos, sympy.tan: Ball.tan,
    sympy.sinh: Ball.sinh, sympy.cosh: Ball.cosh, sympy.tanh: Ball.tanh, sympy.atan: Ball.atan, sympy.gamma: Ball.gamma,
    sympy.loggamma: Ball.lgamma, sympy.digamma: Ball.digamma, sympy.erf: Ball.erf, sympy.Abs: abs,
}  # fmt: skip
_MANY: Mapping[type, Callable[[Ball, Ball], Ball]] = {
    sympy.Add: add, sympy.Mul: mul, sympy.Max: Ball.max, sympy.Min: Ball.min,
}  # fmt: skip


def ball_of(expression: Expr, values: Mapping[str, Ball]) -> Ball:
    """The value of `expression` where its variables are `values`.

    Raises:
        UndecidedError: it has a floating-point number, or a function that is not known here.
    """
    if isinstance(expression, sympy.Symbol):
        return values[expression.name]
    if expression.is_Rational:
        number = Fraction(int(expression.p), int(expression.q))
        return guard(arb(number.numerator) / number.denominator)
    if expression is sympy.pi:
        return guard(arb.pi())
    if expression is sympy.E:
        return guard(arb(1).exp())
    parts = [ball_of(each, values) for each in expression.args] if not isinstance(expression, sympy.Pow) else []
    for kind, one in _ONE.items():
        if isinstance(expression, kind):
            return one(parts[0])
    for kind, many in _MANY.items():
        if isinstance(expression, kind):
            return reduce(many, parts)
    if isinstance(expression, sympy.Pow):
        return _power(ball_of(expression.base, values), expression.exp, values)
    msg = f"no ball is computed for {expression!r}"
    raise UndecidedError(msg)


def _power(base: Ball, exponent: Expr, values: Mapping[str, Ball]) -> Ball:
    if exponent.is_Integer:
        whole: Any = base ** int(exponent)
        return whole  # type: ignore[no-any-return]  # flint has no types
    # Elsewhere NaN, as arb has it: a power of a negative number is no real number.
    return base ** ball_of(exponent, values)  # type: ignore[no-any-return]  # flint has no types
