"""Double-word arithmetic: a pair (h, g) stands for h + g exactly, with h = RN(h + g). u = 2^-53.

Every operation has a relative error of at most ``OPERATION = 16u² = 2^-102``; the theorems cited below are sharper.
They hold where nothing overflows or underflows. The callers keep results in [2^-900, 2^900], so only a term below
2^-1022 in the low word can underflow; at most ten of these lose 10·2^-1075 < 2^-171 of the result, which is covered by
the distance from the theorem's constant to 16.

Source: T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971);
D. E. Knuth, The Art of Computer Programming 2, section 4.2.2; M. Joldes, J.-M. Muller, V. Popescu, Tight and rigorous
error bounds for basic building blocks of double-word arithmetic, ACM TOMS 44(2), 2017 (JMP below), whose proofs
J.-M. Muller and L. Rideau checked in Coq, ACM TOMS 48(1), 2022.
"""

from __future__ import annotations

from typing import TypeAlias

from kernelproof.reference.bulk.compiler import HAS_FMA, compiled, fma

Word: TypeAlias = tuple[float, float]

OPERATION = 2.0**-102
"""Bound on the relative error of each operation on double words."""

_SPLITTER = 134217729.0


@compiled
def two_sum(a: float, b: float) -> Word:
    """(s, e) with s = RN(a + b) and s + e = a + b exactly, if nothing overflows (Knuth, theorem 4.2.2 B)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@compiled
def fast_two_sum(a: float, b: float) -> Word:
    """`two_sum` for a = 0 or exponents e_a ≥ e_b, such as |a| ≥ |b| (Dekker, section 4)."""
    s = a + b
    return s, b - (s - a)


@compiled
def _split_product(a: float, b: float) -> Word:
    """Dekker's product with Veltkamp's splitting: a·b exactly, for |a|, |b| < 2^996 and |a·b| ≥ 2^-968 or 0."""
    p = a * b
    c, d = _SPLITTER * a, _SPLITTER * b
    ah, bh = c - (c - a), d - (d - b)
    al, bl = a - ah, b - bh
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


@compiled
def _fused_product(a: float, b: float) -> Word:
    """a·b exactly by one fma: RN(a·b − p) is the whole error of p where |a·b| ≥ 2^-968 (JMP, algorithm 3)."""
    p = a * b
    return p, fma(a, b, -p)


two_prod = _fused_product if HAS_FMA else _split_product


@compiled
def add(a: float, b: float, c: float, d: float) -> Word:
    """(a, b) + (c, d), of any signs: relative error at most 3u² + 13u³ (AccurateDWPlusDW, JMP theorem 3.1)."""
    s, t = two_sum(a, c)
    v, w = two_sum(b, d)
    s, t = fast_two_sum(s, t + v)
    return fast_two_sum(s, w + t)


@compiled
def add_float(a: float, b: float, c: float) -> Word:
    """(a, b) + c: relative error at most 2u² (DWPlusFP, JMP theorem 2.2)."""
    s, t = two_sum(a, c)
    return fast_two_sum(s, b + t)


@compiled
def mul(a: float, b: float, c: float, d: float) -> Word:
    """(a, b)·(c, d): relative error at most 7u² (DWTimesDW1, JMP theorem 5.1)."""
    p, e = two_prod(a, c)
    return fast_two_sum(p, e + (a * d + b * c))


@compiled
def mul_float(a: float, b: float, c: float) -> Word:
    """(a, b)·c: relative error at most 3u² (DWTimesFP2, JMP theorem 4.2)."""
    p, e = two_prod(a, c)
    return fast_two_sum(p, e + b * c)


@compiled
def div(a: float, b: float, c: float, d: float) -> Word:
    """(a, b)/(c, d): relative error at most 15u² + 56u³ (DWDivDW2, JMP theorem 7.2)."""
    q = a / c
    # q·(c, d) by DWTimesFP1 (JMP, algorithm 7), as in the theorem.
    p, e = two_prod(c, q)
    s, t = fast_two_sum(p, d * q)
    r, v = fast_two_sum(s, t + e)
    return fast_two_sum(q, ((a - r) + (b - v)) / c)
