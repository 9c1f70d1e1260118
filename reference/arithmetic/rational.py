"""Exact rationals: every number is a `Fraction`, or `IRRATIONAL` if it is irrational or too large to write down.

Order 1 is rational throughout. So is every integer order under `Fixed` and `Anchored`, and under `Adaptive` where the
root of the mass equation is rational: comparing Fractions then decides a midpoint of a format.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
from flint import ctx
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Exact, MassRoot
from kernelproof.reference.arithmetic.arb import ARB
from kernelproof.reference.mass import EXACT_BITS, exact_power, integer_powers_agree

POWER_BITS = 1 << 16
"""Bits of the largest power written down: a gcd of two such numbers takes about 5 ms, and a row takes one per key.

A gap between float64 numbers of similar size has about 60 bits, so that order 1000 fits; across the range of float64,
order 30.
"""


class Irrational:
    """A number not known as a Fraction; neither is any result computed from it, except ``0·x = 0``."""

    def _lost(self, *_: Any) -> Irrational:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __truediv__ = __neg__ = _lost

    def __mul__(self, other: Any) -> Any:
        return Fraction(0) if other == 0 else self

    __rmul__ = __rtruediv__ = __mul__


IRRATIONAL = Irrational()


class Rational:
    """Fractions, and IRRATIONAL wherever there is none."""

    name = "rational"
    certified = True

    def working(self, bits: int) -> AbstractContextManager[Any]:
        """Nothing to set: a Fraction is exact at any `bits`."""
        return nullcontext()

    def number(self, value: Exact | int) -> Fraction:
        """The exact value."""
        return Fraction(value)

    def power(self, base: Any, order: Fraction) -> Any:
        """``base**order`` if it is rational and has at most `POWER_BITS` bits."""
        if base is IRRATIONAL:
            return IRRATIONAL
        if max(base.numerator.bit_length(), base.denominator.bit_length()) * order > POWER_BITS and base not in {0, 1}:
            return IRRATIONAL
        power = exact_power(base, order)
        return IRRATIONAL if power is None else power

    def exp(self, value: Any) -> Any:
        """Rational only at 0 (Lindemann)."""
        return Fraction(1) if value == 0 else IRRATIONAL

    def log(self, value: Any) -> Any:
        """Rational only at 1 (Lindemann)."""
        return Fraction(0) if value == 1 else IRRATIONAL

    def total(self, values: Sequence[Any]) -> Any:
        """The exact sum."""
        return sum(values, Fraction(0))

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """The root of the mass equation, in Fractions if it is rational and the order is an integer."""
        if order < 0:
            # The weights of ties are known without their base, and of no other row are they rational in practice.
            return MassRoot(len(gaps), 0, IRRATIONAL, [IRRATIONAL] * len(gaps))
        return _sparsemax(gaps) if order == 1 else _integer_root(gaps, guide, order)

    def publish(self, value: Any) -> Any:
        """The Fraction, or IRRATIONAL."""
        return value


def _sparsemax(gaps: Sequence[Exact]) -> MassRoot:
    """Key k is in the support iff ``Σ_{j<k} (d_k − d_j) < 1``, then ``γ = (1 + Σ d_j)/K``.

    Source: Martins & Astudillo, From softmax to sparsemax, ICML 2016.
    """
    exact: list[Fraction] = []
    summed = Fraction(0)
    boundary = 0
    for value in gaps:
        gap = Fraction(value)
        excess = len(exact) * gap - summed - 1
        if excess < 0:
            exact.append(gap)
            summed += gap
        elif excess == 0:
            boundary += 1
        else:
            break
    gamma = (1 + summed) / len(exact)
    return MassRoot(len(exact), boundary, gamma, [gamma - gap for gap in exact])


def _integer_root(gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
    """The rational root of ``Σ (c_j + v)^n = 1`` with ``c_j = C_j/D``, if there is one.

    ``x = D·v`` solves ``Σ_j (C_j + x)^n = D^n``, a polynomial with integer coefficients and leading coefficient K,
    the size of the support; so K·x is an integer if it is rational. A ball tells which integer, and integer arithmetic
    checks it.
    """
    unit = math.lcm(*((Fraction(gap) / order).denominator for gap in gaps)) * len(gaps)
    # The ball of K·x must be narrower than 1, after the bits that a power of order n loses.
    with ctx.workprec(unit.bit_length() + order.numerator.bit_length() + 64):
        found = ARB.adaptive(gaps, guide, order)
        anchor = Fraction(gaps[found.size - 1])
        offsets = [(anchor - Fraction(gap)) / order for gap in gaps[: found.size]]
        scale = math.lcm(*(offset.denominator for offset in offsets)) * found.size
        candidate = (found.bases[-1] * scale).unique_fmpz() if order.denominator == 1 else None
    lost = MassRoot(found.size, found.boundary, IRRATIONAL, [IRRATIONAL] * found.size)
    if candidate is None:
        return lost
    v = Fraction(int(candidate), scale)
    bases = Counter(int((offset + v) * scale) for offset in offsets)
    if not integer_powers_agree(bases, scale, order.numerator, EXACT_BITS):
        return lost
    return MassRoot(found.size, found.boundary, anchor + order * v, [offset + v for offset in offsets])


RATIONAL = Rational()
