"""Certificates of the mass equation, and a checker that shares no code with the solver.

A certificate is plain data: the order, the exact gaps and two numbers. The checker evaluates only the definition,
``f(γ) = Σ [(γ − d_j)/n]₊^n``, in the interval arithmetic of mpmath: if ``f(low) < 1 < f(high)``, the root lies in
between (f is increasing), gaps up to `low` are in the support, and gaps from `high` on are not.

Source: docs/theory.md §1 and §2.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from flint import arb, ctx

from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.reference.model import Adaptive, check_mechanism, resolve_kernel
from kernelproof.reference.rows import float_array, float_row
from kernelproof.reference.solver import Solver, checked_precision, choose


@dataclass(frozen=True)
class Certificate:
    """A claim about one row of entmax.

    Attributes:
        order: n, as a fraction.
        gaps: exact gaps, ascending from 0, as fractions; keys with a gap of n or more, which have no weight, are left
            out.
        low: a fraction below γ, the root of the mass equation in logits.
        high: a fraction above γ.
        support: how many of the gaps are in the support.
    """

    order: str
    gaps: tuple[str, ...]
    low: str
    high: str
    support: int

    @property
    def json(self) -> str:
        """The certificate as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Certificate:
        """The certificate with this `json`."""
        fields = json.loads(text)
        return cls(**{**fields, "gaps": tuple(fields["gaps"])})


def certificate(z: Any, order: Any = None, *, alpha: Any = None, precision: int = 96) -> Certificate:
    """A certificate for one row of logits at a finite order.

    Args:
        z: (m,) logits.
        order: n in (0, ∞).
        alpha: ``1 + 1/n`` instead.
        precision: bits of the enclosure of γ, from 2 to 2**20.

    Raises:
        DomainError: not one row, an empty one, or order ∞ (softmax has no threshold).
        UndecidedError: a key lies exactly at the threshold; no bracket separates it, but `mass_sign` decides it.

    >>> claim = certificate([0.0, 1.5, 1.25], order=2)
    >>> claim.support, recheck(claim)
    (3, True)
    """
    mechanism = check_mechanism(resolve_kernel(order, alpha), Adaptive(1))
    precision = checked_precision(precision)
    exact = mechanism.kernel.order
    array = float_array(z, "z", finite=True, minus_infinity=True)
    if array.ndim != 1 or not isinstance(exact, Fraction) or not (array > -np.inf).any():
        msg = f"a certificate is of one row with a key, at a finite order; got shape {array.shape}, order {exact}"
        raise DomainError(msg)
    row = float_row(array)
    solver = Solver(mechanism, choose("arb", mechanism))
    truth = solver.solve(row, precision)
    if len(truth.boundary):
        msg = f"{len(truth.boundary)} keys lie exactly at the threshold: no bracket separates them"
        raise UndecidedError(msg)
    with ctx.workprec(precision + 64):
        gamma = solver.arithmetic.publish(truth.gamma)
        ends = (gamma, gamma) if isinstance(gamma, Fraction) else (_fraction(gamma.lower()), _fraction(gamma.upper()))
    # Strictly around γ, which may be known exactly.
    slack = ends[1] / 2**precision
    low, high = ends[0] - slack, ends[1] + slack
    gaps = row.gaps(row.within(exact))
    return Certificate(str(exact), tuple(str(Fraction(gap)) for gap in gaps), str(low), str(high), len(truth.keys))


def _fraction(value: arb) -> Fraction:
    mantissa, exponent = value.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def recheck(claim: Certificate, precision: int = 256) -> bool:
    """Whether interval arithmetic proves the certificate, from the definition alone.

    Args:
        claim: the certificate.
        precision: bits of the intervals.
    """
    order, low, high = Fraction(claim.order), Fraction(claim.low), Fraction(claim.high)
    gaps = [Fraction(gap) for gap in claim.gaps]
    if gaps != sorted(gaps) or not gaps or gaps[0] != 0 or low <= 0 or high <= low:
        return False
    if claim.support not in range(1, len(gaps) + 1):
        return False
    inside, outside = gaps[: claim.support], gaps[claim.support :]
    if not inside or max(inside) >= low or (outside and min(outside) < high):
        return False
    before = mpmath.iv.prec
    try:
        mpmath.iv.prec = precision
        return bool(_mass(gaps, low, order).b < 1) and bool(_mass(gaps, high, order).a > 1)
    finally:
        mpmath.iv.prec = before


def _mass(gaps: list[Fraction], gamma: Fraction, order: Fraction) -> Any:
    """An interval that contains ``Σ [(γ − d_j)/n]₊^n``."""
    exponent = _interval(order)
    total = mpmath.iv.mpf(0)
    for gap in gaps:
        if gap < gamma:
            total += mpmath.iv.exp(exponent * mpmath.iv.log(_interval((gamma - gap) / order)))
    return total


def _interval(value: Fraction) -> Any:
    return mpmath.iv.mpf(value.numerator) / mpmath.iv.mpf(value.denominator)
