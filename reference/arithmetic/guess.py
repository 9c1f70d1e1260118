"""A float64 guess of the root of the mass equation: it says where to look and proves nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGE = 2.0**20
"""From this order on a power would lose 20 bits to the rounding of its base, so log1p computes it."""


def guess_root(gaps: Floats, order: float) -> tuple[int, float, float]:
    """Approximate (support size, v, λ) for gaps ascending from 0: the smallest weight is v^n, and γ = n − λ.

    λ stays of the size of the gaps however large n is, where v has too few digits in float64. From order `LARGE` on v
    is NaN; below order 1 λ is NaN.

    Args:
        gaps: (m,) float64.
        order: n, finite and not 0. For n < 0 all keys are in the support, and v is that of the largest score.
    """
    with np.errstate(all="ignore"):
        if order < 0:
            return _guess_heavy(gaps, -order)
        if order < 1:
            return _guess_low(gaps, order)
        return _guess_smooth(gaps, order) if order < LARGE else _guess_large(gaps, order)


def _guess_smooth(gaps: Floats, order: float) -> tuple[int, float, float]:
    """Newton's method on ``‖u‖_n − 1``, convex in γ for n ≥ 1, from the left end of the bracket."""
    gamma = order * float(len(gaps)) ** (-1.0 / order)
    for _ in range(40):
        kept = gaps[: max(1, int(np.searchsorted(gaps, gamma)))]
        u = (gamma - kept) / order
        below = u ** (order - 1)
        mass, slope = float(below @ u), float(below.sum())
        if not mass > 0 or not np.isfinite(mass):
            break
        move = order * mass * (1.0 - mass ** (-1.0 / order)) / slope
        new = min(max(gamma - move, gaps[0]), order)
        if abs(new - gamma) <= 1e-16 * gamma:
            gamma = new
            break
        gamma = new
    size = max(1, int(np.searchsorted(gaps, gamma)))
    return size, max(float((gamma - gaps[size - 1]) / order), 1e-18), float(order - gamma)


def _guess_large(gaps: Floats, order: float) -> tuple[int, float, float]:
    """The same Newton's method in λ, with u = 1 − (λ + d)/n."""
    shift = float(-order * np.expm1(-np.log(len(gaps)) / order))
    for _ in range(40):
        kept = gaps[: max(1, int(np.searchsorted(gaps, order - shift)))]
        logs = np.log1p(-(shift + kept) / order)
        mass, slope = float(np.exp(order * logs).sum()), float(np.exp((order - 1) * logs).sum())
        if not mass > 0 or not np.isfinite(mass):
            break
        # S(1 − S^(−1/n))/W, in the unit of γ.
        new = min(max(shift - order * mass * np.expm1(-np.log(mass) / order) / slope, 0.0), order)
        if abs(new - shift) <= 1e-16 * shift:
            shift = new
            break
        shift = new
    return max(1, int(np.searchsorted(gaps, order - shift))), float("nan"), float(shift)


def _guess_heavy(gaps: Floats, power: float) -> tuple[int, float, float]:
    """n = −`power`: Newton's method on ``(Σ u^n)^(1/n) − 1``, concave in u = 1 + (λ + d)/|n|, from the left end λ = 0.

    Its γ is −|n| − λ.
    """
    shift = 0.0
    for _ in range(60):
        logs = np.log1p((shift + gaps) / power)
        mass, slope = float(np.exp(-power * logs).sum()), float(np.exp(-(power + 1) * logs).sum())
        if not mass > 0 or not np.isfinite(mass) or not slope > 0:
            break
        new = max(shift + power * mass * np.expm1(np.log(mass) / power) / slope, 0.0)
        if not np.isfinite(new) or abs(new - shift) <= 1e-16 * shift:
            break
        shift = new
    return len(gaps), 1.0 + shift / power, shift


def _guess_low(gaps: Floats, order: float) -> tuple[int, float, float]:
    """n < 1: the support by bisection, then Newton's method on the smallest weight, in which the mass is convex."""
    low, high = 1, int(np.searchsorted(gaps, order)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        edge = gaps[middle - 1]
        if float((((edge - gaps[gaps < edge]) / order) ** order).sum()) < 1.0:
            low = middle
        else:
            high = middle
    offsets = (gaps[low - 1] - gaps[:low]) / order
    x = 1.0 / low
    for _ in range(60):
        u = offsets + x ** (1 / order)
        mass = float((u**order).sum()) - 1.0
        slope = float((u ** (order - 1)).sum()) * x ** (1 / order - 1)
        if not slope > 0 or not np.isfinite(slope):
            break
        new = x - mass / slope
        if not new > 0 or abs(new - x) <= 1e-16 * x:
            break
        x = new
    return low, max(float(x ** (1 / order)), 1e-300), float("nan")
