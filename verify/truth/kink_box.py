"""Bound gradients of entmax next to a kink at orders from 1 to 2 by the box of docs/theory.md §4 instead of a unit.

At these orders ``w_i = u_i^{n−1}`` is continuous and infinitely steep at ``u_i = 0``, so no first-order unit bounds
the effect of errors κu·d_j of the logits on ``c = β(diag(w) − wwᵀ/W)g``. But every w_i is monotone in its own margin
``n·u_i = z_i − nτ``, and n times the error of τ is a mean of the errors of the logits, with the weights w/W at some
point of the box (mean value theorem). So intervals for the margins give intervals for every w_i, and these give an
interval for every c_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernelproof.verify.records import Floats

STEPS = tuple(4.0 * 2.0 ** (half / 2) for half in range(-8, 37))
"""Values of κ that are tried: a κ found is at most √2 times too large; they include the limits 4 (A) and 32 (B)."""


def extreme_mean(values: Floats, low: Floats, high: Floats) -> float:
    """Maximize ``Σ w·values/Σ w`` over weights w between `low` and `high`: the largest values get the weights `high`.

    >>> extreme_mean(np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([1.0, 3.0]))
    0.75
    """
    order = np.argsort(-values, kind="stable")
    x, more, less = values[order], high[order], low[order]
    zero = np.zeros(1)
    top = np.concatenate([zero, np.cumsum(more * x)]) + np.concatenate([np.cumsum((less * x)[::-1])[::-1], zero])
    mass = np.concatenate([zero, np.cumsum(more)]) + np.concatenate([np.cumsum(less[::-1])[::-1], zero])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(mass > 0, top / mass, -np.inf)
    return float(means.max())


@dataclass(frozen=True)
class Row:
    """One row of logits with its upstream gradient, over the keys that are not masked.

    Attributes:
        margins: (m,) ``n·u_i``, negative off the support, in the unit of the logits.
        gaps: (m,) ``max z − z_i`` of the logits.
        upstream: (m,) g.
        order: n, between 1 and 2.
        scale: β, by which the scores become logits.
        unit: unit roundoff of the compute dtype.
        slack: (m,) what storing the results, and storage roundings, may add to each element.
    """

    margins: Floats
    gaps: Floats
    upstream: Floats
    order: float
    scale: float
    unit: float
    slack: Floats

    def weights(self, kappa: float) -> tuple[Floats, Floats]:
        """Intervals for w over the box of κ."""
        error = kappa * self.unit
        # At every point of the box, a key of the support is less than n below the best one.
        shift = self.order * (1 + 4 * error)
        for _ in range(3):
            moved = error * (self.gaps + shift)
            low, high = (
                (np.clip(self.margins + sign * moved, 0.0, None) / self.order) ** (self.order - 1) for sign in (-1, 1)
            )
            # The error of the threshold is a mean of the errors of the logits, with weights in these intervals.
            shift = min(shift, max(extreme_mean(self.gaps, low, high), 0.0))
        return low, high

    def interval(self, kappa: float) -> tuple[Floats, Floats]:
        """Intervals for c over the box of κ, widened by κ roundings of its terms."""
        low, high = self.weights(kappa)
        g = self.upstream
        most, least = extreme_mean(g, low, high), -extreme_mean(-g, low, high)
        ends = [weight * (g - mean) for weight in (low, high) for mean in (most, least)]
        size = high * (np.abs(g) + extreme_mean(np.abs(g), low, high))
        slack = self.scale * kappa * self.unit * size + self.slack
        return self.scale * np.minimum.reduce(ends) - slack, self.scale * np.maximum.reduce(ends) + slack

    def kappa(self, got: Floats, limit: float) -> Floats:
        """(m,) the least κ tried, `limit` among them, whose interval holds `got`; infinite where none does."""
        found = np.full(got.shape, np.inf)
        # The intervals are nested, so the first that holds an element is the one of its least κ.
        for kappa in sorted({*STEPS, limit}):
            low, high = self.interval(kappa)
            found[np.isinf(found) & (low <= got) & (got <= high)] = kappa
            if np.isfinite(found).all():
                break
        return found
