"""Exact sign of the mass equation: is ``Σ_j x_j^n`` below, at or above 1, for rational x_j ≥ 0 and rational n > 0?

This decides supports, ties at a kink and rounding midpoints. Balls with more and more bits decide every
inequality. Equality is decided exactly: for n = p/q in lowest terms, ``Σ x_j^n = 1`` holds only if every
x_j is the q-th power of a rational, because real positive q-th roots of rationals whose ratios are
irrational are linearly independent over Q, and no positive multiples of them cancel. Then the sum is
rational and is computed.

Source: A. S. Besicovitch, On the linear independence of fractional powers of integers, J. London Math.
Soc. 15 (1940); L. J. Mordell, On the linear independence of algebraic numbers, Pacific J. Math. 3 (1953).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import gmpy2
from flint import arb, ctx, fmpq, fmpq_poly

from kernelproof.reference.errors import UndecidedError

EXACT_BITS = 1 << 22
"""Exact powers are computed only while a term stays below this many bits."""

PRECISION_CAP = 1 << 15


def exact_power(base: Fraction, order: Fraction) -> Fraction | None:
    """``base**order`` if it is rational and not too large to write down, else None; `base` ≥ 0."""
    root = exact_root(base, order.denominator)
    if root is None:
        return None
    if max(root.numerator.bit_length(), root.denominator.bit_length()) * order.numerator > EXACT_BITS:
        return Fraction(root) if root in {0, 1} else None
    return root**order.numerator


def exact_root(base: Fraction, degree: int) -> Fraction | None:
    """The rational whose `degree`-th power is `base` ≥ 0, or None if there is none.

    >>> exact_root(Fraction(4, 9), 2), exact_root(Fraction(1, 3), 2)
    (Fraction(2, 3), None)
    """
    if degree == 1 or base in {0, 1}:
        return base
    parts = []
    for part in (base.numerator, base.denominator):
        if part > 1 and part.bit_length() <= degree:
            return None
        root, exact = gmpy2.iroot(gmpy2.mpz(part), degree) if part > 1 else (1, True)
        if not exact:
            return None
        parts.append(int(root))
    return Fraction(parts[0], parts[1])


def mass_sign(terms: Sequence[Fraction], order: Fraction) -> int:
    """Sign of ``Σ x^order − 1`` over the `terms` x ≥ 0: −1, 0 or 1, decided exactly.

    Raises:
        UndecidedError: an integer order too large for exact powers, and the balls do not separate the sum from 1.
    """
    positive = [term for term in terms if term]
    if max(positive, default=Fraction(0)) >= 1:
        return 0 if positive == [1] else 1
    may_be_equal = True
    bits = 64
    while bits <= PRECISION_CAP:
        with ctx.workprec(bits):
            total = _mass(terms, order)
            if total < 1:
                return -1
            if total > 1:
                return 1
        if may_be_equal and bits >= 512:
            equal = _mass_is_one(terms, order)
            if equal:
                return 0
            may_be_equal = equal is None
        bits *= 2
    msg = f"the mass of {len(terms)} terms of order {order} equals 1 to {bits // 2} bits, and is too large to compute"
    raise UndecidedError(msg)


def _mass(terms: Sequence[Fraction], order: Fraction) -> arb:
    exponent = arb(fmpq(order.numerator, order.denominator))
    total = arb(0)
    for term in terms:
        if term:
            total += arb(fmpq(term.numerator, term.denominator)) ** exponent
    return total


def _mass_is_one(terms: Sequence[Fraction], order: Fraction) -> bool | None:
    """Whether the mass is exactly 1; None if the powers are too large to write down."""
    roots = [exact_root(term, order.denominator) for term in terms]
    if any(root is None for root in roots):
        return False
    known = [root for root in roots if root is not None]
    bits = max((max(r.numerator.bit_length(), r.denominator.bit_length()) for r in known), default=1)
    if bits * order.numerator * max(len(known), 1) > EXACT_BITS:
        return None
    return sum((root**order.numerator for root in known), Fraction(0)) == 1


def power_sum_is_one(offsets: Sequence[Fraction], power: Fraction, order: int) -> bool:
    """Whether ``Σ (c + δ)^order = 1`` exactly, for ``c = power**(1/order)`` and rational offsets δ with c + δ > 0.

    With ``power = a^g`` for the largest g that divides `order`, the minimal polynomial of c over Q is
    ``x^(order/g) − a`` (Vahlen–Capelli, a > 0), so the sum minus 1 is zero iff its remainder is.

    Args:
        offsets: the δ.
        power: c**order > 0.
        order: a positive int, at most some hundreds: a polynomial of that degree is reduced.
    """
    roots = ((d, exact_root(power, order // d)) for d in range(1, order + 1) if order % d == 0)
    # At d = order the root is `power` itself, so there is always one.
    degree, base = next((d, root) for d, root in roots if root is not None)
    modulus = fmpq_poly([_fmpq(-base)] + [0] * (degree - 1) + [1])
    total = fmpq_poly([-1])
    for offset in offsets:
        total += fmpq_poly([_fmpq(offset), 1]) ** order
    return bool((total % modulus) == fmpq_poly([0]))


def _fmpq(value: Fraction) -> fmpq:
    return fmpq(value.numerator, value.denominator)
