"""Regression and attention as one problem: batches of heads, what is masked, and how a score comes about."""

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
        scale: of the scores.
        distances: scores are ``−scale·‖q − k‖²/2``, else ``scale·q·k``.
    """

    heads: arguments.Heads
    masking: Masking
    scale: float
    distances: bool

    @property
    def narrow(self) -> bool:
        """Whether the inputs have so few bits that float64 sums in any order are as good as exact."""
        return self.heads.dtype.itemsize < 8


def regression_of(q: Any, k: Any, v: Any) -> Problem:
    """The problem of `regression`.

    Raises:
        DomainError: arrays that do not fit each other.
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
    """Sums over keys or features of (B, ·, ·) arrays; entries that are not `used` count 0, whatever they hold."""

    def contract(self, a: Floats, b: Floats, used: Flags | None = None) -> Floats:
        """``Σ_k a[…, n, k]·b[…, e, k]`` of a (B, N, K) and b (B, E, K): (B, N, E); `used` is (B, N, K)."""

    def squared_distances(self, a: Floats, b: Floats) -> Floats:
        """``‖a_n − b_s‖²`` of a (B, N, d) and b (B, S, d): (B, N, S)."""

    def weighted_differences(self, coefficients: Floats, a: Floats, b: Floats, used: Flags) -> Floats:
        """``Σ_s c[…, n, s]·(b_s − a_n)`` of c (B, N, S), a (B, N, d), b (B, S, d): (B, N, d)."""


@dataclass(frozen=True)
class GradientSums:
    """GradientSums that grow tile by tile.

    Attributes:
        q: (F, T, d), filled in.
        k: (B, 2, S, d) a sum and what its additions lost.
        v: (B, 2, S, e) the same.
        orders: summands of that in the order.
        parameters: summands of that in the parameter of the rule.
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
    """A row core that does some queries by itself, from tiles of its own."""

    def sums(self, dtype: Any) -> Sums:
        """How it sums for inputs of a dtype."""

    def attend(self, problem: Problem, plan: Plan, y: Array) -> Flags:
        """Fill y (F, T, e) where it can; (F, T) the queries that it left."""

    def attend_back(self, problem: Problem, plan: Plan, upstream: Floats, found: GradientSums) -> Flags:
        """Add the gradients of the queries that it can do to `found`; (F, T) the queries that it left."""
