"""The figures of a paper besides convergence: kernels, two logits, supports, balls, attention maps, Lorenz curves.

Weights, thresholds and supports come from the certified reference, correctly rounded to float64; nothing here is a
claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from types import MappingProxyType
from typing import Any

import numpy as np

from kernelproof.reference import Adaptive, Kernel, entmax, weights
from kernelproof.reference.record import Record
from kernelproof.theory.convergence import axis, data

Order = Fraction | int | float
Cell = float | str
BETA = Fraction(2)
"""β for the plane of keys: σ² = 1/2 for keys drawn from N(0, 1)."""
TOKENS = 32
LORENZ: tuple[Order, ...] = (Fraction(1, 2), 1, 2, 3, 8, inf)
MAPS: tuple[Order, ...] = (1, 2, 3, inf)
BALLS = (1, 3)
QUERY = (0.75, -0.25)


class PictureRecord(Record):
    """The numbers of one picture, as a table."""

    slug: str
    title: str
    says: str
    columns: list[str]
    rows: list[list[Cell]]

    def column(self, name: str) -> list[Cell]:
        """All cells of one column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A picture: what it shows, and how its numbers are computed."""

    slug: str
    title: str
    says: str
    columns: tuple[str, ...]
    rows: Callable[[int], list[list[Cell]]]

    def record(self, seed: int) -> PictureRecord:
        """The numbers of the picture."""
        names = list(self.columns)
        return PictureRecord(slug=self.slug, title=self.title, says=self.says, columns=names, rows=self.rows(seed))


def label(order: Order) -> str:
    """An order as written in the tables.

    >>> label(Fraction(1, 2)), label(inf)
    ('1/2', 'inf')
    """
    return "inf" if order == inf else str(order)


def profile(order: Order, t: float) -> float:
    """``[1 − t/n]₊^n`` for n > 0; ``e^{−t}`` at n = ∞."""
    if order == inf:
        return math.exp(-t)
    return math.pow(max(1 - t / float(order), 0.0), float(order))


def _kernels(_: int) -> list[list[Cell]]:
    orders = (1, 2, 3, 8, 32, inf)
    grid = (np.arange(361) / 120).tolist()
    # Order 0 is given by its corners, so that its edge is vertical.
    found: list[list[Cell]] = [["h = 1", "0", x, K] for x, K in ((0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (3.0, 0.0))]
    for order in orders:
        if order != inf:
            found += [["h = 1", label(order), x, math.pow(max(1 - x * x, 0.0), order)] for x in grid]
        found += [["h^2 = 2n", label(order), x, profile(order, x * x / 2)] for x in grid]
    return found


def _rounded(row: Sequence[float], order: Order) -> list[float]:
    return list(np.asarray(entmax(list(row), order=order).weights.round("float64")).tolist())


def _two_logits(_: int) -> list[list[Cell]]:
    orders: tuple[Order, ...] = (Fraction(1, 4), Fraction(1, 2), 1, 2, 3, 8, inf)
    grid = (np.arange(-128, 129) / 32).tolist()
    return [[label(order), t, _rounded([t, 0.0], order)[0]] for order in orders for t in grid]


def _real_rows(place: int, seed: int, count: int) -> list[list[float]]:
    """Logits of some rows of a layer."""
    layer, numbers = data.layers()[place], data.generator(seed, 6, place)
    heads, tokens, _ = layer.q.shape
    picked = [(int(numbers.integers(heads)), int(numbers.integers(tokens))) for _ in range(count)]
    return [layer.logits(head, np.array([query], dtype=np.intp))[0].tolist() for head, query in picked]


def _sizes(rows: list[list[float]], order: Order, factor: float) -> list[Cell]:
    """Mean, smallest and largest exact support."""
    sizes = [int(entmax([factor * z for z in row], order=order, precision=64).support.sum()) for row in rows]
    return [sum(sizes) / len(sizes), float(min(sizes)), float(max(sizes))]


def _support(seed: int) -> list[list[Cell]]:
    found: list[list[Cell]] = []
    for place, layer in enumerate(data.layers()):
        rows = _real_rows(place, seed, 12)
        for k in range(-4, 13):
            n = Fraction(2) ** (k // 2) * (Fraction(3, 2) if k % 2 else 1)
            found.append(["order", f"layer {layer.index}", float(n), *_sizes(rows, n, 1.0)])
    rows = _real_rows(1, seed, 12)
    # Powers of 2 scale the logits exactly.
    scales = [2.0**k for k in range(-8, 9)]
    found += [["beta", f"n = {n}", scale, *_sizes(rows, n, scale)] for n in (1, 2, 3, 8) for scale in scales]
    return found


def keys(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The keys of the plane, (24, 2)."""
    return data.drawn(data.generator(seed, 7), (24, 2), 1.0)


def bandwidth(points: np.ndarray[Any, np.dtype[np.float64]], q: Sequence[float], n: int) -> float:
    """h(q) of the adaptive rule at order n, from the certified threshold: ``h² = −2nτ/β``."""
    distances = ((points - np.array(q)) ** 2).sum(axis=1)
    tau = weights((-distances / 2).tolist(), Kernel(n), Adaptive(BETA), precision=64).threshold.round("float64")
    return math.sqrt(-2 * n * float(tau) / float(BETA))


def _ball(seed: int) -> list[list[Cell]]:
    points = keys(seed)
    found: list[list[Cell]] = [["key", "", x, y, ""] for x, y in points.tolist()]
    grid = np.linspace(-2.5, 2.5, 61).tolist()
    for n in BALLS:
        found.append(["query", str(n), *QUERY, bandwidth(points, QUERY, n)])
        found += [["grid", str(n), x, y, bandwidth(points, (x, y), n)] for y in grid for x in grid]
    return found


def _maps(seed: int) -> list[list[Cell]]:
    layer = data.layers()[0]
    head = int(data.generator(seed, 8).integers(layer.q.shape[0]))
    logits = layer.logits(head, np.arange(TOKENS))[:, :TOKENS]
    return [
        [label(order), float(head), float(at), float(key), weight]
        for order in MAPS
        for at, row in enumerate(logits.tolist())
        for key, weight in enumerate(_rounded(row, order))
    ]


def _lorenz(seed: int) -> list[list[Cell]]:
    row = _real_rows(0, seed, 1)[0]
    found: list[list[Cell]] = []
    for order in LORENZ:
        total = 0.0
        found.append([label(order), 0.0, 0.0])
        for count, weight in enumerate(sorted(_rounded(row, order), reverse=True), 1):
            total += weight
            found.append([label(order), float(count), total])
    return found


_ALL = (
    Picture(
        "kernels",
        "Kernels",
        r"The kernels of order $n$: at a fixed bandwidth $h=1$ they narrow to a spike as $n$ grows; with "
        r"$h^2=2n\sigma^2$, $\sigma=1$, they become the Gaussian.",
        ("panel", "n", "x", "K"),
        _kernels,
    ),
    Picture(
        "two-logits",
        "Two logits",
        r"The first weight of $\alpha$-entmax of the logits $(t,0)$, $\alpha=1+1/n$: a step that gets softer as $n$ "
        r"grows; it is 0 or 1 for $|t|\ge n$, and the logistic function at $n=\infty$.",
        ("n", "t", "weight"),
        _two_logits,
    ),
    Picture(
        "support",
        "Support",
        r"Keys of positive weight, of 128, decided exactly: mean over 12 rows of real attention, and the smallest and "
        r"largest. The support only grows with the order $n$ and shrinks with the inverse temperature $\beta$.",
        ("panel", "series", "x", "mean", "least", "most"),
        _support,
    ),
    Picture(
        "ball",
        "The ball that attention looks into",
        r"The bandwidth $h(q)$ of $\alpha$-entmax as kernel regression over a plane of 24 keys, $\beta=2$: the ball "
        r"around one query holds exactly the keys of positive weight; it is larger where keys are far, and at the "
        r"higher order.",
        ("what", "n", "x", "y", "h"),
        _ball,
    ),
    Picture(
        "attention-maps",
        "Attention maps",
        r"One head of all-MiniLM-L6-v2 reading the opening of \emph{Pride and Prejudice}: weights of the first 32 "
        r"tokens at orders $n=1$ (sparsemax), 2, 3 and $\infty$ (softmax). White is exactly 0.",
        ("n", "head", "query", "key", "weight"),
        _maps,
    ),
    Picture(
        "lorenz",
        "Lorenz curves",
        r"The share of the largest $k$ weights of one row of real attention: curves of lower order lie above, because "
        r"$\mathrm{entmax}_n(z)$ majorizes $\mathrm{entmax}_{n'}(z)$ for $n<n'$.",
        ("n", "k", "share"),
        _lorenz,
    ),
    Picture(
        "axis",
        "One axis for all orders",
        r"Five logits $z$ under $\alpha$-entmax, $\alpha=1+1/n$, from heavy tails at $1/n<0$ over softmax at "
        r"$1/n=0$ to "
        r"sparsemax at $1/n=1$. (a) Every weight passes softmax with one slope; dotted: the first-order terms. (b) The "
        r"distance from softmax has the same rate on both sides: for every real $|n|\ge 64$, positive or "
        r"negative, it is "
        r"proved to be $0.3556/|n|$ up to $1.42/n^{2}$; dotted: that term.",
        ("what", "z", "1/n", "value"),
        axis.rows,
    ),
)
PICTURES: MappingProxyType[str, Picture] = MappingProxyType({picture.slug: picture for picture in _ALL})
"""Every picture, by its slug."""
