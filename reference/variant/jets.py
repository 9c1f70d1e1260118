"""Numbers for profiles written once: arb balls with derivatives carried along, and mpmath for the second opinion.

A profile is a function ``K(x, t)`` of an arithmetic context `x` and a number `t`. With `Jets` as the context the
numbers are truncated Taylor series in several variables (forward-mode automatic differentiation): a value and its
partial derivatives, each an arb ball or again a `Jet`, so that nesting gives higher derivatives. Every rule below is
the chain rule, evaluated in ball arithmetic, so that derivatives are enclosed as values are.

Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM, 2008, chapter 3; F. Johansson, Arb, 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
from flint import arb, fmpq

Number = Any
"""A ball or a `Jet`."""


def ball(value: Any) -> arb:
    """The exact number `value` (int, float, Fraction) as a ball at the working precision; balls pass.

    >>> ball(Fraction(1, 2)) == 0.5
    True
    """
    if isinstance(value, Fraction):
        return arb(fmpq(value.numerator, value.denominator))
    return value if isinstance(value, arb) else arb(value)


@dataclass(frozen=True)
class Jet:
    """A value and its partial derivatives.

    Attributes:
        value: a ball, or a `Jet` of other variables.
        partials: number of a variable -> the derivative, of the same kind as `value`; 0 where there is none.
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

    def __pow__(self, exponent: int | Fraction) -> Jet:
        if exponent == 0:
            return Jet(self.value * 0 + 1, {})
        return self.chain(_power(self.value, exponent), _power(self.value, exponent - 1) * ball(Fraction(exponent)))

    __radd__ = __add__
    __rmul__ = __mul__


def merged(*parts: Mapping[int, Number]) -> dict[int, Number]:
    """The sums of partial derivatives."""
    out = dict(parts[0])
    for each in parts[1:]:
        for at, part in each.items():
            out[at] = out[at] + part if at in out else part
    return out


def _power(base: Number, exponent: int | Fraction) -> Number:
    if isinstance(base, Jet):
        return base ** (int(exponent) if Fraction(exponent).denominator == 1 else Fraction(exponent))
    exact = Fraction(exponent)
    return base ** (int(exact) if exact.denominator == 1 else fmpq(exact.numerator, exact.denominator))


class Jets:
    """The context of balls and jets: what a profile may call.

    >>> x = Jets()
    >>> half = x.exp(Jet(ball(0), {0: ball(1)})) / 2
    >>> half.partials[0] == 0.5
    True
    """

    certified = True

    @property
    def pi(self) -> arb:
        """π at the working precision."""
        return arb.pi()

    def number(self, value: Any) -> arb:
        """The exact number `value`."""
        return ball(value)

    def exp(self, t: Number) -> Number:
        """The exponential."""
        if not isinstance(t, Jet):
            return ball(t).exp()
        value = self.exp(t.value)
        return t.chain(value, value)

    def expm1(self, t: Number) -> Number:
        """``exp(t) − 1``."""
        return t.chain(self.expm1(t.value), self.exp(t.value)) if isinstance(t, Jet) else ball(t).expm1()

    def log(self, t: Number) -> Number:
        """The natural logarithm."""
        return t.chain(self.log(t.value), 1 / t.value) if isinstance(t, Jet) else ball(t).log()

    def log1p(self, t: Number) -> Number:
        """``log(1 + t)``."""
        return t.chain(self.log1p(t.value), 1 / (1 + t.value)) if isinstance(t, Jet) else ball(t).log1p()

    def sqrt(self, t: Number) -> Number:
        """The square root."""
        if not isinstance(t, Jet):
            return ball(t).sqrt()
        root = self.sqrt(t.value)
        return t.chain(root, 1 / (2 * root))

    def sin(self, t: Number) -> Number:
        """The sine."""
        return t.chain(self.sin(t.value), self.cos(t.value)) if isinstance(t, Jet) else ball(t).sin()

    def cos(self, t: Number) -> Number:
        """The cosine."""
        return t.chain(self.cos(t.value), -self.sin(t.value)) if isinstance(t, Jet) else ball(t).cos()

    def tanh(self, t: Number) -> Number:
        """The hyperbolic tangent."""
        if not isinstance(t, Jet):
            return ball(t).tanh()
        value = self.tanh(t.value)
        return t.chain(value, 1 - value * value)

    def atan(self, t: Number) -> Number:
        """The inverse tangent."""
        return t.chain(self.atan(t.value), 1 / (1 + t.value * t.value)) if isinstance(t, Jet) else ball(t).atan()

    def erf(self, t: Number) -> Number:
        """The error function."""
        if not isinstance(t, Jet):
            return ball(t).erf()
        return t.chain(self.erf(t.value), self.exp(-(t.value * t.value)) * (2 / self.sqrt(self.pi)))

    def power(self, base: Number, exponent: float | Fraction) -> Number:
        """``base**exponent`` for base ≥ 0 and an exact exponent."""
        return _power(base, Fraction(exponent))

    def total(self, values: Sequence[Number]) -> Number:
        """The sum, 0 for none."""
        plain = [value for value in values if not isinstance(value, Jet)]
        jets = [value for value in values if isinstance(value, Jet)]
        total = sum(map(ball, plain), arb(0))
        if not jets:
            return total
        return Jet(sum((jet.value for jet in jets), total), merged(*(jet.partials for jet in jets)))


class Plain:
    """The context of mpmath at its working precision: the second opinion, without derivatives or proof."""

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
        """mpmath's function of that name."""
        if name not in FUNCTIONS:
            msg = f"a profile may call {', '.join(FUNCTIONS)}, power, total, number and pi; got {name!r}"
            raise AttributeError(msg)
        return getattr(mpmath, name)


FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "atan", "erf")
"""What both contexts offer under the names of the field."""
