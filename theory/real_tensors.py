"""What the theory says about real attention: all-MiniLM-L6-v2 reading the opening of "Pride and Prejudice".

The logits of a row are computed in float64 from the float32 tensors and then taken as exact; weights and supports come
from the certified reference, correctly rounded, so that rounding limits no study.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §1 and §3 (M1, L2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference import entmax

Floats = NDArray[np.float64]
Order = Fraction | int | float
FILE = "minilm_l6_v2_qkv.npz"
SPARSITY_ORDERS: tuple[Order, ...] = (Fraction(1, 2), 1, 2, 3, 8, 64, inf)
TERM_ORDERS: tuple[Order, ...] = (1, 2, inf)
LIMIT_ORDERS: tuple[int, ...] = tuple(2**k for k in range(21))
FIT_FROM = 2**10


@dataclass(frozen=True)
class Layer:
    """Queries, keys and values of one layer, float32, each (heads, tokens, head size); not yet scaled."""

    index: int
    q: NDArray[np.float32]
    k: NDArray[np.float32]
    v: NDArray[np.float32]

    @property
    def beta(self) -> float:
        """``1/√d``, the scale of attention, in float64."""
        return 1 / sqrt(self.q.shape[-1])

    def logits(self, head: int, queries: NDArray[np.intp], *, key_norm_term: bool = False) -> Floats:
        """``β q·k``, or ``β(q·k − ‖k‖²/2)`` with the term, in float64, of shape (queries, keys)."""
        keys = self.k[head].astype(np.float64)
        dots: Floats = self.q[head, queries].astype(np.float64) @ keys.T
        if key_norm_term:
            dots = dots - (keys * keys).sum(axis=-1) / 2
        return self.beta * dots


def load() -> tuple[Layer, ...]:
    """The layers of the real tensors that ship with the package, in order."""
    file = resources.files("kernelproof.reference").joinpath("data", FILE)
    with file.open("rb") as stream, np.load(stream) as arrays:
        indices = sorted({int(name[5:-2]) for name in arrays.files if name.startswith("layer")})
        return tuple(Layer(i, *(arrays[f"layer{i}_{part}"] for part in "qkv")) for i in indices)


@dataclass(frozen=True)
class KeyNorms:
    """How far ‖k‖ is from constant in one head: mean and standard deviation over its keys, spread = std/mean."""

    layer: int
    head: int
    mean: float
    std: float

    @property
    def spread(self) -> float:
        """``std/mean``; 0 if all keys have the same norm, in which case ‖k‖² drops out of the weights."""
        return self.std / self.mean


@dataclass(frozen=True)
class TermCost:
    """Mean total variation, over query rows of a head, between weights with and without the ‖k‖² term."""

    layer: int
    head: int
    order: Order
    rows: int
    total_variation: float


@dataclass(frozen=True)
class Sparsity:
    """How many of `keys` have weight at one order: the mean exact support, and the mean effective number ``1/Σp²``."""

    layer: int
    order: Order
    rows: int
    keys: int
    support: float
    effective: float


@dataclass(frozen=True)
class Distance:
    """Mean distance of the weights of order n from softmax: total variation and KL(entmax_n ‖ softmax) in nats."""

    layer: int
    order: int
    rows: int
    total_variation: float
    divergence: float


@dataclass(frozen=True)
class LimitFit:
    """How one distance decreases as n grows: the log-log slope, and ``distance · n^−slope`` at the largest n.

    `slope_theory` and `constant_theory` are those of L2: total variation ``Σ p_i|E − ℓ_i²|/(4n)`` and
    KL divergence ``Var_p(ℓ²)/(8n²)``, both averaged over the same rows.
    """

    layer: int
    distance: str
    slope: float
    slope_theory: int
    constant: float
    constant_theory: float


def total_variation(p: Floats, q: Floats) -> Floats:
    """``Σ|p_i − q_i|/2`` along the last axis."""
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)


def divergence(p: Floats, q: Floats) -> Floats:
    """``KL(p‖q) = Σ p_i log(p_i/q_i)`` in nats along the last axis, for q > 0.

    Computed as ``Σ [p log(p/q) − (p − q)]``, whose terms are positive, so that p ≈ q loses no digits to cancellation.
    """
    ratio = (p - q) / q
    near = ratio > -0.5
    logs = np.log1p(ratio, where=near, out=np.zeros_like(p))
    np.log(p / q, where=~near & (p > 0), out=logs)
    return np.asarray((p * logs - (p - q)).sum(axis=-1))


def effective_number(p: Floats) -> Floats:
    """``1/Σ p_i²`` along the last axis: the number of equal weights that would be as concentrated."""
    return np.asarray(1 / (p * p).sum(axis=-1))


def _weights(z: Floats, order: Order) -> Floats:
    return np.asarray(entmax(z, order=order).weights.round("float64"), dtype=np.float64)


def _sample(layer: Layer, seed: int, rows: int) -> Floats:
    """Logits (rows, keys) of `rows` different (head, query) pairs of a layer, drawn with `seed`."""
    heads, tokens, _ = layer.q.shape
    drawn = np.random.default_rng([seed, layer.index]).choice(heads * tokens, size=rows, replace=False)
    return np.concatenate([layer.logits(pair // tokens, np.array([pair % tokens])) for pair in drawn])


def key_norms(layers: Sequence[Layer]) -> list[KeyNorms]:
    """‖k‖ over all keys of every head; C2 needs it constant, and it is not."""
    found = []
    for layer in layers:
        norms = np.linalg.norm(layer.k.astype(np.float64), axis=-1)
        found += [KeyNorms(layer.index, head, float(row.mean()), float(row.std())) for head, row in enumerate(norms)]
    return found


def term_cost(layers: Sequence[Layer], *, seed: int = 0, rows: int = 3) -> list[TermCost]:
    """The effect of leaving out ‖k‖² on `rows` queries of every head, drawn with `seed`."""
    found = []
    for layer in layers:
        heads, tokens, _ = layer.q.shape
        generator = np.random.default_rng([seed, layer.index])
        queries = [generator.choice(tokens, size=rows, replace=False) for _ in range(heads)]
        without = np.concatenate([layer.logits(head, at) for head, at in enumerate(queries)])
        within = np.concatenate([layer.logits(head, at, key_norm_term=True) for head, at in enumerate(queries)])
        for order in TERM_ORDERS:
            moved = total_variation(_weights(without, order), _weights(within, order)).reshape(heads, rows)
            found += [TermCost(layer.index, head, order, rows, float(row.mean())) for head, row in enumerate(moved)]
    return found


def sparsity(layers: Sequence[Layer], *, seed: int = 0, rows: int = 32) -> list[Sparsity]:
    """How sparse each order is, on `rows` seeded rows of every layer; supports are exact, not nonzero floats."""
    found = []
    for layer in layers:
        z = _sample(layer, seed, rows)
        for order in SPARSITY_ORDERS:
            result = entmax(z, order=order)
            effective = effective_number(np.asarray(result.weights.round("float64"), dtype=np.float64))
            support = np.asarray(result.support).sum(axis=-1)
            found.append(
                Sparsity(layer.index, order, rows, z.shape[-1], float(support.mean()), float(effective.mean()))
            )
    return found


def softmax_distance(layers: Sequence[Layer], *, seed: int = 0, rows: int = 8) -> tuple[list[Distance], list[LimitFit]]:
    """How n → ∞ approaches softmax, on `rows` seeded rows of every layer, with the slopes from n = 2^10 on."""
    distances: list[Distance] = []
    limits: list[LimitFit] = []
    for layer in layers:
        z = _sample(layer, seed, rows)
        softmax = _weights(z, inf)
        found = []
        for order in LIMIT_ORDERS:
            p = _weights(z, order)
            variation, kl = float(total_variation(p, softmax).mean()), float(divergence(p, softmax).mean())
            found.append(Distance(layer.index, order, rows, variation, kl))
        distances += found
        limits += _limits(found, softmax)
    return distances, limits


def _limits(found: Sequence[Distance], p: Floats) -> Iterator[LimitFit]:
    squares = np.log(p) ** 2
    mean = (p * squares).sum(axis=-1, keepdims=True)
    first = float((p * np.abs(mean - squares)).sum(axis=-1).mean() / 4)
    second = float((p * (mean - squares) ** 2).sum(axis=-1).mean() / 8)
    fitted = [row for row in found if row.order >= FIT_FROM]
    n = np.array([row.order for row in fitted], dtype=np.float64)
    for name, values, power, constant in (
        ("total variation", [row.total_variation for row in fitted], 1, first),
        ("KL divergence", [row.divergence for row in fitted], 2, second),
    ):
        slope = float(np.polyfit(np.log(n), np.log(values), 1)[0])
        yield LimitFit(found[0].layer, name, slope, -power, values[-1] * float(n[-1]) ** power, constant)
