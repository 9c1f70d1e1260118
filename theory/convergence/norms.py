"""Measures of an error vector: L1, L∞, total variation and the Kullback–Leibler divergence, in balls."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from flint import arb

from kernelproof.theory.series import ball

Vector = Sequence[Any]


class Norm(StrEnum):
    """How an error is measured."""

    L1 = "L1"
    MAX = "Linf"
    VARIATION = "TV"
    DIVERGENCE = "KL"
    SIZE = "abs"

    @property
    def slope(self) -> int:
        """The slope of log error against log n as n → ∞, unless the first coefficient is 0."""
        return -2 if self is Norm.DIVERGENCE else -1

    @property
    def says(self) -> str:
        """The name of the norm, in words."""
        return _SAYS[self]


_SAYS = {
    Norm.L1: "L1 distance",
    Norm.MAX: "L∞ distance",
    Norm.VARIATION: "total variation",
    Norm.DIVERGENCE: "KL divergence",
    Norm.SIZE: "absolute difference",
}


def norm_of(norm: Norm, vector: Vector) -> arb:
    """The norm of a vector of balls; for `Norm.SIZE`, that of a scalar, given as a vector of one entry.

    Raises:
        ValueError: for the divergence, which is not a norm.
    """
    sizes = [abs(ball(each)) for each in vector]
    if norm is Norm.MAX:
        top = sizes[0]
        for size in sizes[1:]:
            top = top.max(size)
        return top
    if norm is Norm.DIVERGENCE:
        msg = "the divergence is a function of two distributions, not of their difference"
        raise ValueError(msg)
    total = sum(sizes, arb(0))
    return total / 2 if norm is Norm.VARIATION else total


def divergence(weights: Vector, limit: Vector) -> arb:
    """``KL(w ‖ p) = Σ w_i log(w_i/p_i)`` in nats over the keys with w_i > 0; p_i > 0."""
    pairs = ((ball(weight), p) for weight, p in zip(weights, limit, strict=True))
    # A key off the support has exactly the weight 0.
    return sum((w * (w / p).log() for w, p in pairs if not w.is_zero()), arb(0))
