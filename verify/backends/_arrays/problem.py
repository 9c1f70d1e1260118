"""Regression and attention as one problem: batches of heads, a mask, and how scores are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kernelproof.verify.backends._arrays import arguments
from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends._arrays.masking import Masking, masking_of, no_mask
from kernelproof.verify.backends._arrays.policy import Plan


@dataclass(frozen=True)
class Problem:
    """Queries, keys and values, and the scores between them.

    Attributes:
        heads: the arrays, in float64.
        masking: which key each query may attend to.
        scale: factor of the scores.
        distances: whether scores are ``−scale·‖q − k‖²/2`` instead of ``scale·q·k``.
    """

    heads: arguments.Heads
    masking: Masking
    scale: float
    distances: bool

    @property
    def narrow(self) -> bool:
        """Whether the inputs have so few bits that float64 sums are as good as exact in any order."""
        return self.heads.dtype.itemsize < 8


def regression_of(q: Any, k: Any, v: Any) -> Problem:
    """The problem of `regression`.

    Raises:
        DomainError: arrays whose shapes or dtypes do not match.
    """
    heads = arguments.heads_of(q, k, v, grouped=False)
    return Problem(heads, no_mask((*heads.lead, heads.q.shape[1], heads.k.shape[1])), 1.0, distances=True)


def attention_of(
    q: Any, k: Any, v: Any, scale: Any, mask: Any, causal: Any, lengths: Any, key_norm_term: Any
) -> Problem:
    """The problem of `attention`.

    Raises:
        DomainError: an argument outside its domain.
    """
    heads = arguments.heads_of(q, k, v, grouped=True)
    factor = arguments.scale_of(scale, heads.q.shape[-1])
    shape = (*heads.lead, heads.q.shape[1], heads.k.shape[1])
    masking = masking_of(shape, mask, arguments.flag_of(causal, "causal"), lengths)
    return Problem(heads, masking, factor, arguments.flag_of(key_norm_term, "key_norm_term"))


class Sums(Protocol):
    """Sums over keys or features of (B, ·, ·) arrays; entries that are not `used` count as 0, whatever they hold."""

    def contract(self, a: Floats, b: Floats, used: Flags | None = None) -> Floats:
        """``Σ_k a[…, n, k]·b[…, e, k]`` of a (B, N, K) and b (B, E, K): (B, N, E); `used` is (B, N, K)."""

    def squared_distances(self, a: Floats, b: Floats) -> Floats:
        """``‖a_n − b_s‖²`` of a (B, N, d) and b (B, S, d): (B, N, S)."""

    def weighted_differences(self, coefficients: Floats, a: Floats, b: Floats, used: Flags) -> Floats:
        """``Σ_s c[…, n, s]·(b_s − a_n)`` of c (B, N, S), a (B, N, d), b (B, S, d): (B, N, d)."""


@dataclass(frozen=True)
class GradientSums:
    """Gradients, accumulated tile by tile.

    Attributes:
        q: (F, T, d), filled in.
        k: (B, 2, S, d), a sum and the rounding errors of its additions.
        v: (B, 2, S, e), likewise.
        orders: summands of the gradient in the order.
        parameters: summands of the gradient in the parameter of the rule.
    """

    q: Floats
    k: Floats
    v: Floats
    orders: list[float]
    parameters: list[float]

    @classmethod
    def nothing(cls, heads: arguments.Heads) -> GradientSums:
        """All zero."""
        k, v = (np.zeros((len(array), 2, *array.shape[1:])) for array in (heads.k, heads.v))
        return cls(np.zeros_like(heads.q), k, v, [], [])


@runtime_checkable
class TileCore(Protocol):
    """A row core that handles some queries itself, with its own tiles."""

    def sums(self, dtype: Any) -> Sums:
        """Its sums for inputs of a dtype."""

    def attend(self, problem: Problem, plan: Plan, y: Array) -> Flags:
        """Fill y (F, T, e) where possible; return (F, T) flags of the queries left undone."""

    def attend_back(self, problem: Problem, plan: Plan, upstream: Floats, found: GradientSums) -> Flags:
        """Add the gradients of the queries it handles to `found`; return (F, T) flags of the queries left undone."""
