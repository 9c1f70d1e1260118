"""Arithmetics: the numbers in which every op is written once.

`arb` gives balls that provably hold the exact number; `rational` is exact; `mpmath` is the independent
second opinion, which solves the mass equation by bisection from its definition.
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
"""An exact input: a float64, taken for the number it is, or a Fraction."""


@dataclass(frozen=True)
class MassRoot:
    """The root of the mass equation of one row, ``Σ [(γ − d_j)/n]₊^n = 1``.

    Attributes:
        size: how many of the sorted gaps are in the support.
        boundary: how many further ones lie exactly at the threshold.
        gamma: γ, in the unit of the gaps.
        bases: u_j = (γ − d_j)/n of the support, so that p_j = u_j^n.
    """

    size: int
    boundary: int
    gamma: Any
    bases: list[Any]


class Arithmetic(Protocol):
    """Numbers with + − × ÷ and these operations; `precision` is set inside `with working(bits)`."""

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
        """The sum, 0 for none."""

    def adaptive(self, gaps: Sequence[Exact], guide: NDArray[np.float64], order: Fraction) -> MassRoot:
        """The root of the mass equation for `gaps` sorted ascending from 0; `guide` is them in float64, as a hint."""

    def publish(self, value: Any) -> Any:
        """The value as a Fraction or an `arb` ball for an Enclosure."""
