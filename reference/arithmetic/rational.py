"""Exact rationals: order 1 from `Fraction`, where every weight is a rational number."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Exact, Root
from kernelproof.reference.errors import DomainError


class Rational:
    """Fractions; only integer powers, no exp and no log."""

    name = "rational"
    certified = True

    def working(self, bits: int) -> AbstractContextManager[Any]:
        """Nothing to set: a Fraction is exact at any `bits`."""
        return nullcontext()

    def number(self, value: Exact | int) -> Fraction:
        """The exact value."""
        return Fraction(value)

    def power(self, base: Fraction, order: Fraction) -> Fraction:
        """``base**order`` for an integer order."""
        if order.denominator != 1:
            msg = f"a rational power needs an integer order; got {order!r}"
            raise DomainError(msg)
        return base**order.numerator

    def exp(self, value: Fraction) -> Fraction:
        """Not rational."""
        msg = f"exp({value!r}) is not rational"
        raise DomainError(msg)

    def log(self, value: Fraction) -> Fraction:
        """Not rational."""
        msg = f"log({value!r}) is not rational"
        raise DomainError(msg)

    def total(self, values: Sequence[Fraction]) -> Fraction:
        """The exact sum."""
        return sum(values, Fraction(0))

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> Root:
        """Sparsemax: key k is in the support iff ``Σ_{j<k} (d_k − d_j) < 1``, then ``γ = (1 + Σ d_j)/K``.

        Source: Martins & Astudillo, From softmax to sparsemax, ICML 2016.
        """
        if order != 1:
            msg = f"the mass equation has a rational root at order 1; got order {order!r}"
            raise DomainError(msg)
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
        return Root(len(exact), boundary, gamma, [gamma - gap for gap in exact])

    def publish(self, value: Fraction) -> Fraction:
        """The Fraction."""
        return value


RATIONAL = Rational()
