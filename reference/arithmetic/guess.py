"""A float64 guess of the root of the mass equation: where to look, never what is true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def guess_root(gaps: Floats, order: float) -> tuple[int, float]:
    """(support size, v) near the truth, for gaps ascending from 0: p of the smallest key is about v^n.

    Args:
        gaps: (m,) float64.
        order: n > 0, finite.
    """
    return _guess_smooth(gaps, order) if order >= 1 else _guess_low(gaps, order)


def _guess_smooth(gaps: Floats, order: float) -> tuple[int, float]:
    """Newton on ``‖u‖_n − 1``, convex in γ for n ≥ 1, from the left end of the bracket."""
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
    return size, max(float((gamma - gaps[size - 1]) / order), 1e-18)


def _guess_low(gaps: Floats, order: float) -> tuple[int, float]:
    """Support by bisection, then Newton on the smallest weight, in which the mass is convex for n < 1."""
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
    return low, max(float(x ** (1 / order)), 1e-300)
