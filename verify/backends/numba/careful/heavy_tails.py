"""Negative orders of the careful core: ``w ∝ (1 + d/|γ|)ⁿ``, with weight on every key that is not masked.

`careful.rows` caches what it compiles from here by its own file: touch that after editing this one.
"""

from __future__ import annotations

import math

import numpy as np

from kernelproof.verify.backends._arrays.core import Floats
from kernelproof.verify.backends.numba.jit import jit
from kernelproof.verify.backends.numba.scalar_functions import total, two_product, two_sum

STEPS = 100
CONVERGED = 4e-16
HUGE = 1e300  # quotients from here on may overflow
LARGE = 2.0**53  # beyond this the rounding of 1/n cannot be seen in a root
FAINT = 1e-290  # a weight below has lost digits that its slope, which may be millions of times as large, still has
SMALL_H, LARGE_H, SMALL_TOP = -300, 300, 2.0**-500


@jit
def heavy_power(above: float, below: float, n: float) -> tuple[float, float, float]:
    """``(1 + x)ⁿ``, ``1 + x`` and ``log(1 + x)`` for ``x = above/below ≥ 0``, which may overflow."""
    x = above / below
    if x < 0.5:
        log = math.log1p(x)
        return math.exp(n * log), 1.0 + x, log
    if x > HUGE:
        return above**n * below**-n if n > -2.0 else 0.0, x, math.log(above) - math.log(below)
    return (1.0 + x) ** n, 1.0 + x, math.log1p(x)


@jit
def root_of(mass: float, n: float) -> float:
    """``mass^(−1/n)`` to about one rounding, although 1/n is rounded."""
    power = -1.0 / n
    root: float = mass**power
    if n < -LARGE:
        return root
    back, error = two_product(power, n)
    return root + root * (((-1.0 - back) - error) / n * math.log(mass))


@jit
def adaptive_heavy(
    halves: Floats, n: float, p: Floats, slope: Floats, share: Floats, log: Floats
) -> tuple[float, float]:
    """Entmax of order n < −1, by Newton's method from ``|γ| = |n|`` up to the root; fills four arrays of zeros.

    Args:
        halves: (m,) halves of the gaps ``β(max s − s)``, inf where masked.
        n: below −1.
        p: (m,), filled with weights.
        slope: (m,), filled with ``p/u``.
        share: (m,), filled with ``slope/Σslope``.
        log: (m,), filled with ``log(1 + d/|γ|)``.

    Returns:
        γ, negative, and the log of the normalizer.
    """
    reach, mass, shares = -n, 1.0, 1.0
    active = True
    for _ in range(STEPS):
        for i in range(halves.size):
            if halves[i] < np.inf:
                p[i], base, log[i] = heavy_power(halves[i], reach / 2, n)
                share[i] = p[i] / base
        mass, shares = total(p), total(share)
        if not active:
            break
        step = (root_of(mass, n) * -n - reach) * (mass / shares)
        active = step > CONVERGED * reach
        reach = max(reach + step, -n)
    factor = 1.0 / (mass * root_of(mass, n))
    for i in range(halves.size):
        p[i] /= mass
        slope[i] = share[i] * factor
        share[i] /= shares
    return -reach, math.log(mass)


@jit
def anchored_heavy(scores: Floats, top: float, n: float, gamma: float, r: Floats, slope: Floats, log: Floats) -> float:
    """Fill r, slopes that still lack 1/Σr, and logs with those of ``|γ| = gamma``; return γ."""
    for i in range(scores.size):
        if scores[i] > -np.inf:
            r[i], base, log[i] = heavy_power(top / 2 - scores[i] / 2, gamma / 2, n)
            faint = r[i] < FAINT
            slope[i] = math.exp(n * log[i] + math.log(-n / gamma / base)) if faint else r[i] / base * (-n / gamma)
    return -gamma


@jit
def fixed_heavy(scores: Floats, top: float, n: float, h: float, r: Floats, slope: Floats, log: Floats) -> float:
    """`anchored_heavy` of ``|γ| + d = h²/2 − s``, h² as a double word; all stays 0 if γ is not negative."""
    exponent = math.frexp(h)[1]
    # Where h² would leave the range of float64, measure in units of 4^exponent, unless the scores outweigh h².
    extreme = exponent > LARGE_H or (exponent < SMALL_H and -SMALL_TOP < top <= 0.0)
    shift = -2 * exponent if extreme else 0
    near_one = math.ldexp(h, shift // 2)
    square, square_low = two_product(near_one, near_one)
    margin, reach = np.full(scores.size, np.inf), np.inf
    for i in range(scores.size):
        if scores[i] > -np.inf:
            value, lost = two_sum(-math.ldexp(scores[i], shift), square / 2)
            margin[i] = value + (lost + square_low / 2) if math.isfinite(value) else value
            reach = min(reach, margin[i])
    if reach > 0.0:
        for i in range(scores.size):
            if scores[i] > -np.inf:
                r[i], base, log[i] = heavy_power(math.ldexp(top / 2 - scores[i] / 2, shift), reach / 2, n)
                # From 1 + d/|γ| where d is small against |γ|, and from h²/2 − s where it is large.
                if base >= 1.5 and margin[i] / reach < HUGE:
                    r[i] = (margin[i] / reach) ** n
                slope[i] = math.ldexp(r[i] * -n / margin[i], shift)
    return math.ldexp(-reach, -shift)
