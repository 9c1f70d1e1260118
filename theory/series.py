"""Truncated power series in balls: how weights depend on a parameter, differentiated by arb without any formula.

A coefficient of a series whose base point is a ball encloses the coefficient at every point of that ball, so it
bounds the remainder of a Taylor expansion.

Source: Moore, Kearfott & Cloud, Introduction to Interval Analysis, SIAM 2009, chapter 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from flint import arb, arb_series

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
        eps: a ball in [0, ∞); 0 is allowed, where z = log p.
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
        if eps > 0:
            coefficients[0] = coefficients[0].intersection((low - 1) / eps)
        found.append(arb_series(coefficients, prec=length))
    return found


def exponents(scaled: Sequence[arb], eps: arb, length: int) -> list[Series]:
    """``log(1 − εx)/ε`` for every x ≥ 0 with εx < 1, as series at `eps` (0 is allowed, where it is −x).

    Source: it is ``−∫₀^x ds/(1 − εs)``; the k-th coefficient ``−∫ s^k/(1 − εs)^{k+1} ds`` lies between
    ``−x^{k+1}/(k + 1)`` and ``(1 − εx)^{−k−1}`` times that.
    """
    found = []
    for x in scaled:
        top = 1 / (1 - eps * x)
        coefficients = [-(x ** (k + 1)) / (k + 1) * arb(1).union(top ** (k + 1)) for k in range(length)]
        found.append(arb_series(coefficients, prec=length))
    return found


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
