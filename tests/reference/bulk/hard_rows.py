"""Rows on which a filter is likely to be wrong: near ties, kinks, midpoints, subnormals, huge gaps, offsets."""
# ruff: noqa: ARG001 -- a family takes the order whether or not it depends on it

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic.guess import guess_root

Floats = NDArray[np.float64]
ORDERS = ("1/16", "1/2", "9/10", "1", "3/2", "2", "27/10", "3", "8", "64", "10000", "100000000", "inf")


def _wide(rng: np.random.Generator, rows: int, keys: int) -> Floats:
    return rng.normal(size=(rows, keys)) * 2.0 ** rng.integers(-30, 12, (rows, 1))


def float32_normal(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    return (rng.normal(0, 2, (rows, keys))).astype(np.float32).astype(np.float64)


def float64_scales(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    return _wide(rng, rows, keys)


def near_ties(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """Each key is one of three values, some units in the last place off."""
    values = rng.normal(0, 0.5, (rows, 3))[np.arange(rows)[:, None], rng.integers(0, 3, (rows, keys))]
    return values * (1.0 + rng.integers(-2, 3, (rows, keys)) * 2.0**-52)


def ties(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    return rng.choice([0.25, 0.25, -0.5, -np.inf], (rows, keys))


def grid(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """Small multiples of a power of two: exact kinks, ties and midpoints are frequent."""
    return rng.integers(-24, 25, (rows, keys)) * 2.0 ** rng.integers(-6, 0, (rows, 1))


def kinks(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """The last key within some units in the last place of the threshold of the others."""
    out = rng.normal(0, 1, (rows, keys))
    if np.isfinite(order):
        for row in out:
            gaps = np.sort(row[:-1].max() - row[:-1])
            size, v, shift = guess_root(gaps, order)
            gamma = order - shift if order >= 1 else gaps[size - 1] + order * v
            edge = row[:-1].max() - gamma
            row[-1] = edge + rng.integers(-3, 4) * np.spacing(edge)
    return out


def midpoints(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """A power of two of keys near the top on a grid of 2^-26: sparsemax has midpoints of float32 there."""
    out = np.full((rows, keys), -8.0 * max(1.0, min(order, 1e9)))
    for row in out:
        size = 1 << int(rng.integers(0, 1 + int(np.log2(keys))))
        row[:size] = rng.integers(0, 1 << int(rng.integers(1, 24)), size) * 2.0**-26
    return out


def subnormal_weights(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """Gaps that take a softmax through the subnormals of float32 and of float64."""
    centre = rng.choice([95.0, 640.0, 655.0, 740.0, 765.0], (rows, 1))
    out = -centre + rng.normal(0, 6, (rows, keys))
    out[:, 0] = 0.0
    return out


def subnormal_logits(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    return np.where(rng.random((rows, keys)) < 0.7, rng.integers(-9, 9, (rows, keys)) * 5e-324, _wide(rng, rows, keys))


def huge_gaps(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    out = rng.normal(size=(rows, keys)) * 10.0 ** rng.integers(-320, 308, (rows, keys))
    return np.where(rng.random((rows, keys)) < 0.1, -np.inf, out)


def offsets(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    offset = 10.0 ** rng.integers(1, 17, (rows, 1)).astype(np.float64)
    return rng.normal(size=(rows, keys)) + rng.choice([-1.0, 1.0], (rows, 1)) * offset


def small_last_weight(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """Two keys n·(1 − 2^-j) apart, and others far below: the second weight is tiny."""
    out = np.full((rows, keys), -np.inf)
    reach = order if np.isfinite(order) else 600.0
    out[:, 0] = rng.normal(size=rows)
    out[:, 1] = out[:, 0] - reach * (1.0 - 2.0 ** -rng.integers(1, 50, rows))
    out[:, 2:] = out[:, :1] - reach * (1.0 + rng.random((rows, keys - 2)))
    return out


def scaled_by_order(rng: np.random.Generator, order: float, rows: int, keys: int) -> Floats:
    """Gaps of the size of n, so that the support is a part of the row at every order."""
    reach = order if np.isfinite(order) else 100.0
    return rng.normal(size=(rows, keys)) * reach * 2.0 ** rng.integers(-4, 2, (rows, 1))


FAMILIES: tuple[Callable[[np.random.Generator, float, int, int], Floats], ...] = (
    float32_normal,
    float64_scales,
    near_ties,
    ties,
    grid,
    kinks,
    midpoints,
    subnormal_weights,
    subnormal_logits,
    huge_gaps,
    offsets,
    small_last_weight,
    scaled_by_order,
)
