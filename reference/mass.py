"""Exact sign of the mass equation: is ``Σ_j x_j^n`` below, at or above 1, for rational x_j ≥ 0 and rational n > 0?

This decides supports, ties at a kink and rounding midpoints. Balls of increasing precision decide every inequality.
Equality is decided exactly: for n = p/q in lowest terms, ``Σ x_j^n = 1`` holds only if every x_j is the q-th power of a
rational, because real positive q-th roots of rationals whose ratios are irrational are linearly independent over Q, and
no positive multiples of them cancel. In that case the sum is rational and is computed.

Source: A. S. Besicovitch, On the linear independence of fractional powers of integers, J. London Math.
Soc. 15 (1940); L. J. Mordell, On the linear independence of algebraic numbers, Pacific J. Math. 3 (1953).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import gmpy2
from flint import arb, ctx, fmpq, fmpq_poly

from kernelproof.reference.errors import UndecidedError, shown

EXACT_BITS = 1 << 22
"""Exact powers are computed only while all terms together stay below this many bits."""

PRECISION_CAP = 1 << 15
"""Bits up to which a sum that may be equal to 1 is compared with it."""

UNEQUAL_CAP = 1 << 18
"""The same once equality is excluded: float64 gaps give terms down to 2^(−1080·order), so order 64 needs 2^17 bits."""

DEGREE = 512
"""Largest order at which powers are expanded as polynomials."""

PRIME = 2**127 - 1
"""An equation of integers that fails modulo this prime fails."""


def exact_power(base: Fraction, order: Fraction) -> Fraction | None:
    """``base**order`` for `base` ≥ 0 if it is rational and not too large to write down, else None."""
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
    """The exact sign of ``Σ x^order − 1`` over the `terms` x ≥ 0: −1, 0 or 1.

    Raises:
        UndecidedError: the sum is closer to 1 than the highest precision tried resolves, and equality is not excluded.
    """
    groups = Counter(term for term in terms if term)
    if max(groups, default=Fraction(0)) >= 1:
        return 0 if groups == {Fraction(1): 1} else 1
    sign = _decide(lambda: _mass(groups, arb(0), order), lambda: _mass_is_one(groups, order))
    if sign is None:
        msg = f"the mass of {len(terms)} terms of order {shown(order)} equals 1 to {PRECISION_CAP} bits, if not exactly"
        raise UndecidedError(msg)
    return sign


def offset_mass_sign(offsets: Sequence[Fraction], power: Fraction, order: Fraction) -> int | None:
    """The sign of ``Σ [c + δ]₊^order − 1`` for ``c = power^(1/order)``, or None if it is not decided.

    Args:
        offsets: the δ.
        power: c**order, in (0, 1).
        order: n; equality is decided if it is an integer or c is rational, for n < 0 if both hold. There a base that
            is not positive has a mass beyond all bounds.
    """
    root = exact_power(power, 1 / order) if order > 0 else exact_power(1 / power, -1 / order)
    if order < 0:
        return _decide(lambda: _heavy_mass(offsets, power, order), lambda: _heavy_mass_is_one(offsets, root, order))
    if root is not None:
        try:
            return mass_sign([root + offset for offset in offsets if root + offset > 0], order)
        except UndecidedError:
            return None
    groups = Counter(offsets)

    def base() -> arb:
        return arb(_fmpq(power)) ** _fmpq(1 / order)

    def equal() -> bool | None:
        if order.denominator != 1:
            return None
        with ctx.workprec(1 << 12):
            bases = {offset: base() + arb(_fmpq(offset)) for offset in groups}
        # c is irrational, so no base is 0.
        kept = {offset: groups[offset] for offset, value in bases.items() if value > 0}
        settled = all(value > 0 or value < 0 for value in bases.values())
        return power_sum_is_one(kept, power, order.numerator) if settled else None

    return _decide(lambda: _mass(groups, base(), order), equal)


def _heavy_mass(offsets: Sequence[Fraction], power: Fraction, order: Fraction) -> arb:
    """``Σ (c + δ)^order`` for a negative order; ∞ if a base is not positive, NaN while that is open."""
    root, total = arb(_fmpq(power)) ** _fmpq(1 / order), arb(0)
    for offset, count in Counter(offsets).items():
        base = root + arb(_fmpq(offset))
        if base <= 0:
            return arb("inf")
        total += count * (base ** _fmpq(order) if base > 0 else arb("nan"))
    return total


def _heavy_mass_is_one(offsets: Sequence[Fraction], root: Fraction | None, order: Fraction) -> bool | None:
    """Whether ``Σ (root + δ)^order`` is exactly 1, for a negative int; None where that is not decided."""
    if root is None or order.denominator != 1:
        return None
    bases = [root + offset for offset in offsets]
    bits = sum(max(base.numerator.bit_length(), base.denominator.bit_length()) for base in bases)
    if min(bases) <= 0 or bits * -order.numerator > EXACT_BITS:
        return None
    return sum((base**order.numerator for base in bases), Fraction(0)) == 1


def _decide(mass: Callable[[], arb], equal: Callable[[], bool | None]) -> int | None:
    """The sign of mass − 1 by balls of increasing precision; `equal` is called once they are close."""
    bits, cap = 64, PRECISION_CAP
    while bits <= cap:
        with ctx.workprec(bits):
            total = mass()
            if total < 1:
                return -1
            if total > 1:
                return 1
        if bits == 512:
            same = equal()
            if same:
                return 0
            cap = PRECISION_CAP if same is None else UNEQUAL_CAP
        bits *= 2
    return None


def _mass(groups: Mapping[Fraction, int], shift: arb, order: Fraction) -> arb:
    """``Σ count·[shift + x]₊^order``."""
    exponent = order.numerator if order.denominator == 1 else _fmpq(order)
    total = arb(0)
    for term, count in groups.items():
        total += count * (shift + arb(_fmpq(term))).nonnegative_part() ** exponent
    return total


def _mass_is_one(groups: Mapping[Fraction, int], order: Fraction) -> bool | None:
    """Whether ``Σ count·x^order`` is exactly 1; None if the powers are too large to write down."""
    roots = {exact_root(term, order.denominator): count for term, count in groups.items()}
    if None in roots:
        return False
    known = {root: count for root, count in roots.items() if root is not None}
    unit = math.lcm(*(root.denominator for root in known))
    return integer_powers_agree(
        {int(root * unit): count for root, count in known.items()}, unit, order.numerator, EXACT_BITS
    )


def integer_powers_agree(bases: Mapping[int, int], unit: int, order: int, limit: int) -> bool | None:
    """Whether ``Σ count·base^order = unit^order``; None if a proof needs more than `limit` bits."""
    if (sum(count * pow(base, order, PRIME) for base, count in bases.items()) - pow(unit, order, PRIME)) % PRIME:
        return False
    if unit.bit_length() * order * max(len(bases), 1) > limit:
        return None
    return bool(sum(count * gmpy2.mpz(base) ** order for base, count in bases.items()) == gmpy2.mpz(unit) ** order)


def power_sum_is_one(groups: Mapping[Fraction, int], power: Fraction, order: int) -> bool | None:
    """Whether ``Σ count·(c + δ)^order = 1`` exactly, for ``c = power^(1/order)`` and rational δ with c + δ > 0.

    With ``power = a^(order/D)`` for the least such D, the minimal polynomial of c over Q is ``x^D − a``
    (Vahlen–Capelli, a > 0), so the sum minus 1 is zero iff its remainder is. In the remainder ``c^(D−2)`` has the
    coefficient ``Σ_j C(order, 2 + jD)·(positive)·Σ δ^(2 + jD)``: for even D ≥ 4, and for D = order ≥ 3, that is
    zero only if every δ is zero.

    Args:
        groups: δ -> count.
        power: c**order > 0.
        order: a positive int.

    Returns:
        None for orders above `DEGREE` that this coefficient does not decide.
    """
    degree, base = _radical(power, order)
    if set(groups) == {Fraction(0)}:
        return groups[Fraction(0)] * power == 1
    if degree >= 3 and (degree % 2 == 0 or degree == order):
        return False
    if order > DEGREE:
        return None
    modulus = fmpq_poly([_fmpq(-base)] + [0] * (degree - 1) + [1])
    total = fmpq_poly([-1])
    for offset, count in groups.items():
        total += count * fmpq_poly([_fmpq(offset), 1]) ** order
    return bool((total % modulus) == fmpq_poly([0]))


def _radical(power: Fraction, order: int) -> tuple[int, Fraction]:
    """The least divisor D of `order` with ``power = a^(order/D)`` for a rational a, and that a."""
    # An exponent above the bit length of the longer part has no root other than 1.
    longest = max(power.numerator.bit_length(), power.denominator.bit_length())
    for exponent in range(min(order, longest), 1, -1):
        if order % exponent == 0 and (root := exact_root(power, exponent)) is not None:
            return order // exponent, root
    return order, power


def _fmpq(value: Fraction) -> fmpq:
    return fmpq(value.numerator, value.denominator)
