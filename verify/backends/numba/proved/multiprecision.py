"""Weights whose rounding float64 cannot prove: compared with a midpoint in as many bits as needed, or exactly.

For any n, with ζ = M^(1/n), ``p_i > M`` iff ``Σ [ζ + (z_j − z_i)/n]₊ⁿ < 1``, and at order ∞ iff
``Σ exp(z_j − z_i) < 1/M``: one evaluation at a midpoint M decides on which side of it a weight is. Every operation of
MPFR is correctly rounded, so each bound counts its roundings. At an integer order a weight may be a midpoint. With
``M = B^g`` for the largest g that divides n, ``x^(n/g) − B`` is the minimal polynomial of ζ, and the sum at ζ is 1 iff
``Σ (x + c_j)ⁿ − 1`` leaves the remainder 0 when divided by it.

Source: A. Ziv, ACM TOMS 17(3), 1991; L. Fousse et al., "MPFR", ACM TOMS 33(2), 2007; S. Lang, Algebra, VI §9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpfr

from kernelproof.reference.errors import UndecidedError
from kernelproof.verify.backends._arrays.core import Array
from kernelproof.verify.backends.numba.proved.rows import ALL

BITS, MOST = 160, 10240
LEAST = Fraction(1, 2**150)  # the midpoint of 0 and the smallest float32


@dataclass(frozen=True)
class MultiprecisionRow:
    """A row of finite float32 scores at an exact order, and evaluations of it.

    Attributes:
        scores: (m,) Python floats.
        order: n, or inf.
    """

    scores: list[float]
    order: Any

    def powers(self, base: Any, error: Any) -> tuple[Any, Any]:
        """Bounds of ``[base ± error]₊ⁿ``."""
        n, unit = self.order, gmpy2.exp2(-gmpy2.get_context().precision)
        ends = []
        for side in (-1, 1):
            # The sum itself is rounded: 4 units in its last place.
            u = base + side * error
            u += side * abs(u) * 4 * unit
            if u <= 0:
                ends.append(mpfr(0))
                continue
            exponent = gmpy2.log(u) * n.numerator / n.denominator
            ends.append(gmpy2.exp(exponent) * (1 + side * (4 * abs(exponent) + 8) * unit))
        return ends[0], ends[1]

    def mass(self, at: float, base: Any, error: Any) -> tuple[Any, Any]:
        """Bounds of ``Σ [base + (z_j − at)/n]₊ⁿ`` for a base known to within `error`."""
        n, unit = self.order, gmpy2.exp2(-gmpy2.get_context().precision)
        low, high = mpfr(0), mpfr(0)
        for score in self.scores:
            moved = (mpfr(score) - mpfr(at)) * n.denominator / n.numerator
            less, more = self.powers(base + moved, error + (abs(base) + abs(moved)) * 8 * unit)
            low, high = low + less, high + more
        slack = len(self.scores) * 2 * unit
        return low * (1 - slack), high * (1 + slack)

    def excess(self, at: float, middle: Fraction, bits: int) -> int:
        """The sign of the weight of a key with score `at` minus `middle`; 0 if `bits` bits do not decide it."""
        with gmpy2.context(gmpy2.get_context(), precision=bits):
            unit = gmpy2.exp2(-bits)
            if self.order == math.inf:
                total = gmpy2.fsum([gmpy2.exp(mpfr(score) - mpfr(at)) for score in self.scores])
                widest = max(abs(score - at) for score in self.scores)
                slack = (2 * widest + 16) * unit
                low, high, one = total * (1 - slack), total * (1 + slack), mpfr(1 / middle)
                return int(high < one * (1 - 2 * unit)) - int(low > one * (1 + 2 * unit))
            log = gmpy2.log(mpfr(middle)) * self.order.denominator / self.order.numerator
            base = gmpy2.exp(log)
            low, high = self.mass(at, base, base * (4 * abs(log) + 8) * unit)
            return int(high < 1) - int(low > 1)

    def long_excess(self, at: float, middle: Fraction) -> int:
        """`excess` in long double: 64 bits on x86, no more than float64 elsewhere, where it decides little.

        With ``ζ = 1 − w`` and ``v = w − c_j`` a term is ``exp(n·log1p(−v))``, so that v is known to a few units in its
        last place, and the exponent y to ``n·δv/(1 − v) + 4|y|`` of them. Functions of the C library are assumed to be
        within 2 units (glibc: 1); NumPy sums pairwise in blocks of 128, 8 at a time: at most ``16 + log2 m`` roundings.
        """
        unit = np.finfo(np.longdouble).eps
        moved = np.array(self.scores, np.longdouble) - np.longdouble(at)
        limit = np.longdouble(middle.numerator) / np.longdouble(middle.denominator)
        if self.order == math.inf:
            terms = np.exp(moved)
            errors = terms * (2 * np.abs(moved) + 8) * unit
            target = 1 / limit
        else:
            n = np.longdouble(self.order.numerator) / np.longdouble(self.order.denominator)
            w, c = -np.expm1(np.log(limit) / n), moved / n
            v = w - c
            apart = (np.abs(w) + np.abs(c) + np.abs(v)) * 8 * unit
            inside = 1 - v > 64 * apart
            # The power of a key at the edge is at most that of its whole error.
            edge = np.maximum(1 - v, 0) + apart
            lost = np.where(~inside & (v - 1 < 64 * apart), edge**n, 0).sum()
            v, apart = np.where(inside, v, 0), np.where(inside, apart, 0)
            y = n * np.log1p(-v)
            wrong = 2 * n * apart / (1 - v) + 4 * np.abs(y) * unit
            terms = np.where(inside, np.exp(y), 0)
            if np.any(wrong > 0.5):
                return 0
            errors = 2 * terms * (wrong + 8 * unit)
            errors[0] += lost
            target = np.longdouble(1)
        total = terms.sum()
        error = 1.0625 * errors.sum() + total * (64 + math.log2(len(self.scores) + 1)) * unit + target * 4 * unit
        return int(total + error < target) - int(total - error > target)

    def equals(self, at: float, middle: Fraction) -> bool:
        """Whether the weight of a key with score `at` is exactly `middle`, for integer orders."""
        n = int(self.order)
        root, power = _root(middle, n)
        degree = n // power
        # Which keys are in the support at ζ: those above −nζ; ζ itself is irrational unless the degree is 1.
        terms = []
        with gmpy2.context(gmpy2.get_context(), precision=MOST):
            zeta = gmpy2.root(mpfr(root), degree)
            for score in self.scores:
                c = (Fraction(score) - Fraction(at)) / n
                if zeta + mpfr(c) > gmpy2.exp2(-MOST // 2):
                    terms.append(c)
        sums = [Fraction(0)] * degree
        for k in range(n + 1):
            moment = math.comb(n, k) * sum((c ** (n - k) for c in terms), Fraction(0))
            sums[k % degree] += moment * root ** (k // degree)
        return sums[0] == 1 and not any(sums[1:])

    def side(self, at: float, middle: Fraction) -> int:
        """The proved sign of a weight minus `middle`.

        Raises:
            UndecidedError: MOST bits do not decide it, at an order that is not a small integer.
        """
        whole = self.order != math.inf and self.order.denominator == 1 and self.order <= 64
        if whole and self.order == 1 and self.equals(at, middle):
            return 0
        with np.errstate(all="ignore"):  # an underflow gives 0 and an overflow inf, and neither decides
            sign = self.long_excess(at, middle)
        if sign:
            return sign
        bits = BITS if self.order == math.inf else BITS + 2 * int(self.order).bit_length() + int(160 / self.order)
        while bits <= max(MOST, 4 * BITS + int(640 / self.order)):
            sign = self.excess(at, middle, bits)
            if sign:
                return sign
            if whole and bits > 2 * BITS and self.equals(at, middle):
                return 0
            bits *= 2
        msg = f"a weight of order {self.order} is too near {middle!r} to tell on which side it is"
        raise UndecidedError(msg)

    def rounded(self, at: float, guess: np.float32) -> np.float32:
        """The float32 weight of a key with score `at`, starting from a nearby value."""
        value = np.float32(guess)
        while True:
            above = np.nextafter(value, np.float32(np.inf))
            sign = self.side(at, (Fraction(float(value)) + Fraction(float(above))) / 2)
            if sign == 0:
                return _even(value, above)
            if sign > 0:
                value = above
                continue
            if value == 0:
                return value
            below = np.nextafter(value, np.float32(-np.inf))
            sign = self.side(at, (Fraction(float(value)) + Fraction(float(below))) / 2)
            if sign == 0:
                return _even(below, value)
            if sign > 0:
                return value
            value = below


def _even(a: np.float32, b: np.float32) -> np.float32:
    return a if a.view(np.uint32) % 2 == 0 else b


def _root(value: Fraction, n: int) -> tuple[Fraction, int]:
    """B and the largest g that divides n with ``value = B^g``."""
    for g in range(n, 1, -1):
        if n % g == 0:
            parts = [gmpy2.iroot(gmpy2.mpz(part), g) for part in (value.numerator, value.denominator)]
            if all(exact for _, exact in parts):
                return Fraction(int(parts[0][0]), int(parts[1][0])), g
    return value, 1


def decide(scores: Array, order: Any, weights: Array, doubts: Array) -> None:
    """Decide in place the weights that `rows.proved_rows` left in doubt.

    Args:
        scores: (R, m) float32.
        order: the exact order, a Fraction or inf.
        weights: (R, m) float32, with a minus where in doubt.
        doubts: (R,) how many weights of a row are in doubt, or ALL.

    Raises:
        UndecidedError: as in `MultiprecisionRow.side`.
    """
    for index in np.flatnonzero(doubts):
        row, found = scores[index], weights[index]
        top, reach = float(row.max()), min(float(order), 1e300)
        # Lower by more than all roundings, the one to float32 included: no key with a gap below n is left out.
        near = (row > -np.inf) & (row.astype(np.float64) >= top - reach - (abs(top) + reach) * 1e-6)
        problem = MultiprecisionRow([float(score) for score in row[near]], order)
        places = np.flatnonzero(near) if doubts[index] == ALL else np.flatnonzero(np.signbit(found))
        known: dict[float, np.float32] = {}
        for place in places:
            score = float(row[place])
            if score not in known:
                known[score] = problem.rounded(score, abs(found[place]))
            found[place] = known[score]
