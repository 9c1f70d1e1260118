"""The row that every target of the study of backends gets: its certified weights, its softmax, and rounding floors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import inf

import numpy as np
from flint import arb, ctx

from kernelproof.reference import Adaptive, entmax
from kernelproof.reference.formats import FORMATS
from kernelproof.theory.convergence import data
from kernelproof.theory.convergence.curves import first_bits
from kernelproof.theory.convergence.expansion import SoftmaxExpansion
from kernelproof.theory.convergence.norms import Norm, norm_of
from kernelproof.theory.series import balls
from kernelproof.verify.truth.units import RowUnits

KEYS = 16
NORM = Norm.VARIATION


def row(seed: int) -> tuple[float, ...]:
    """Logits N(0, 2²) that use every bit of a float64; each dtype gets them rounded to it."""
    # Logits of few bits would hide rounding errors: for them z/n − τ is exact if n is a power of 2.
    return tuple((2.0 * data.generator(seed, 5).standard_normal(KEYS)).tolist())


@dataclass(frozen=True)
class _Known:
    """The truth of a row at one order.

    Attributes:
        distance: distance of the certified weights from softmax.
        limit: the softmax weights.
        weights: the certified weights.
        unit: the predicted floor over u.
    """

    distance: arb
    limit: tuple[arb, ...]
    weights: tuple[arb, ...]
    unit: float


@cache
def known(logits: tuple[float, ...], order: Fraction) -> _Known:
    """Compute the truth of a row at an order."""
    bits = first_bits(order)
    with ctx.workprec(bits):
        found = entmax(list(logits), order=order, precision=bits)
        values, limit = balls(found.weights.values()), SoftmaxExpansion.of(logits).p
        distance = norm_of(NORM, [a - b for a, b in zip(values, limit, strict=True)])
    keys = np.flatnonzero(found.support)
    weights, gaps = np.array([float(value) for value in values]), max(logits) - np.array(logits)
    units = RowUnits(weights[keys], found.margin[keys], float(order), Adaptive(1), 1.0, gaps[keys], gaps[keys])
    return _Known(distance, tuple(limit), tuple(values), float(units.weight.sum() / 2))


def floor_at_limit(logits: tuple[float, ...]) -> float:
    """The predicted floor over u in the limit of large orders, that is, for softmax."""
    p = np.array([float(each) for each in SoftmaxExpansion.of(logits).p])
    gaps = max(logits) - np.array(logits)
    units = RowUnits(p, np.full_like(p, inf), inf, Adaptive(1), 1.0, gaps, gaps)
    return float(units.weight.sum() / 2)


def rounded(logits: Sequence[float], dtype: str) -> tuple[float, ...]:
    """The logits, rounded to a dtype."""
    return tuple(np.array(logits).astype(FORMATS[dtype].dtype).astype(np.float64).tolist())
