"""Truncated power series in balls: how weights depend on a parameter, differentiated by arb without any formula.

A coefficient of a series whose base point is a ball encloses the coefficient at every point of that ball, so it
bounds the remainder of a Taylor expansion.

Source: Moore, Kearfott & Cloud, Introduction to Interval Analysis, SIAM 2009, chapter 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from flint import arb, arb_series

from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.evidence.certified import rational

Series = Any
"""`flint.arb_series`, or a number that adds and multiplies with one."""


def ball(value: Any) -> arb:
    """`value`, a ball, Fraction, int or float, as a ball of the working precision."""
    return rational(value) if isinstance(value, Fraction) else arb(value)


def balls(values: Any) -> list[arb]:
    """The numbers of an object array or sequence, as balls."""
    return [ball(value) for value in values]


def constant(value: Any, length: int) -> Series:
    """The series `value`, to `length` coefficients."""
    return arb_series([ball(value)], prec=length)


def variable(value: Any, length: int) -> Series:
    """The series ``value + x``, to `length` coefficients."""
    return arb_series([ball(value), arb(1)], prec=length)


def logits_of(weights: Sequence[arb], eps: arb, length: int) -> list[Series]:
    """Logits ``z_i(ε) = (p_i^ε − 1)/ε``, whose entmax of order 1/ε is `weights` at threshold λ = 0, as series at `eps`.

    Args:
        weights: positive balls.
        eps: a ball; 0 is allowed, where z = log p.
        length: how many coefficients.

    Source: ``z = a∫₀¹ e^{sεa} ds`` with a = log p ≤ 0, so the k-th coefficient is ``a^{k+1}/k!·∫ s^k e^{sεa} ds`` and
    the integral lies between ``e^{εa}/(k + 1)`` and ``1/(k + 1)``.
    """
    found = []
    for weight in weights:
        a = weight.log()
        low = (eps * a).exp()
        coefficients, factorial = [], 1
        for k in range(length):
            factorial *= max(k, 1)
            coefficients.append(a ** (k + 1) / ((k + 1) * factorial) * low.union(arb(1)))
        # The first coefficient is known more precisely if ε is away from 0.
        if eps > 0 or eps < 0:
            coefficients[0] = coefficients[0].intersection((low - 1) / eps)
        found.append(arb_series(coefficients, prec=length))
    return found


def mean_reciprocal(w: Series, power: int = 0) -> Series:
    """``∫₀¹ s^power/(1 − ws) ds`` for a series w below 1; for power 0 it is ``−log(1 − w)/w``, also at w = 0.

    Raises:
        UndecidedError: w is not proved to be below 1.

    Source: its k-th derivative over k! is ``∫ s^(k + power)/(1 − ws)^(k + 1) ds``, which lies between
    ``1/(k + power + 1)`` and ``(1 − w)^(−k − 1)`` times that, because the denominator is monotone in s.
    """
    length, start = w.prec, w[0]
    below = bool(start < 1)
    if not below:
        msg = f"1 - w must be positive in every factor 1/(1 - ws); got w = {start.str(5)}"
        raise UndecidedError(msg)
    top = 1 / (1 - start)
    moved = arb_series([arb(0), *(w[k] for k in range(1, length))], prec=length)
    found = constant(0, length)
    for k in reversed(range(length)):
        found = found * moved + arb(1).union(top ** (k + 1)) / (k + power + 1)
    return found


def exponent(x: Series, eps: Series) -> Series:
    """``log(1 − εx)/ε``, which is −x where ε = 0, for series with εx < 1.

    Raises:
        UndecidedError: εx is not proved to be below 1.
    """
    return -x * mean_reciprocal(eps * x)


def exponents(scaled: Sequence[arb], eps: arb, length: int) -> list[Series]:
    """``log(1 − εx)/ε`` for every x ≥ 0 with εx < 1, as series at `eps` (0 is allowed, where it is −x)."""
    return [exponent(constant(x, length), variable(eps, length)) for x in scaled]


Equation = Callable[[Series, Series], Series]
"""(ε, y) -> a series that is 0 where y solves the equation, and decreasing in y."""


def implicit(function: Equation, start: arb, eps: arb, length: int) -> Series:
    """The root y(ε) of ``function(ε, y) = 0`` as a series at `eps`.

    Args:
        function: decreasing in y.
        start: the root at ε = 0.
        eps: a ball that contains 0.
        length: how many coefficients.

    Raises:
        UndecidedError: no ball around `start` is proved to contain the root, or the slope of the function in y is not
            proved to be below 0.

    Source: the implicit function theorem, one coefficient at a time: each enters the series linearly.
    """
    root = _root_around(function, start, eps)
    slope = function(constant(eps, 2), variable(root, 2))[1]
    decreasing = bool(slope < 0)
    if not decreasing:
        msg = f"the slope in the unknown must be proved negative; got {slope.str(5)}"
        raise UndecidedError(msg)
    found = [root]
    for k in range(1, length):
        value = function(variable(eps, k + 1), arb_series([*found, arb(0)], prec=k + 1))
        found.append(-value[k] / slope)
    return arb_series(found, prec=length)


def _root_around(function: Equation, start: arb, eps: arb) -> arb:
    """A ball that contains the root for every ε of `eps`: the function is proved positive below it and negative above.

    Raises:
        UndecidedError: not even 2^40 times the width of `eps` suffices.
    """
    if eps.is_zero():
        return start

    def end(way: int) -> arb:
        for k in range(-10, 41):
            found = start + way * abs(eps).upper() * arb((1, k))
            found = found.lower() if way < 0 else found.upper()
            if -way * function(constant(eps, 1), constant(found, 1))[0] > 0:
                return found
        msg = f"no root is enclosed near {start.str(10)}"
        raise UndecidedError(msg)

    return arb(end(-1).union(end(1)))


def toward_limit(exponents: Sequence[int]) -> list[tuple[str, int]]:
    """The orders 2^k for the exponents, and −2^k for two of them, with their names.

    >>> toward_limit((1, 2, 3, 4))
    [('2^1', 2), ('2^2', 4), ('2^3', 8), ('2^4', 16), ('−2^2', -4), ('−2^4', -16)]
    """
    above = [(f"2^{k}", 2**k) for k in exponents]
    return above + [(f"−{name}", -order) for name, order in (above[len(above) // 2 - 1], above[-1])]


def softmax(logits: Sequence[Series]) -> list[Series]:
    """``exp z_i / Σ exp z_j``, of series or balls."""
    terms = [z.exp() for z in logits]
    total = sum(terms[1:], terms[0])
    return [term / total for term in terms]


def entmax(logits: Sequence[Series], order: Series, tau: arb) -> list[Series]:
    """The weights ``(z_i/n − τ)^n``, which sum to 1, of a row with full support, to first order.

    Args:
        logits: series of length 2.
        order: n, a series of length 2.
        tau: the threshold where x = 0, a ball.

    Source: the implicit function theorem: ``τ′ = −∂_x Σp / ∂_τ Σp``.
    """
    level = constant(tau, 2)
    base = [z / order - level for z in logits]
    terms = [(order * u.log()).exp() for u in base]
    total = sum(terms[1:], terms[0])
    fall = -order[0] * sum(term[0] / u[0] for term, u in zip(terms, base, strict=True))
    moved = arb_series([arb(tau), -total[1] / fall], prec=2)
    return [(order * (z / order - moved).log()).exp() for z in logits]


def compact(gaps: Sequence[Series], order: Series) -> list[Series]:
    """``(1 − t_i)^n`` divided by their sum, for series whose first coefficient is below 1."""
    terms = [(order * (1 - t).log()).exp() for t in gaps]
    total = sum(terms[1:], terms[0])
    return [term / total for term in terms]


def spread(size: arb) -> arb:
    """The ball of radius |size| around 0: a remainder of which only the size is known."""
    top = abs(size).upper()
    return (-top).union(top)


def digits(value: arb, count: int = 20) -> str:
    """At most `count` digits of a ball, and only those that are known, the last within one unit."""
    return str(value.str(count, radius=False))
