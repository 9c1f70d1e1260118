"""Where an expression has a value: denominators, roots, logarithms and Γ, shown from what is assumed of its symbols.

SymPy simplifies as if every expression had a value. An identity is proved on a domain only if both sides have one
there, at the boundary too; so every part that may have none is collected, and shown to have one or named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import sympy
from sympy import Expr, Pow, Sum
from sympy.core.function import AppliedUndef

_POSITIVE_ARGUMENT = (sympy.log, sympy.gamma, sympy.loggamma, sympy.digamma, sympy.polygamma)
_EVERYWHERE = (
    sympy.exp, sympy.sin, sympy.cos, sympy.atan, sympy.sinh, sympy.cosh, sympy.tanh, sympy.erf, sympy.Abs, sympy.sign,
    sympy.Max, sympy.Min, sympy.Heaviside, AppliedUndef,
)  # fmt: skip


def undefined(expression: Expr, given: Sequence[Expr] = ()) -> list[str]:
    """The parts of `expression` that are not shown to have a real value, in words; none if all are.

    Args:
        expression: whose symbols carry the assumptions.
        given: expressions that are above 0 on the domain.
    """
    return list(dict.fromkeys(_missing(expression, tuple(given))))


def _missing(expression: Expr, given: tuple[Expr, ...]) -> Iterator[str]:
    walk = sympy.preorder_traversal(expression)
    for each in walk:
        if isinstance(each, sympy.Integral):
            # It has a value where SymPy finds one; its ends may be infinite.
            if each.doit().has(sympy.Integral, sympy.oo, sympy.zoo, sympy.nan):
                yield f"{each} has a value"
            walk.skip()
        elif isinstance(each, Pow):
            yield from _power(each.base, each.exp, given)
        elif isinstance(each, _POSITIVE_ARGUMENT):
            if not above(each.args[-1], given):
                yield f"{each.args[-1]} > 0 for {type(each).__name__}"
        elif each in {sympy.nan, sympy.zoo, sympy.oo, -sympy.oo} and not isinstance(expression, sympy.Limit):
            yield f"{each} is no number"
        elif isinstance(each, sympy.Function) and not isinstance(
            each, (*_EVERYWHERE, sympy.core.function.AppliedUndef)
        ):
            yield f"{type(each).__name__} has a value"


def _power(base: Expr, exponent: Expr, given: tuple[Expr, ...]) -> Iterator[str]:
    if exponent.is_integer:
        # 0^0 is 1; only a negative power of 0 has no value.
        if not (exponent.is_nonnegative or nonzero(base, given)):
            yield f"{base} ≠ 0 in a denominator"
    elif above(exponent, given):
        if not (at_least(base, given)):
            yield f"{base} ≥ 0 under the power {exponent}"
    elif not above(base, given):
        yield f"{base} > 0 under the power {exponent}"


@cache
def above(value: Expr, given: tuple[Expr, ...] = ()) -> bool:
    """Whether `value` > 0 is shown."""
    return _signed(value, given, strict=True)


@cache
def at_least(value: Expr, given: tuple[Expr, ...] = ()) -> bool:
    """Whether `value` ≥ 0 is shown."""
    return _signed(value, given, strict=False)


@cache
def nonzero(value: Expr, given: tuple[Expr, ...] = ()) -> bool:
    """Whether `value` ≠ 0 is shown."""
    if isinstance(value, sympy.Mul):
        return all(nonzero(each, given) for each in value.args)
    if value.is_zero is False or (isinstance(value, Pow) and nonzero(value.base, given)):
        return True
    return above(value, given) or above(-value, given)


def forms(value: Expr) -> Iterator[Expr]:
    """The expression in the forms in which SymPy may see its sign."""
    yield value
    for step in (sympy.factor, sympy.together, sympy.expand, sympy.simplify):
        yield step(value)


def _signed(value: Expr, given: tuple[Expr, ...], *, strict: bool) -> bool:
    if value.has(sympy.Integral) and not value.free_symbols:
        value = value.doit()
    if isinstance(value, Sum):
        # A sum has the sign of its terms, and an empty one is 0.
        filled = all(at_least(high - low) for _, low, high in value.limits)
        return (filled or not strict) and _signed(value.function, given, strict=strict)
    if isinstance(value, sympy.Mul) and all(_signed(each, given, strict=strict) for each in value.args):
        return True
    if isinstance(value, sympy.Add) and all(_signed(each, given, strict=False) for each in value.args):
        return not strict or any(_signed(each, given, strict=True) for each in value.args)
    if value.has(Sum):
        return False
    for form in forms(value) if value.free_symbols else (value,):
        if form.is_positive or (not strict and form.is_nonnegative):
            return True
        for known in given:
            ratio, rest = sympy.simplify(form / known), sympy.simplify(form - known)
            if ratio.is_positive or rest.is_nonnegative:
                return True
    return False
