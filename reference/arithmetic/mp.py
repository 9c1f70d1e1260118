"""mpmath: the cross-check, which finds the threshold by bisection from its definition and uses nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Exact, MassRoot

GUARD = 24
"""Bits of its precision by which a published mpmath value is not trusted, because its error is not proved."""


class Mpmath:
    """mpmath numbers at the working precision; not certified."""

    name = "mpmath"
    certified = False

    def working(self, bits: int) -> AbstractContextManager[Any]:
        """Set the precision of mpmath to `bits` plus guard bits."""
        return mpmath.workprec(bits + GUARD)  # type: ignore[no-any-return]  # mpmath has no types

    def number(self, value: Exact | int) -> Any:
        """The value, rounded to the working precision."""
        if isinstance(value, Fraction):
            return mpmath.mpf(value.numerator) / value.denominator
        return mpmath.mpf(value)

    def power(self, base: Any, order: Fraction) -> Any:
        """``base**order``."""
        return base ** self.number(order) if base else (mpmath.mpf(0) if order else mpmath.mpf(1))

    def exp(self, value: Any) -> Any:
        """The exponential."""
        return mpmath.exp(value)

    def log(self, value: Any) -> Any:
        """The natural logarithm."""
        return mpmath.log(value)

    def total(self, values: Sequence[Any]) -> Any:
        """The sum."""
        return mpmath.fsum(values)

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """τ by bisection of ``Σ [z_j/n − τ]₊^n = 1`` on ``[max z/n − 1, max z/n]``, with z = −d.

        Below order 1 the bracket shrinks to 2^(−bits/n), since a weight is the n-th power of the remainder. For n < 0
        the mass falls where its base ``z/n − τ`` grows, which is between 1 and m^(−1/n) at the largest z.
        """
        if order < 0:
            return self._heavy(gaps, order)
        bits = int(mpmath.mp.prec / min(order, 1)) + GUARD
        with mpmath.workprec(bits):
            exponent = self.number(order)
            scaled = [-self.number(gap) / exponent for gap in gaps]
            low, high = mpmath.mpf(-1), mpmath.mpf(0)
            for _ in range(bits):
                middle = (low + high) / 2
                mass = mpmath.fsum((z - middle) ** exponent for z in scaled if z > middle)
                low, high = (middle, high) if mass >= 1 else (low, middle)
            threshold = (low + high) / 2
            bases = [z - threshold for z in scaled if z > threshold]
            gamma = -threshold * exponent
        return MassRoot(len(bases), 0, gamma, bases)

    def _heavy(self, gaps: Sequence[Exact], order: Fraction) -> MassRoot:
        bits = mpmath.mp.prec + GUARD
        with mpmath.workprec(bits):
            exponent, most = self.number(order), mpmath.log(len(gaps)) / self.number(-order)
            scaled = [-self.number(gap) / exponent for gap in gaps]
            low, high = mpmath.mpf(1), mpmath.exp(most) * (1 + mpmath.mpf(2) ** (8 - bits))
            for _ in range(bits + int(most) * 2):
                middle = (low + high) / 2
                mass = mpmath.fsum((z + middle) ** exponent for z in scaled)
                low, high = (low, middle) if mass <= 1 else (middle, high)
            threshold = -(low + high) / 2
            bases = [z - threshold for z in scaled]
            gamma = -threshold * exponent
        return MassRoot(len(bases), 0, gamma, bases)

    def publish(self, value: Any) -> arb:
        """A ball of relative radius 2^(GUARD − precision) around the value, in place of a proof."""
        bits = mpmath.mp.prec
        with ctx.workprec(bits + GUARD):
            sign, mantissa, exponent, _ = value._mpf_
            if not mantissa:
                return arb(0) if value == 0 else arb("nan")
            middle = arb((-int(mantissa) if sign else int(mantissa), int(exponent)))
            return middle * arb(1, arb(2) ** (GUARD - bits))


MPMATH = Mpmath()
