"""From rows to enclosures: which arithmetic a mechanism takes, with how many bits, and how roundings are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Arithmetic
from kernelproof.reference.arithmetic.arb import ARB
from kernelproof.reference.arithmetic.mp import MPMATH
from kernelproof.reference.arithmetic.rational import RATIONAL
from kernelproof.reference.enclosure import NO_VALUE, Block, Enclosure
from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import Format
from kernelproof.reference.mass import exact_power, mass_sign, power_sum_is_one
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Mechanism
from kernelproof.reference.rows import Row
from kernelproof.reference.weighting import EMPTY, RowTruth, effective, weigh

PRECISION = 96
"""Default working bits of a first solve: enough for most roundings to float64, refined where not."""

RATIONAL_ORDERS = 64
"""Integer orders up to which midpoints are decided in exact arithmetic."""

EMPTY_CHOICES = ("raise", "zeros", "nan", "uniform", "nearest")


def choose(arithmetic: str, mechanism: Mechanism, *, logarithms: bool = False) -> Arithmetic:
    """The arithmetic called `arithmetic` for a mechanism; certified weights of order 1 and 0 are exact rationals.

    Raises:
        DomainError: neither "arb" nor "mpmath".
    """
    if arithmetic == "mpmath":
        return MPMATH
    if arithmetic != "arb":
        msg = f"arithmetic must be 'arb' or 'mpmath'; got {arithmetic!r}"
        raise DomainError(msg)
    kernel, rule, _ = effective(mechanism)
    shared = isinstance(rule, Anchored) and kernel.order == INFINITY
    rational = kernel.order in {0, 1} or shared
    return RATIONAL if rational and not logarithms else ARB


def working_bits(bits: int, mechanism: Mechanism) -> int:
    """Bits to work with for `bits` in a weight: u^n loses log2 n of them."""
    order = mechanism.kernel.order
    extra = math.ceil(math.log2(order)) if isinstance(order, Fraction) and order > 1 else 0
    return bits + extra + 8


def cap_bits(mechanism: Mechanism) -> Callable[[Format], int]:
    """The precision cap of Ziv's loop, ``(|e_min| + p)/min(n, 1)`` bits (THEORY 4)."""
    order = mechanism.kernel.order
    least = min(order, Fraction(1)) if order else Fraction(1)

    def cap(target: Format) -> int:
        return math.ceil((target.precision - target.emin) / least) + 64

    return cap


def is_integer_order(mechanism: Mechanism) -> bool:
    """Whether "both neighbours" may not be said: every rounding of an integer order is decided."""
    order = mechanism.kernel.order
    return isinstance(order, Fraction) and order.denominator == 1


@dataclass(frozen=True)
class Solver:
    """A mechanism, an arithmetic and what to do with an empty row: solves rows, again with more bits on demand."""

    mechanism: Mechanism
    arithmetic: Arithmetic
    empty: str = "nan"

    def __post_init__(self) -> None:
        if self.empty not in EMPTY_CHOICES:
            msg = f"empty must be one of {', '.join(EMPTY_CHOICES)}; got {self.empty!r}"
            raise DomainError(msg)

    def solve(self, row: Row, bits: int, where: str = "row") -> RowTruth:
        """The row's weights with `bits` good bits; an empty ball filled as `empty` says.

        Raises:
            DomainError: the row is empty and ``empty="raise"``.
        """
        with self.working(bits):
            truth = weigh(self.arithmetic, row, self.mechanism)
        if not truth.empty:
            return truth
        if self.empty == "raise":
            msg = f"{where} has nothing to attend to: no key, or an empty ball; pass empty='zeros', 'nan', ..."
            raise DomainError(msg)
        count = {"uniform": len(row.keys), "nearest": row.tied}.get(self.empty, 0)
        if count:
            with self.working(bits):
                each = self.arithmetic.number(1) / self.arithmetic.number(count)
            none = EMPTY.boundary
            return RowTruth(row.keys[:count], [each] * count, [], [], row.gaps(count), None, none, empty=True)
        return EMPTY

    def working(self, bits: int) -> Any:
        """The working precision for `bits` good bits."""
        return self.arithmetic.working(working_bits(bits, self.mechanism))

    @property
    def hole(self) -> Any:
        """What stands in a row that has no weights: 0 or NaN."""
        return Fraction(0) if self.empty == "zeros" else NO_VALUE

    def block(
        self,
        positions: NDArray[np.intp],
        compute: Callable[[int], Sequence[Any]],
        bits: int,
        compare: Callable[[int, Fraction], int | None] | None = None,
    ) -> Block:
        """The block at `positions` of the values that `compute` gives, with its refinement."""
        values = compute(bits)
        exact = all(isinstance(value, Fraction) or value is NO_VALUE for value in values)
        return Block(
            positions,
            values,
            None if exact or not self.arithmetic.certified else compute,
            compare,
            cap_bits(self.mechanism),
            both=not (is_integer_order(self.mechanism) and compare is not None),
        )

    def publish(self, values: Iterable[Any], bits: int) -> list[Any]:
        """Values as Fractions or balls."""
        with self.working(bits):
            return [self.arithmetic.publish(value) for value in values]

    def weight_block(self, row: Row, truth: RowTruth, positions: NDArray[np.intp], bits: int) -> Block:
        """The weights of one solved row, at the flat positions of its keys."""
        if not len(truth.keys):
            return Block(positions, [self.hole] * len(positions))
        first = self.publish(truth.weights, bits)

        def compute(more: int) -> Sequence[Any]:
            return first if more == bits else self.publish(self.solve(row, more).weights, more)

        return self.block(positions[truth.keys], compute, bits, midpoint_test(row, truth, self.mechanism))

    def enclosure(self, shape: tuple[int, ...], blocks: Iterable[Block]) -> Enclosure:
        """The array of these blocks."""
        return Enclosure(shape, tuple(blocks), self.arithmetic.certified)


def midpoint_test(row: Row, truth: RowTruth, mechanism: Mechanism) -> Callable[[int, Fraction], int | None]:
    """(i, rational μ) -> sign of weight i minus μ, exactly, or None where only more bits can tell."""
    kernel, rule, kept = effective(mechanism)
    order = kernel.order
    if kept is not None:
        row = row.first(kept)

    @cache
    def rational() -> Sequence[Fraction]:
        with RATIONAL.working(0):
            return weigh(RATIONAL, row, mechanism).weights

    def compare(i: int, middle: Fraction) -> int | None:
        if all(gap == 0 for gap in truth.gaps):
            return _sign(Fraction(1, len(truth.keys)) - middle)
        if not isinstance(order, Fraction):
            # By Lindemann–Weierstrass a softmax weight is rational only in a row of ties: more bits decide.
            return None
        if not isinstance(rule, Adaptive):
            small = order.denominator == 1 and order <= RATIONAL_ORDERS
            return _sign(rational()[i] - middle) if small else None
        gaps = [Fraction(gap) * rule.exact for gap in row.gaps(row.within(order / rule.exact))]
        root = exact_power(middle, 1 / order)
        if root is not None:
            gamma = gaps[i] + order * root
            return -mass_sign([(gamma - gap) / order for gap in gaps if gap < gamma], order)
        if order.denominator == 1 and order <= RATIONAL_ORDERS:
            offsets = [(gaps[i] - gap) / order for gap in gaps]
            above = [delta for delta in offsets if delta >= 0 or middle > (-delta) ** order.numerator]
            return 0 if power_sum_is_one(above, middle, order.numerator) else None
        return None

    return compare


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)
