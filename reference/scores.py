"""Exact scores of queries and keys: binary floats have exact dot products, so supports can be decided exactly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from flint import fmpz_mat
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def exact_scores(q: Floats, k: Floats, scale: Fraction, *, distance: bool) -> list[list[Fraction]]:
    """``scale·q·k``, or ``−scale·‖q − k‖²/2`` if `distance`, as T lists of m Fractions.

    Args:
        q: (T, d) finite floats.
        k: (m, d) finite floats.
        scale: factor of the scores.
        distance: which of the two formulas.

    >>> exact_scores(np.array([[1.0, 2.0]]), np.array([[3.0, 0.5]]), Fraction(1), distance=True)
    [[Fraction(-25, 8)]]
    """
    unit = max(_denominator(q), _denominator(k))
    left, right = _integers(q, unit), _integers(k, unit)
    if not q.shape[1] or not len(right) or not len(left):
        return [[Fraction(0)] * len(right) for _ in left]
    products = (fmpz_mat(left) * fmpz_mat(right).transpose()).tolist()
    factor = scale / unit**2
    if not distance:
        return [[int(product) * factor for product in row] for row in products]
    left_norms = [sum(x * x for x in row) for row in left]
    right_norms = [sum(x * x for x in row) for row in right]
    half = -factor / 2
    return [
        [(a + b - 2 * int(product)) * half for b, product in zip(right_norms, row, strict=True)]
        for a, row in zip(left_norms, products, strict=True)
    ]


def _denominator(values: Floats) -> int:
    """The least power of two that makes every value an integer."""
    nonzero = values[values != 0]
    if not nonzero.size:
        return 1
    mantissa, exponent = np.frexp(nonzero)
    integer = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.frexp((integer & -integer).astype(np.float64))[1] - 1
    lowest = int((exponent - 53 + trailing).min())
    return 1 << max(-lowest, 0)


def _integers(values: Floats, unit: int) -> list[list[int]]:
    return [[num * (unit // den) for num, den in map(float.as_integer_ratio, row)] for row in values.tolist()]
