"""The exponent of cost: fit a straight line to logarithms, with a confidence interval from the residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from kernelproof.verify.bench.bench_record import PowerLawFit

CONFIDENCE = 0.95


def exponent(xs: Sequence[float], ys: Sequence[float]) -> PowerLawFit | None:
    """Fit ``y ~ x^e``; None for fewer than two different x; without an interval for two points.

    Args:
        xs: positive.
        ys: positive.

    >>> fit = exponent([1.0, 2.0, 4.0, 8.0], [3.0, 6.0, 12.0, 24.0])
    >>> round(fit.exponent, 12), [round(end, 6) for end in fit.interval]
    (1.0, [1.0, 1.0])
    """
    if len(set(xs)) < 2:
        return None
    x, y = np.log(xs), np.log(ys)
    moved = x - x.mean()
    slope = float(moved @ y / (moved @ moved))
    interval = None
    if len(xs) > 2:
        rest = y - y.mean() - slope * moved
        error = float(np.sqrt(rest @ rest / (len(xs) - 2) / (moved @ moved)))
        half = float(stdtrit(len(xs) - 2, (1 + CONFIDENCE) / 2)) * error
        interval = (slope - half, slope + half)
    return PowerLawFit(exponent=slope, interval=interval, first=min(xs), last=max(xs), points=len(xs))
