"""Negative orders: kernels ``(1 + x)ⁿ`` of ``x = d/|γ| ≥ 0`` that have weight everywhere, for many rows at once.

The ratio form holds with n and γ both negative. Its largest term is 1, so that ties and near ties lose nothing to the
size of |n|, and the rounding of γ is that of the scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernelproof.verify.backends._arrays.core import Flags, Floats
from kernelproof.verify.backends._arrays.double_word import total, two_product, two_sum
from kernelproof.verify.backends.numpy.support import CONVERGED, LARGEST_SLOPE, STEPS, EntmaxRows

HUGE = 1e300  # quotients from here on may overflow
FAINT = 1e-290  # a weight below has lost digits that its slope, which may be millions of times as large, still has
LARGE = 2.0**53  # beyond this the rounding of 1/n cannot be seen in a root


class HeavyTerms(NamedTuple):
    """``r = (1 + x)ⁿ`` on the support, 0 off it; ``base = 1 + x``; ``log = log(1 + x)``, 0 off it."""

    r: Floats
    base: Floats
    log: Floats


class HeavyRows(NamedTuple):
    """Rows of a given γ: r, slopes before normalization, ``log(1 + x)``, support, (R, m); signed γ, (R, 1)."""

    r: Floats
    slope: Floats
    log: Floats
    support: Flags
    reach: Floats


def heavy_terms(above: Floats, below: Floats, n: float, support: Flags) -> HeavyTerms:
    """Powers of ``1 + above/below``, where the quotient may leave the range of float64 although its power does not."""
    above = np.where(support, above, 0.0)
    x = above / below
    base = 1.0 + x
    log = np.log1p(x)
    r = np.where(x < 0.5, np.exp(n * log), base**n)
    far = x > HUGE
    if far.any():
        r = np.where(far, above**n * below**-n if n > -2 else 0.0, r)
        log = np.where(far, np.log(above) - np.log(below), log)
    return HeavyTerms(np.where(support, r, 0.0), base, log)


def root_of(mass: Floats, n: float) -> Floats:
    """``mass^(−1/n)`` to about one rounding, although 1/n is rounded."""
    power = -1.0 / n
    if n < -LARGE:
        return mass**power
    back, error = two_product(np.full_like(mass, power), np.full_like(mass, n))
    low = ((-1.0 - back) - error) / n
    root = mass**power
    return root + root * (low * np.log(mass))


def solve_heavy(z_half: Floats, n: float, support: Flags) -> EntmaxRows:
    """Entmax of order n < −1 of each row; γ is negative.

    Newton's method in |γ| on ``(Σ uⁿ)^(1/n) − 1``, concave and increasing, from the left end ``|γ| = |n|`` up to the
    root, at which ``|γ|/|n| = R^(−1/n)``.

    Args:
        z_half: (R, m) halves of the gaps ``β(max s − s)``, which may exceed the largest float64.
        n: below −1.
        support: (R, m) unmasked keys.
    """
    reach = np.full_like(z_half[:, :1], -n)
    active = np.ones_like(reach, dtype=np.bool_)
    for _ in range(STEPS):
        found = heavy_terms(z_half, reach / 2, n, support)
        r_total = total(found.r)
        step = (root_of(r_total, n) * -n - reach) * (r_total / total(found.r / found.base))
        reach = np.where(active, np.maximum(reach + step, -n), reach)
        active &= step > CONVERGED * reach
        if not active.any():
            break
    found = heavy_terms(z_half, reach / 2, n, support)
    r_total, e = total(found.r), found.r / found.base
    return EntmaxRows(
        p=found.r / r_total,
        slope=e / (r_total * root_of(r_total, n)),
        share=e / total(e),
        log=found.log,
        support=support,
        reach=-reach,
        log_normalizer=np.log(r_total),
    )


def anchored_heavy(scores: Floats, top: Floats, support: Flags, n: float, gamma: float) -> HeavyRows:
    """``(1 + d/gamma)ⁿ``."""
    found = heavy_terms(top / 2 - scores / 2, np.full_like(top, gamma / 2), n, support)
    faint = np.exp(n * found.log + np.log(-n / gamma / found.base))
    slope = np.where(found.r < FAINT, np.where(support, faint, 0.0), found.r / found.base * (-n / gamma))
    slope = np.minimum(slope, LARGEST_SLOPE)
    return HeavyRows(found.r, slope, found.log, support, np.full_like(top, -gamma))


def fixed_heavy(scores: Floats, top: Floats, unmasked: Flags, n: float, h: float) -> HeavyRows:
    """``|γ| + d = h²/2 − s_i`` with h² as a double word, so that the sign of |γ| is exact; empty at 0 or less."""
    exponent = int(np.frexp(h)[1])
    # Where h² would leave the range of float64, measure in units of 4^exponent, unless the scores outweigh h².
    extreme = np.logical_or(exponent > 300, (exponent < -300) & (top <= 0) & (top > -(2.0**-500)))
    shift = np.where(extreme, -2 * exponent, 0)
    near_one = np.ldexp(h, shift // 2)
    square, square_low = two_product(near_one, near_one)
    sums, lost = two_sum(-np.ldexp(scores, shift), np.broadcast_to(square / 2, scores.shape))
    margin = np.where(np.isfinite(sums), sums + (lost + square_low / 2), sums)
    reach = margin.min(axis=1, keepdims=True, where=unmasked, initial=np.inf)
    support = unmasked & (reach > 0)
    below = np.where(reach > 0, reach, 1.0)
    found = heavy_terms(np.ldexp(top / 2 - scores / 2, shift), below / 2, n, support)
    # From 1 + x where d is small against |γ|, and from h²/2 − s where it is large.
    large = support & (found.base >= 1.5) & np.isfinite(margin)
    base = np.where(large, margin / below, found.base)
    r = np.where(large & (base < HUGE), base**n, found.r)
    slope = np.minimum(np.ldexp(r * -n / np.where(support, margin, 1.0), shift), LARGEST_SLOPE)
    return HeavyRows(r, np.where(support, slope, 0.0), found.log, support, np.ldexp(-reach, -shift))
