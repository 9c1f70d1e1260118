"""The exponent of cost: a straight line through logarithms, with the interval that its scatter allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit
from scipy.stats import linregress

from kernelproof.verify.bench.records import Fit

CONFIDENCE = 0.95


def exponent(xs: Sequence[float], ys: Sequence[float]) -> Fit | None:
    """The fit of ``y ~ x^e``; None for fewer than two different x; without an interval for two points.

    Args:
        xs: positive.
        ys: positive.

    >>> fit = exponent([1.0, 2.0, 4.0, 8.0], [3.0, 6.0, 12.0, 24.0])
    >>> round(fit.exponent, 12), [round(end, 6) for end in fit.interval]
    (1.0, [1.0, 1.0])
    """
    if len(set(xs)) < 2:
        return None
    line = linregress(np.log(xs), np.log(ys))
    interval = None
    if len(xs) > 2:
        half = float(stdtrit(len(xs) - 2, (1 + CONFIDENCE) / 2)) * float(line.stderr)
        interval = (float(line.slope) - half, float(line.slope) + half)
    return Fit(exponent=float(line.slope), interval=interval, first=min(xs), last=max(xs), points=len(xs))
