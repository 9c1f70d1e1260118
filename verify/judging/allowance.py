"""What a target may be off by: ``a(κ) = ½ ulp_s(|y| + R) + R + κ·u_c·unit`` (docs/theory.md §4).

The first two terms do not grow with κ: the rounding of the result to the dtype of the arrays, and R, what the storage
roundings of the contract may cause. κ counts the errors of the computation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernelproof.verify.judging.precision import Precision, eta
from kernelproof.verify.records import Floats, Values


@dataclass(frozen=True)
class Allowance:
    """The error that is allowed each element.

    Attributes:
        forced: the rounding of the result and R.
        fixed: `forced`, the radius of the truth, and what flushing may add.
        rate: what each further κ allows.
        emin: 2**emin is the smallest normal number of the dtype of the arrays.
    """

    forced: Floats
    fixed: Floats
    rate: Floats
    emin: int

    def at(self, kappa: float) -> Floats:
        """The largest error to which `kappa_of` gives `kappa`; infinite where a unit is."""
        with np.errstate(over="ignore", invalid="ignore"):
            more = np.where(self.rate > 0, kappa * self.rate, 0.0)
        return np.asarray(self.fixed + np.where(np.isnan(more), np.inf, more))

    def kappa_of(self, error: Floats) -> Floats:
        """The least κ that allows an absolute `error`; NaN for NaN."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            excess = np.maximum(error - self.fixed, 0.0)
            return np.where(excess == 0, 0.0, excess / self.rate)


def allowance_of(truth: Values, precision: Precision, *, terms: int = 1, strict: bool = False) -> Allowance:
    """Compute what is allowed to each element of `truth`.

    Args:
        truth: the exact numbers with their units and with R.
        precision: of the target.
        terms: how many products were added, each of which may underflow by itself.
        strict: allow for no conditioning: the unit is the value itself.
    """
    unit = np.abs(truth.head) if strict else truth.unit
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.broadcast_to(np.asarray(truth.stored, dtype=np.float64), truth.head.shape)
        size = np.abs(truth.head) + stored
        # A result beyond the format has no spacing there; whether it may overflow is decided elsewhere.
        half = precision.half_ulp(np.minimum(np.where(np.isnan(size), 0.0, size), precision.storage.largest))
        forced = half + stored
        fixed = forced + truth.radius + terms * precision.flushed
        rate = precision.unit * unit + terms * eta(precision.compute)
    fixed, rate = (np.where(np.isnan(part), np.inf, part) for part in (fixed, rate))
    return Allowance(forced, fixed, rate, precision.storage.emin)


def rounded_weights(weights: Floats, precision: Precision) -> Floats:
    """R of normalized weights: what storing the exponentials, or their sum, may add to each (docs/theory.md §4).

    Both are stored relative to the largest exponential, 1; the sum is that of the stored ones.
    """
    stored = np.zeros_like(weights)
    if "exponentials" in precision.roundings:
        stored = stored + 2 * precision.stored * weights * (1 - weights) + eta(precision.storage)
    if "denominator" in precision.roundings:
        stored = stored + precision.stored * weights
    return stored
