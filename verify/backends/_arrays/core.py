"""The interface between the array layer and a row core: the law of a row, and what a core returns.

A core sees float64 rows whose scores are finite, or −inf for a masked key. The array layer handles NaN and +inf, casts,
and decides what an empty row becomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel

Array = NDArray[Any]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Kind = Literal["fixed", "anchored", "adaptive"]

KINDS: tuple[Kind, ...] = ("fixed", "anchored", "adaptive")
PARAMETERS: dict[Kind, str] = {"fixed": "h", "anchored": "gamma", "adaptive": "beta"}
# Orders nearer to 0 than this, and not 0, are replaced by it, so that 1/n is a float64.
SMALLEST_ORDER = 1e-300


@dataclass(frozen=True)
class Law:
    """The kernel and the bandwidth rule of a row, as float64.

    Attributes:
        kind: which rule.
        order: n in (-inf, inf]; below -1 or from 0 on for adaptive rows.
        parameter: h, gamma or beta.
    """

    kind: Kind
    order: float
    parameter: float


@dataclass(frozen=True)
class WeightedRows:
    """Weights of R rows of m keys, and the by-products of the ratio form.

    Attributes:
        weights: (R, m) float64, each row summing to 1; 0 in an empty row.
        support: (R, m) keys with ``d_i < γ`` (all unmasked keys at order ∞ and at negative orders).
        reach: (R,) γ in the unit of scores, times beta under Adaptive; negative at negative orders, inf at order ∞.
        log_normalizer: (R,) ``log Σ [1 − d_i/γ]₊^n``; −inf in an empty row.
        empty: (R,) the ball holds no key, or at a negative order γ is not negative.
    """

    weights: Floats
    support: Flags
    reach: Floats
    log_normalizer: Floats
    empty: Flags


@dataclass(frozen=True)
class RowGradients:
    """Vector-Jacobian products of R rows.

    Attributes:
        scores: (R, m) float64.
        order: (R,) in n; 0 at order ∞.
        alpha: (R,) in α = 1 + 1/n, Adaptive only (0 otherwise).
        parameter: (R,) in h, gamma or beta.
    """

    scores: Floats
    order: Floats
    alpha: Floats
    parameter: Floats


class RowCore(Protocol):
    """The arithmetic of rows; neither method changes its arguments."""

    def forward(self, scores: Floats, law: Law) -> WeightedRows:
        """Weights of (R, m) scores."""

    def backward(self, scores: Floats, cotangent: Floats, law: Law) -> RowGradients:
        """Vector-Jacobian product with a (R, m) cotangent; never called at order 0."""


@runtime_checkable
class DirectCore(Protocol):
    """A core that takes the arrays of the plain case as given, without the copies of the array layer."""

    def direct(self, scores: Array, law: Law) -> Array:
        """Adaptive weights of float32 or float64 (R, m) scores at an order n > 0 or n < −1, in their dtype.

        The scores may hold NaN and +inf: such rows, and rows of −inf alone, become NaN.
        """


@runtime_checkable
class DirectVjpCore(Protocol):
    """A core that takes the arrays of a plain vector-Jacobian product as given."""

    def direct_vjp(self, scores: Array, cotangent: Array, law: Law, wanted: bool) -> tuple[Array, Floats, Flags]:
        """The vector-Jacobian product of Adaptive rows, n > 0; both arrays are (R, m) of one dtype, float32 or float64.

        Returns:
            (R, m) gradients in the scores, in their dtype; (R,) in α, 0 unless `wanted`; (R,) flags of the rows left
            undone, whose numbers are meaningless.
        """


@runtime_checkable
class ProvedCore(Protocol):
    """A core that returns float32 weights proved to be correctly rounded."""

    def proved(self, scores: Array, order: Any) -> Array:
        """Adaptive weights, beta 1, of float32 (R, m) scores at an exact order n > 0; NaN as in DirectCore.

        Raises:
            UndecidedError: at a non-integer order, a weight is too near a midpoint.
        """


def law_of(kernel: Kernel, rule: Fixed | Anchored | Adaptive) -> Law:
    """The law in float64; a rational order is rounded once, which loses less than rounding each score would."""
    try:
        order = float(kernel.order)
    except OverflowError:
        order = float("inf")
    if kernel.order > 0:
        order = max(order, SMALLEST_ORDER)
    elif kernel.order < 0 and order < np.inf:
        order = min(order, -SMALLEST_ORDER)
    return Law(kind_of(rule), order, float(rule.exact))


def kind_of(rule: Fixed | Anchored | Adaptive) -> Kind:
    """Which rule it is."""
    return "fixed" if isinstance(rule, Fixed) else "anchored" if isinstance(rule, Anchored) else "adaptive"
