"""arb: balls that provably contain the exact number, and the root of the mass equation with a certificate.

The unknown is ``v = (γ − d_k)/n`` with k the smallest key of the support, the low-anchored form:
``f(v) = Σ_{j ≤ k} (c_j + v)^n − 1`` with ``c_j = (d_k − d_j)/n ≥ 0``. Only differences of exact gaps enter it, so the
smallest weight keeps its relative precision at every order.

Certificate. For a point ``v₀ > 0`` and an interval ``V ∋ v₀`` the mean value theorem gives every root in V
as ``v₀ − f(v₀)/f′(ξ)``. Each term of f′ changes from v₀ to ξ by the factor ``((c_j + ξ)/(c_j + v₀))^(n−1)``,
and the quotient lies between 1 and ξ/v₀; hence ``f′(ξ) ∈ f′(v₀)·hull(1, (V/v₀)^(n−1))``: one pass over the
row gives an interval Newton step. If its image N lies inside V there is exactly one root, and it is in N
(f is continuous and f′ > 0). If moreover ``0 < N ≤ c`` with c the next gap beyond the anchor, the support
is decided by the same step. Where this fails, `mass_sign` decides the support exactly.

Floats only propose v₀ and k.

For n < 0 all keys have weight. There the anchor is the largest score, so that ``c_j = d_j/|n| ≥ 0`` again, v is at
least 1, and f falls: the quotient of slopes lies between 1 and the power of ξ/v₀ as before, and so the same step
certifies the root.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Exact, MassRoot
from kernelproof.reference.arithmetic.guess import LARGE, guess_root
from kernelproof.reference.mass import mass_sign


class Arb:
    """Balls of `flint.arb` at the working precision; every result is proved."""

    name = "arb"
    certified = True

    def working(self, bits: int) -> AbstractContextManager[Any]:
        """Set the precision of FLINT to `bits`."""
        return ctx.workprec(bits)

    def number(self, value: Exact | int) -> arb:
        """The value: exact for floats, ints and dyadic fractions, else a ball of the working precision."""
        if type(value) is not float and isinstance(value, Fraction):
            denominator = value.denominator
            if denominator & (denominator - 1):
                return arb(fmpq(value.numerator, denominator))
            return arb((value.numerator, 1 - denominator.bit_length()))
        return arb(value)

    def power(self, base: arb, order: Fraction) -> arb:
        """``base**order`` on the nonnegative part of the ball."""
        if order.denominator == 1:
            return base**order.numerator
        return base.nonnegative_part() ** fmpq(order.numerator, order.denominator)

    def exp(self, value: arb) -> arb:
        """The exponential."""
        return value.exp()

    def log(self, value: arb) -> arb:
        """The natural logarithm."""
        return value.log()

    def total(self, values: Sequence[arb]) -> arb:
        """The sum."""
        return sum(values, arb(0))

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """The certified root; the same certificate or the exact test decides the support.

        Raises:
            UndecidedError: the support is not decided, at an integer order too large for exact powers.
        """
        if order < 0:
            return self._heavy(gaps, guide, order)
        size, guess, shift = guess_root(guide, float(order))
        start = arb(guess) if order < LARGE else self._anchored(gaps[size - 1], shift, order)
        root = self._certify(gaps, size, start, order)
        if root is not None:
            return root
        size, boundary = exact_support(gaps, size, order)
        if boundary:
            # The threshold is the boundary gap itself: an exact number.
            edge = gaps[size]
            n = self.number(order)
            bases = [self._minus(edge, gap) / n for gap in gaps[:size]]
            return MassRoot(size, boundary, self.number(edge), bases)
        root = self._certify(gaps, size, self._bisect(gaps, size, order), order)
        if root is None:
            return self._narrow(gaps, size, order)
        return root

    def _heavy(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """The root for a negative order, whose support needs no decision."""
        size, guess, shift = guess_root(guide, float(order))
        start = arb(guess) if -order < LARGE else self._anchored(gaps[0], shift, order)
        root = self._certify(gaps, size, start, order)
        if root is None:
            offsets = self._offsets(gaps, size, order)
            # Newton's method increases to the root of a convex function that falls.
            high = arb(size) ** (-1 / self.number(order)) * (1 + arb((1, 16 - ctx.prec)))
            low, high = self._halve(offsets, arb(1), high.upper(), order, 64)
            root = self._certify(gaps, size, low, order)
        if root is None:
            low, high = self._halve(offsets, low, high, order, ctx.prec)
            v = low.union(high)
            gamma = self.number(gaps[0]) + v * self.number(order)
            root = MassRoot(size, 0, gamma, [offset + v for offset in offsets])
        return root

    def _anchored(self, anchor: Exact, shift: float, order: Fraction) -> arb:
        """``v = (n − λ − d_k)/n``, in exact numbers, because at large n nothing else keeps the digits of λ."""
        v = ((self.number(order) - shift - self.number(anchor)) / self.number(order)).mid()
        return v if v > 0 else arb(1e-18)

    def _minus(self, a: Exact, b: Exact) -> arb:
        """``a − b`` with one rounding: the operands are exact, so nothing cancels."""
        return self.number(a) - self.number(b)

    def _offsets(self, gaps: Sequence[Exact], size: int, order: Fraction) -> list[arb]:
        anchor, n = gaps[size - 1 if order > 0 else 0], self.number(order)
        return [self._minus(anchor, gap) / n for gap in gaps[:size]]

    def _evaluate(self, offsets: Sequence[arb], v: arb, order: Fraction) -> tuple[arb, arb]:
        """(f(v), f′(v)) over the support."""
        below = order - 1
        exponent = below.numerator if below.denominator == 1 else fmpq(below.numerator, below.denominator)
        mass, slope = arb(-1), arb(0)
        for offset in offsets:
            u = offset + v
            w = u**exponent
            slope += w
            mass += w * u
        return mass, slope * self.number(order)

    def _certify(self, gaps: Sequence[Exact], size: int, start: arb, order: Fraction) -> MassRoot | None:
        """The root anchored at the last of `size` keys by interval Newton from `start`; None if not proved."""
        offsets = self._offsets(gaps, size, order)
        below = self.number(order) - 1
        v = start
        goal = ctx.prec - 24
        best: arb | None = None
        for _ in range(40):
            if v.lower() <= 0:
                break
            mass, slope = self._evaluate(offsets, v, order)
            step = abs(mass / slope).upper() * 4 + v * arb((1, 4 - ctx.prec))
            box = v + arb(0, step)
            if box.lower() > 0:
                image = v - mass / (slope * arb(1).union((box / v) ** below))
                if image.is_finite() and box.contains_interior(image):
                    best = image
                    if image.rel_accuracy_bits() >= goal:
                        break
            # Newton's point: at large orders the image is wide, and its middle far from the root.
            v = (v - mass / slope).mid()
        if best is None:
            return None
        n = self.number(order)
        proved = best > 0
        if size < len(gaps):
            proved = proved and best < self._minus(gaps[size], gaps[size - 1]) / n
        if proved:
            gamma = self.number(gaps[size - 1 if order > 0 else 0]) + best * n
            return MassRoot(size, 0, gamma, [offset + best for offset in offsets])
        return None

    def _bisect(self, gaps: Sequence[Exact], size: int, order: Fraction) -> arb:
        """A starting point for a known support, by bisection of the exponent, then of the number."""
        offsets = self._offsets(gaps, size, order)
        low, high = _lowest_exponent(order), 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._evaluate(offsets, arb((1, middle)), order)[0] > 0:
                high = middle
            else:
                low = middle
        left, right = self._halve(offsets, arb((1, low)), arb((1, high)), order, 32 + 2 * order.numerator.bit_length())
        # Newton's method decreases to the root of a convex function, and increases to that of a concave one.
        return right if order >= 1 else left

    def _halve(self, offsets: Sequence[arb], left: arb, right: arb, order: Fraction, steps: int) -> tuple[arb, arb]:
        """Bisect by proved signs; stop where the working precision leaves one undecided."""
        for _ in range(steps):
            centre = ((left + right) / 2).mid()
            mass = self._evaluate(offsets, centre, order)[0] * (1 if order > 0 else -1)
            if mass > 0:
                right = centre
            elif mass < 0:
                left = centre
            else:
                break
        return left, right

    def _narrow(self, gaps: Sequence[Exact], size: int, order: Fraction) -> MassRoot:
        """An enclosure of the root, however wide, from proved signs alone; for a root too close to 0."""
        offsets = self._offsets(gaps, size, order)
        low, high = arb(0), arb(2)
        exponent = 0
        while exponent > _lowest_exponent(order):
            v = arb((1, exponent))
            mass = self._evaluate(offsets, v, order)[0]
            if mass > 0:
                high = v
            elif mass < 0:
                low = v
                break
            else:
                break
            exponent -= 8
        if low > 0:
            low, high = self._halve(offsets, low, high, order, ctx.prec)
        v = low.union(high)
        n = self.number(order)
        return MassRoot(size, 0, self.number(gaps[size - 1]) + v * n, [offset + v for offset in offsets])

    def publish(self, value: arb) -> arb:
        """The ball."""
        return value


def _lowest_exponent(order: Fraction) -> int:
    """The smallest exponent of v that is tried: below it v^n is less than 2^(−2·precision)."""
    return -2 * math.ceil(ctx.prec / min(order, Fraction(1))) - 4096


def exact_support(gaps: Sequence[Exact], near: int, order: Fraction) -> tuple[int, int]:
    """(keys of the support, keys exactly at the threshold) of the sorted gaps, by the exact test.

    Key i is in the support iff ``Σ_{d_j < d_i} ((d_i − d_j)/n)^n < 1``; the test is monotone in i.

    Args:
        gaps: exact, ascending, the first 0.
        near: where to look first; the result does not depend on it.
        order: n > 0.
    """
    exact = [Fraction(gap) for gap in gaps]
    starts = [0] + [i + 1 for i, (a, b) in enumerate(pairwise(exact)) if b > a]

    def sign(group: int) -> int:
        edge = exact[starts[group]]
        if edge >= order:
            # The nearest key alone has ((γ − 0)/n)^n ≥ 1 there.
            return 0 if edge == order and starts[group] == 1 else 1
        return mass_sign([(edge - gap) / order for gap in exact[: starts[group]]], order)

    low = 0
    high = len(starts)
    probe = max(1, sum(1 for start in starts if start < near) - 1)
    boundary: int | None = None
    while high - low > 1:
        probe = min(max(probe, low + 1), high - 1)
        found = sign(probe)
        if found < 0:
            low = probe
        else:
            high = probe
            if found == 0:
                boundary = probe
                break
        probe = probe + 1 if found < 0 and probe + 1 < high and probe < near else (low + high) // 2
    if boundary is not None:
        end = starts[boundary + 1] if boundary + 1 < len(starts) else len(exact)
        return starts[boundary], end - starts[boundary]
    return (starts[high] if high < len(starts) else len(exact)), 0


ARB = Arb()
