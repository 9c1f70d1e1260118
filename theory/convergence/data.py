"""The data of the studies: random rows, planted rows, and rows of the real tensors; all are exact float64 numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.theory import real_tensors

Floats = NDArray[np.float64]
KEYS = 12
"""Keys of a random row."""


class Source(StrEnum):
    """The source of a datum."""

    RANDOM = "random"
    PLANTED = "planted"
    REAL = "real"


@dataclass(frozen=True)
class DataRow:
    """Numbers of one row, taken as exact: logits, or squared distances."""

    name: str
    source: Source
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Points:
    """One query with its keys and values: q (d,), k (m, d), v (m, e)."""

    name: str
    source: Source
    q: Floats
    k: Floats
    v: Floats

    @property
    def distances(self) -> tuple[float, ...]:
        """``‖q − k_i‖²`` in float64, then taken as exact."""
        return tuple(((self.k - self.q) ** 2).sum(axis=1).tolist())


def generator(seed: int, *place: int) -> np.random.Generator:
    """The random generator of one datum, which no other datum shares."""
    return np.random.default_rng([seed, *place])


def drawn(numbers: np.random.Generator, shape: Any, scale: float) -> Floats:
    """Draw normal numbers, rounded to multiples of 2^−10 so that they can be written down."""
    return np.asarray(np.round(scale * numbers.standard_normal(shape) * 1024) / 1024)


def rows(seed: int) -> tuple[DataRow, ...]:
    """Logits: two random rows N(0, 2²), a staircase, a near tie, equal logits, and two rows of real attention."""
    random = [
        DataRow(f"random {i + 1}", Source.RANDOM, tuple(drawn(generator(seed, 1, i), KEYS, 2.0).tolist()))
        for i in range(2)
    ]
    planted = [
        DataRow("staircase", Source.PLANTED, (0.0, -0.5, -1.0, -2.0, -4.0, -8.0, -16.0)),
        DataRow("near tie", Source.PLANTED, (3.0, 3.0 - 2.0**-10, 1.0, 0.5, 0.0, -0.5, -1.0, -6.0)),
        DataRow("ties", Source.PLANTED, (0.25,) * 6),
    ]
    real = []
    for layer, head, query in _picked(seed):
        logits = layer.logits(head, np.array([query], dtype=np.intp))[0]
        real.append(DataRow(_named(layer.index, head, query), Source.REAL, tuple(logits.tolist())))
    return (*random, *planted, *real)


def points(seed: int, *, attention: bool = False) -> tuple[Points, ...]:
    """Queries with keys and values: a random cloud, a regular design, a tied one, and two real heads.

    Args:
        seed: seed of the random numbers.
        attention: whether the tied design has equal dot products instead of equal distances.
    """
    numbers = generator(seed, 2)
    cloud = Points(
        "random cloud",
        Source.RANDOM,
        drawn(numbers, 3, 1.0),
        drawn(numbers, (KEYS, 3), 1.0),
        drawn(numbers, (KEYS, 2), 1.0),
    )
    grid = np.arange(-8.0, 9.0) / 4
    wave = np.round(np.sin(2 * grid) * 1024) / 1024
    design = Points("regular design", Source.PLANTED, np.array([0.375]), grid[:, None], wave[:, None])
    apart = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    aligned = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [1.0, 2.0]])
    query, keys = (np.array([1.0, 0.0]), aligned) if attention else (np.zeros(2), apart)
    ties = Points("ties", Source.PLANTED, query, keys, np.array([[1.0], [2.0], [-1.0], [0.5]]))
    real = [
        Points(
            _named(layer.index, head, query_at),
            Source.REAL,
            layer.q[head, query_at].astype(np.float64),
            layer.k[head].astype(np.float64),
            layer.v[head].astype(np.float64),
        )
        for layer, head, query_at in _picked(seed)
    ]
    return (cloud, design, ties, *real)


def cotangent(seed: int, count: int) -> tuple[float, ...]:
    """A fixed upstream gradient of `count` numbers."""
    return tuple(drawn(generator(seed, 3, count), count, 1.0).tolist())


@cache
def layers() -> tuple[real_tensors.Layer, ...]:
    """The real tensors, read once per process."""
    return real_tensors.load()


def _picked(seed: int) -> list[tuple[real_tensors.Layer, int, int]]:
    """A (layer, head, query) of the first layer and one of the last."""
    found = []
    for place, layer in enumerate((layers()[0], layers()[-1])):
        numbers = generator(seed, 4, place)
        heads, tokens, _ = layer.q.shape
        found.append((layer, int(numbers.integers(heads)), int(numbers.integers(tokens))))
    return found


def _named(layer: int, head: int, query: int) -> str:
    return f"layer {layer}, head {head}, query {query}"
