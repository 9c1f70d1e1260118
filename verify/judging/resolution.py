"""Resolution: the relative errors that comparisons would have seen, as counts that can be added and quantiles of them.

A comparison would have seen every error of its size over the truth, or over the root mean square of its row, that is
larger than what the promised grade allows (docs/theory.md §4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.records import Floats

LOWEST, HIGHEST = -64, 8
"""Exponents of 2 between which resolutions are distinguished."""
STEPS = 8
"""Bins for each power of 2: a quantile is at most 9 % too large."""
Counts = NDArray[np.int64]


def counts_of(resolution: Floats) -> Counts:
    """Count resolutions by their size; NaN, of a row without a size, is left out, and infinity counts as the largest.

    >>> int(counts_of(np.array([0.0, 0.5, np.inf])).sum())
    3
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.ceil((np.log2(resolution) - LOWEST) * STEPS)
    most = (HIGHEST - LOWEST) * STEPS + 1
    place = np.clip(place[~np.isnan(place)], 0, most).astype(np.intp)
    return np.bincount(place, minlength=most + 1)


def quantile(counts: Counts, share: float) -> float | None:
    """The least size, rounded up to a bin, that `share` of the comparisons do not exceed; None without comparisons.

    >>> quantile(counts_of(np.array([0.25, 0.5, 0.5, 4.0])), 0.5)
    0.5
    """
    total = int(counts.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(counts), share * total))
    # Beyond the last bin no error would have been seen.
    return float("inf") if place == len(counts) - 1 else float(2.0 ** (LOWEST + place / STEPS))
