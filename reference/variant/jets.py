"""Numbers for profiles written once: arb balls that carry derivatives, and mpmath for the cross-check.

A profile is a function ``K(x, t)`` of an arithmetic context `x` and a number `t`. With `Jets` as the context the
numbers are truncated Taylor series in several variables (forward-mode automatic differentiation): a value and its
partial derivatives, each an arb ball or again a `Jet`, so that nesting gives higher derivatives. Every rule below is
the chain rule, evaluated in ball arithmetic, so that derivatives are enclosed just as values are.

Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM, 2008, chapter 3; F. Johansson, Arb, 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from typing import Any

import mpmath
from flint import arb, fmpq

Number = Any
"""A ball or a `Jet`."""


def ball(value: Any) -> arb:
    """The exact number `value` (int, float, Fraction) as a ball at the working precision; balls are returned unchanged.

    >>> ball(Fraction(1, 2)) == 0.5
    True
    """
    if isinstance(value, Fraction):
        return arb(fmpq(value.numerator, value.denominator))
    return value if isinstance(value, arb) else arb(value)


@dataclass(frozen=True, eq=False)
class Jet:
    """A value and its partial derivatives. A profile sees only jets, so that one set of rules covers everything.

    Attributes:
        value: a ball, or a `Jet` of other variables.
        partials: number of a variable -> the derivative, of the same kind as `value`; a missing one is 0.
    """

    value: Number
    partials: Mapping[int, Number]

    def chain(self, value: Number, slope: Number) -> Jet:
        """f(self), given f and f′ at `value`."""
        return Jet(value, {at: slope * part for at, part in self.partials.items()})

    def __add__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + ball(other), self.partials)
        return Jet(self.value + other.value, merged(self.partials, other.partials))

    def __neg__(self) -> Jet:
        return Jet(-self.value, {at: -part for at, part in self.partials.items()})

    def __sub__(self, other: Any) -> Jet:
        return self + (-other if isinstance(other, Jet) else -ball(other))

    def __rsub__(self, other: Any) -> Jet:
        found: Jet = -self + other
        return found

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            factor = ball(other)
            return self.chain(self.value * factor, factor)
        a, b = self.chain(self.value * other.value, other.value), other.chain(other.value, self.value)
        return Jet(a.value, merged(a.partials, b.partials))

    def __truediv__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return self * (1 / ball(other))
        return self * other._inverse()

    def __rtruediv__(self, other: Any) -> Jet:
        found: Jet = self._inverse() * other
        return found

    def _inverse(self) -> Jet:
        inverse: Number = 1 / self.value
        return self.chain(inverse, -(inverse * inverse))

    def __pow__(self, exponent: float | Fraction) -> Jet:
        # Made exact before 1 is subtracted: 0.1 − 1 would be rounded in floats.
        exact = _exponent(exponent)
        if exact == 0:
            return Jet(self.value * 0 + 1, {})
        return self.chain(_power(self.value, exact), _power(self.value, exact - 1) * ball(exact))

    def __eq__(self, other: object) -> bool:
        """Not allowed: a branch would be a jump that the proofs here cannot see."""
        msg = "numbers of a profile cannot be compared: it is one formula, without branches"
        raise TypeError(msg)

    def __bool__(self) -> bool:
        """Not allowed, as for ``==``."""
        return self == 0

    __hash__ = object.__hash__
    __radd__ = __add__
    __rmul__ = __mul__


def merged(*parts: Mapping[int, Number]) -> dict[int, Number]:
    """The sums of partial derivatives."""
    out = dict(parts[0])
    for each in parts[1:]:
        for at, part in each.items():
            out[at] = out[at] + part if at in out else part
    return out


def _exponent(value: Any) -> Fraction:
    if not isinstance(value, int | float | Fraction):
        msg = f"an exponent must be an exact number; got {value!r}; for a parameter p write x.exp(p * x.log(t))"
        raise TypeError(msg)
    return Fraction(value)


def _power(base: Number, exact: Fraction) -> Number:
    if isinstance(base, Jet):
        return base**exact
    if exact.denominator == 1:
        return base ** int(exact)
    exponent = fmpq(exact.numerator, exact.denominator)
    if exact > 0 and base.is_finite() and base.contains(0):
        # Negative numbers have no roots: a ball reaches below 0 only by its radius, unless the boxes beside it are all
        # negative and have no value.
        return arb(0).union(base.upper() ** exponent)
    return base**exponent


def constant(value: Any) -> Jet:
    """The exact number or ball `value` as a jet."""
    return Jet(ball(value), {})


def as_jet(value: Any) -> Jet:
    """`value` as a jet, even if a function of the user returned a constant."""
    return value if isinstance(value, Jet) else constant(value)


def _of_exact(function: Callable[[Any, Number], Number]) -> Callable[[Any, Number], Number]:
    """Make `function` accept exact numbers too, as in ``x.exp(1)``; balls, which are inside jets, stay balls."""

    @wraps(function)
    def called(self: Any, t: Number) -> Number:
        return function(self, t if isinstance(t, Jet | arb) else constant(t))

    return called


class Jets:
    """The context of balls and jets: what a profile may call.

    >>> x = Jets()
    >>> half = x.exp(Jet(ball(0), {0: ball(1)})) / 2
    >>> half.partials[0] == 0.5
    True
    """

    certified = True

    @property
    def pi(self) -> Jet:
        """π at the working precision."""
        return constant(arb.pi())

    def number(self, value: Any) -> Jet:
        """The exact number `value`."""
        return constant(value)

    @_of_exact
    def exp(self, t: Number) -> Number:
        """The exponential."""
        if not isinstance(t, Jet):
            return ball(t).exp()
        value = self.exp(t.value)
        return t.chain(value, value)

    @_of_exact
    def expm1(self, t: Number) -> Number:
        """``exp(t) − 1``."""
        return t.chain(self.expm1(t.value), self.exp(t.value)) if isinstance(t, Jet) else ball(t).expm1()

    @_of_exact
    def log(self, t: Number) -> Number:
        """The natural logarithm."""
        return t.chain(self.log(t.value), 1 / t.value) if isinstance(t, Jet) else ball(t).log()

    @_of_exact
    def log1p(self, t: Number) -> Number:
        """``log(1 + t)``."""
        return t.chain(self.log1p(t.value), 1 / (1 + t.value)) if isinstance(t, Jet) else ball(t).log1p()

    @_of_exact
    def sqrt(self, t: Number) -> Number:
        """The square root."""
        if not isinstance(t, Jet):
            return _power(t, Fraction(1, 2))
        return t ** Fraction(1, 2)

    @_of_exact
    def sin(self, t: Number) -> Number:
        """The sine."""
        return t.chain(self.sin(t.value), self.cos(t.value)) if isinstance(t, Jet) else ball(t).sin()

    @_of_exact
    def cos(self, t: Number) -> Number:
        """The cosine."""
        return t.chain(self.cos(t.value), -self.sin(t.value)) if isinstance(t, Jet) else ball(t).cos()

    @_of_exact
    def tanh(self, t: Number) -> Number:
        """The hyperbolic tangent."""
        if not isinstance(t, Jet):
            return ball(t).tanh()
        value = self.tanh(t.value)
        return t.chain(value, 1 - value * value)

    @_of_exact
    def atan(self, t: Number) -> Number:
        """The inverse tangent."""
        return t.chain(self.atan(t.value), 1 / (1 + t.value * t.value)) if isinstance(t, Jet) else ball(t).atan()

    @_of_exact
    def erf(self, t: Number) -> Number:
        """The error function."""
        if not isinstance(t, Jet):
            return ball(t).erf()
        return t.chain(self.erf(t.value), self.exp(-(t.value * t.value)) * (2 / arb.pi().sqrt()))

    def power(self, base: Number, exponent: float | Fraction) -> Number:
        """``base**exponent`` for base ≥ 0 and an exact exponent."""
        return (base if isinstance(base, Jet) else constant(base)) ** exponent

    def total(self, values: Sequence[Number]) -> Number:
        """The sum; 0 without any values."""
        plain = [value for value in values if not isinstance(value, Jet)]
        jets = [value for value in values if isinstance(value, Jet)]
        total = sum(map(ball, plain), arb(0))
        if not jets:
            return total if all(isinstance(value, arb) for value in plain) else constant(total)
        return Jet(sum((jet.value for jet in jets), total), merged(*(jet.partials for jet in jets)))


class Plain:
    """The context of mpmath at its working precision: the cross-check, without derivatives or proof."""

    certified = False

    @property
    def pi(self) -> Any:
        """π at the working precision."""
        return +mpmath.pi

    def number(self, value: Any) -> Any:
        """The exact number `value`, rounded to the working precision."""
        exact = Fraction(value)
        return mpmath.mpf(exact.numerator) / exact.denominator

    def power(self, base: Any, exponent: float | Fraction) -> Any:
        """``base**exponent``."""
        return base ** self.number(exponent)

    def total(self, values: Sequence[Any]) -> Any:
        """The sum."""
        return mpmath.fsum(values)

    def __getattr__(self, name: str) -> Any:
        """The function of mpmath with that name."""
        if name not in FUNCTIONS:
            msg = f"a profile may call {', '.join(FUNCTIONS)}, power, total, number and pi; got {name!r}"
            raise AttributeError(msg)
        return getattr(mpmath, name)


FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "atan", "erf")
"""The functions that both contexts offer under their usual names."""
