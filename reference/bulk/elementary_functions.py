"""exp and log of double words with proved bounds, from + − × and tables alone. u = 2^-53.

The bounds assume an exact argument; an error of the argument propagates by the derivative.
"""

from __future__ import annotations

from kernelproof.reference.bulk import constants
from kernelproof.reference.bulk.compiler import bits_of, compiled, float_of
from kernelproof.reference.bulk.double_word import Word, add, add_float, mul, mul_float, two_prod, two_sum

EXP_ERROR = 2.0**-102
"""Relative error of `exp_word` on [−650, 1]."""

LOG_ERROR = 2.0**-102
"""Error of `log_word` on [2^-900, 4], as a multiple of 1 + |log x|."""

RATIO_ERROR = 2.0**-103
"""Relative error of `log_ratio` for |z| ≤ 2^-9."""

PHI_ERROR = 2.0**-101
"""Relative error of `log_phi` for |x| ≤ 2^-9."""

LEAST_EXPONENT = -650.0
"""exp of a smaller number is below 2^-937, and is never needed."""

STEPS = 128
CELLS = 256
_MAGIC = 6755399441055744.0
_MAGIC_BITS = 0x4338000000000000
_ONE_BITS = 0x3FF0000000000000
_FRACTION_BITS = 0x000FFFFFFFFFFFFF

_TWO_H, _TWO_L = constants.logarithm_of_two()
_C1, _C2, _C3 = constants.step_of_exp(STEPS)
_PER_STEP = STEPS / _TWO_H
_POWER_H, _POWER_L = constants.powers_of_two(STEPS)
_RECIPROCAL, _LOG_H, _LOG_L, _CARRY = constants.reciprocals(CELLS)
_E2, _E3, _E4, _E5 = constants.words_of([(1, 2), (1, 6), (1, 24), (1, 120)])
_F2, _F4, _F5, _F6 = constants.words_of([(-2, 3), (-4, 5), (5, 6), (-6, 7)])
_R1, _R2, _R3, _R4, _R5 = constants.words_of([(-1, 2), (1, 3), (-1, 4), (1, 5), (-1, 6)])


@compiled
def exp_word(a: float, b: float) -> Word:
    """exp(a + b) for −650 ≤ a ≤ 1 within `EXP_ERROR`, relative.

    Reduction. k = rint(a·128/log 2) by the magic constant 1.5·2^52, |k| ≤ 120 100 < 2^17, and r = x − k·(log 2/128).
    k is within 1/2 + 2^-34 of the quotient (a relative error of 2^-51 in a number below 2^17): |r| ≤ 0.00271 < 2^-8.5.
    k·C₁ and k·C₂ are exact: 33 + 17 bits. The sum is then wrong by 3u²|r| of `add`, 2u²|r| of `add_float`, the
    rounding of k·C₃ (below 2^17·2^-73 = 2^-56, so by 2^-109 at most) and k·2^-126 for the rest of the constant: 2^-107.
    Horner. exp r = 1 + r(1 + r(1/2 + r(1/6 + r(1/24 + r(1/120 + r·q))))) with q of degree 4 in plain float64; the first
    neglected term, r^11/11!, is below 2^-118. q ≈ 1/720 is within 2^-50 of itself (5 steps), so r·q within 2^-49·2^-18
    = 2^-67 and, times r^5 < 2^-42.5, within 2^-109. Each level above adds at most 10u² relative to a term that is again
    multiplied by |r| < 2^-8.5; the last addition 3u² of the sum, about 1. With the reduction 3.1u² + 2^-106.5.
    Table. 2^(j/128) is within 2^-106 and the product within 7u²: in all (3.1 + 0.8 + 1 + 7)u² < 12u² < 2^-102.
    The power of two is exact: the result is at least 2^-938.
    """
    shifted = a * _PER_STEP + _MAGIC
    k = bits_of(shifted) - _MAGIC_BITS
    whole = shifted - _MAGIC
    j = k & (STEPS - 1)
    sh, sl = two_sum(a, -whole * _C1)
    th, tl = two_sum(b, -whole * _C2)
    rh, rl = add(sh, sl, th, tl)
    rh, rl = add_float(rh, rl, -whole * _C3)
    q = 1 / 720 + rh * (1 / 5040 + rh * (1 / 40320 + rh * (1 / 362880 + rh * (1 / 3628800))))
    h, g = add_float(_E5[0], _E5[1], rh * q)
    h, g = mul(h, g, rh, rl)
    h, g = add(_E4[0], _E4[1], h, g)
    h, g = mul(h, g, rh, rl)
    h, g = add(_E3[0], _E3[1], h, g)
    h, g = mul(h, g, rh, rl)
    h, g = add_float(h, g, 0.5)
    h, g = mul(h, g, rh, rl)
    h, g = add_float(h, g, 1.0)
    h, g = mul(h, g, rh, rl)
    h, g = add_float(h, g, 1.0)
    h, g = mul(h, g, _POWER_H[j], _POWER_L[j])
    scale = float_of((((k - j) >> 7) + 1023) << 52)
    return h * scale, g * scale


@compiled
def log_ratio(z: float, y: float) -> Word:
    """log(1 + x)/x for x = z + y: within 2^-99 relative for |x| ≤ 2^-8, and within `RATIO_ERROR` for |x| ≤ 2^-9.

    Σ (−x)^k/(k + 1) by Horner, the terms from k = 6 on in float64. Truncation after k = 11: 1.01·|x|^12/13, at most
    2^-99.6 resp. 2^-111. The tail is about 1/7 and within 2^-50 of itself, its product with x within 2^-60.7 resp.
    2^-61.7 (x^5 times that is 2^-100.7 resp. 2^-106.7). The levels above add 10u² times |x| each, the last sum 3u².
    At |x| ≤ 2^-9 together 3.2u² + 2^-106.6 < 8u².
    """
    q = 1 / 7 - z * (1 / 8 - z * (1 / 9 - z * (1 / 10 - z * (1 / 11 - z * (1 / 12)))))
    h, g = add_float(_R5[0], _R5[1], z * q)
    h, g = mul(h, g, z, y)
    h, g = add(_R4[0], _R4[1], h, g)
    h, g = mul(h, g, z, y)
    h, g = add_float(h, g, -0.25)
    h, g = mul(h, g, z, y)
    h, g = add(_R2[0], _R2[1], h, g)
    h, g = mul(h, g, z, y)
    h, g = add_float(h, g, -0.5)
    h, g = mul(h, g, z, y)
    return add_float(h, g, 1.0)


@compiled
def log_phi(z: float, y: float) -> Word:
    """(log(1 + x) − x/(1 + x))/x² for x = z + y: within `PHI_ERROR` relative for |x| ≤ 2^-9.

    Σ (−x)^k·(k + 1)/(k + 2) by Horner, from 1/2 on; the terms from k = 6 in float64. Truncation after k = 11:
    1.01·|x|^12 ≤ 2^-107.9. The tail is about 7/8 and within 2^-50 of itself; times x^6 within 2^-104.1. The levels
    above add 10u² times |x| each, the last sum 3u². The result is at least 0.49: in all below 2·(2^-103.9 + 3.2u²).
    """
    q = 7 / 8 - z * (8 / 9 - z * (9 / 10 - z * (10 / 11 - z * (11 / 12 - z * (12 / 13)))))
    h, g = add_float(_F6[0], _F6[1], z * q)
    h, g = mul(h, g, z, y)
    h, g = add(_F5[0], _F5[1], h, g)
    h, g = mul(h, g, z, y)
    h, g = add(_F4[0], _F4[1], h, g)
    h, g = mul(h, g, z, y)
    h, g = add_float(h, g, 0.75)
    h, g = mul(h, g, z, y)
    h, g = add(_F2[0], _F2[1], h, g)
    h, g = mul(h, g, z, y)
    return add_float(h, g, 0.5)


@compiled
def log_word(a: float, b: float) -> Word:
    """log(a + b) for 2^-900 ≤ a ≤ 4 within `LOG_ERROR`·(1 + |log(a + b)|).

    Reduction. a = 2^e·m exactly, b scaled alike; with r the reciprocal of the cell of m, of 10 bits,
    x = (m + b′)·r − 1 has |x| ≤ 2^-8 (a test looks at the ends of every cell). TwoProd gives m·r = p + p′ exactly;
    p − 1 is exact (Sterbenz, 1/2 ≤ p ≤ 2); p′ + b′·r is wrong by at most half a unit in the last place of 2^-52 and of
    2^-53: together 1.5u²; the closing sum is exact. Then log(1 + x) = x·log_ratio(x) is wrong by a further
    2^-8·(2^-99 + 7u²), in all by less than 2.5u².
    Sum. e·log 2 is wrong by 4u² of itself and |e·log 2| ≤ 2.1·|log| for e ≠ 0, because the rest is at most 0.36; the
    table within u²·0.35 and each of two additions within 3u² of its result, at most |log| + 0.01. In all less than
    (2.5 + 0.4 + 0.1)u² + (8.4 + 6)u²·|log|, below 16u²·(1 + |log|).
    """
    i = bits_of(a)
    e = (i >> 52) - 1023
    cell = (i >> 44) & (CELLS - 1)
    m = float_of((i & _FRACTION_BITS) | _ONE_BITS)
    rest = b * float_of((1023 - e) << 52)
    r = _RECIPROCAL[cell]
    p, t = two_prod(m, r)
    z, y = two_sum(p - 1.0, t + rest * r)
    h, g = log_ratio(z, y)
    h, g = mul(h, g, z, y)
    exponent = (float_of(e + _MAGIC_BITS) - _MAGIC) + _CARRY[cell]
    c, d = mul_float(_TWO_H, _TWO_L, exponent)
    c, d = add(c, d, _LOG_H[cell], _LOG_L[cell])
    return add(c, d, h, g)
