"""Rows of keys in any arithmetic: dot products, squared distances, normalized weights, and total variation.

These are plain definitions, so that a claim compares its statement with nothing but the definition. They accept
Fractions, balls, SymPy expressions and floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Vector = Sequence[Any]


def dot(x: Vector, y: Vector) -> Any:
    """``Σ x_c y_c``."""
    return sum(a * b for a, b in zip(x, y, strict=True))


def distances(q: Vector, keys: Sequence[Vector]) -> list[Any]:
    """``D_i = ‖q − k_i‖²`` for every key."""
    return [sum((a - b) ** 2 for a, b in zip(q, key, strict=True)) for key in keys]


def normalized(values: Sequence[Any]) -> list[Any]:
    """The values divided by their sum, which must not be 0."""
    total = sum(values)
    return [value / total for value in values]


def variation(p: Vector, r: Vector) -> Any:
    """The total variation ``Σ|p_i − r_i|/2``."""
    return sum(abs(a - b) for a, b in zip(p, r, strict=True)) / 2
