"""Correct pieces, in NumPy and PyTorch, into which the mutants put their faults: float64 inside, any number of rows."""

from __future__ import annotations

import numpy as np


def gaps_of(z):
    """(gaps to the largest of each row, rows that have a number): masked keys are infinitely far."""
    top = z.max(-1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(z), np.inf, np.where(np.isfinite(top), top, np.nan) - z)


def powers(gaps, gamma, n):
    """[1 − d/γ]₊ⁿ, by exp and log1p, which keep their digits at every order."""
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.exp(n * np.log1p(-np.minimum(gaps / gamma, 1)))
        return np.where(gaps < gamma, inside, np.where(np.isnan(gaps), np.nan, 0))


def reach(gaps, n, steps=200):
    """γ of the adaptive rule for 1 ≤ n < ∞, by bisection of Σ [(γ − d)/n]ⁿ = 1 to the last bit."""
    low, high = np.zeros((*gaps.shape[:-1], 1)), np.full((*gaps.shape[:-1], 1), float(n))
    for _ in range(steps):
        middle = (low + high) / 2
        mass = (np.maximum((middle - np.where(np.isnan(gaps), np.inf, gaps)) / n, 0) ** n).sum(-1, keepdims=True)
        low, high = np.where(mass < 1, middle, low), np.where(mass < 1, high, middle)
    return high


def share(terms):
    """Terms over their sum; NaN in rows of zeros."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return terms / terms.sum(-1, keepdims=True)


def softmax64(z):
    """Softmax."""
    with np.errstate(invalid="ignore"):
        return share(np.exp(-gaps_of(z.astype(np.float64))))


def entmax64(z, n):
    """α-entmax for 1 ≤ n ≤ ∞."""
    wide = z.astype(np.float64)
    if n == np.inf:
        return softmax64(wide)
    gaps = gaps_of(wide)
    return share(powers(gaps, reach(gaps, n), n))


def sparsemax_sorted(z):
    """Sparsemax by sorting the gaps, in float64."""
    gaps = gaps_of(z.astype(np.float64))
    if not gaps.shape[-1]:
        return gaps
    rising = np.sort(gaps, axis=-1)
    counts = np.arange(1, gaps.shape[-1] + 1)
    with np.errstate(invalid="ignore"):
        sums = np.cumsum(rising, axis=-1)
        inside = counts * rising < 1 + sums
        size = np.where(np.isfinite(rising), inside, False).sum(-1, keepdims=True)
        total = np.take_along_axis(sums, np.maximum(size - 1, 0), axis=-1)
        weights = np.maximum((1 + total) / np.maximum(size, 1) - gaps, 0)
    return np.where(size > 0, weights, np.nan)
