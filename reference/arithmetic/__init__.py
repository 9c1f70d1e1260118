"""Arithmetics: every op is written once, and runs in each of these number systems.

`arb` returns balls that provably contain the exact number; `rational` is exact; `mpmath` is an independent cross-check,
which solves the mass equation by bisection from its definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Exact = float | Fraction
"""An exact input: a float64, which stands for exactly the number it holds, or a Fraction."""


@dataclass(frozen=True)
class MassRoot:
    """The root of the mass equation of one row, ``Σ [(γ − d_j)/n]₊^n = 1``.

    Attributes:
        size: how many of the sorted gaps are in the support.
        boundary: how many further gaps lie exactly at the threshold.
        gamma: γ, in the unit of the gaps.
        bases: u_j = (γ − d_j)/n of the support, so that p_j = u_j^n.
    """

    size: int
    boundary: int
    gamma: Any
    bases: list[Any]


class Arithmetic(Protocol):
    """Numbers with + − × ÷ and these operations; the precision is set inside `with working(bits)`."""

    name: str
    certified: bool

    def working(self, bits: int) -> AbstractContextManager[Any]:
        """A context in which results carry `bits` bits; restored on exit."""

    def number(self, value: Exact | int) -> Any:
        """The exact `value` as a number of this arithmetic."""

    def power(self, base: Any, order: Fraction) -> Any:
        """``base**order`` for base ≥ 0."""

    def exp(self, value: Any) -> Any:
        """The exponential."""

    def log(self, value: Any) -> Any:
        """The natural logarithm of a positive number."""

    def total(self, values: Sequence[Any]) -> Any:
        """The sum; 0 without any values."""

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """The root of the mass equation for `gaps` ascending from 0; `guide` holds them in float64, as a hint."""

    def publish(self, value: Any) -> Any:
        """Convert the value to a Fraction or an `arb` ball for an Enclosure."""
