"""From rows to enclosures: the arithmetic for a mechanism, its working precision, and how roundings are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference import second_opinion
from kernelproof.reference.arithmetic import Arithmetic
from kernelproof.reference.arithmetic.arb import ARB
from kernelproof.reference.arithmetic.mp import MPMATH
from kernelproof.reference.arithmetic.rational import RATIONAL
from kernelproof.reference.enclosure import NO_VALUE, Block, Enclosure
from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_index
from kernelproof.reference.formats import Format
from kernelproof.reference.mass import offset_mass_sign
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Mechanism
from kernelproof.reference.rows import Row
from kernelproof.reference.weighting import RowTruth, RowVjp, effective, vjp, weigh

PRECISION = 96
"""Default bits of the first solve: enough for most roundings to float64, refined where not."""

KEPT = 256
"""A row keeps its solutions up to this many bits; one with more bits, for a rounding, is needed only once."""

LEAST_ORDER = Fraction(1, 2**20)
"""Below this order of entmax, the n-th roots of the weights have exponents too large to be worth computing."""

Compute = Callable[["Solver", int], Sequence[Any]]
"""(solver, bits) -> the values of a block, in the arithmetic of the solver."""

EMPTY_CHOICES = ("raise", "zeros", "nan", "uniform", "nearest")


def choose(arithmetic: str, mechanism: Mechanism, *, logarithms: bool = False) -> Arithmetic:
    """The arithmetic called `arithmetic` for a mechanism; certified weights of order 1 and 0 are exact rationals.

    Raises:
        DomainError: neither "arb" nor "mpmath", or an order of entmax below `LEAST_ORDER`.
    """
    kernel, rule, _ = effective(mechanism)
    if isinstance(rule, Adaptive) and 0 < kernel.order < LEAST_ORDER:
        allowed = "at least 2**-20, so alpha at most 2**20 + 1"
        msg = f"under Adaptive the order must be {allowed}; got order {shown(kernel.order)}"
        raise DomainError(msg)
    if isinstance(arithmetic, str) and arithmetic == "mpmath":
        return MPMATH
    if not isinstance(arithmetic, str) or arithmetic != "arb":
        msg = f"arithmetic must be 'arb' or 'mpmath'; got {shown(arithmetic)}"
        raise DomainError(msg)
    shared = isinstance(rule, Anchored) and kernel.order == INFINITY
    rational = kernel.order in {0, 1} or shared
    return RATIONAL if rational and not logarithms else ARB


def checked_precision(precision: Any) -> int:
    """`precision` as an int.

    Raises:
        DomainError: not an int from 2 to 2**20.
    """
    return exact_index(precision, "precision", 2, 1 << 20)


def working_bits(bits: int, mechanism: Mechanism) -> int:
    """The working precision for `bits` bits in a weight: u^n loses log2 n of them."""
    order = mechanism.kernel.order
    extra = math.ceil(math.log2(abs(order))) if isinstance(order, Fraction) and abs(order) > 1 else 0
    return bits + extra + 8


def cap_bits(mechanism: Mechanism) -> Callable[[Format], int]:
    """The precision cap of Ziv's loop, ``(|e_min| + p)/min(n, 1)`` bits (docs/theory.md §4).

    For n < 0 it is ``|e_min| + p``: no base is below 1, so that a weight loses nothing to cancellation.
    """
    order = mechanism.kernel.order
    least = min(order, Fraction(1)) if order > 0 else Fraction(1)

    def cap(target: Format) -> int:
        return math.ceil((target.precision - target.emin) / least) + 64

    return cap


def is_integer_order(mechanism: Mechanism) -> bool:
    """Whether the order is a positive integer: every rounding is decided, and "both neighbours" is not an answer."""
    order = mechanism.kernel.order
    return isinstance(order, Fraction) and order.denominator == 1 and order >= 0


@dataclass(frozen=True)
class Solver:
    """Solves rows for a mechanism in an arithmetic, with a policy for empty rows, again with more bits on demand."""

    mechanism: Mechanism
    arithmetic: Arithmetic
    empty: str = "nan"

    def __post_init__(self) -> None:
        if not isinstance(self.empty, str) or self.empty not in EMPTY_CHOICES:
            msg = f"empty must be one of {', '.join(EMPTY_CHOICES)}; got {shown(self.empty)}"
            raise DomainError(msg)

    def solve(self, row: Row, bits: int, where: str = "row") -> RowTruth:
        """The row's weights with `bits` correct bits; an empty ball is filled as `empty` says.

        "uniform" shares the weight among all unmasked keys, "nearest" among those of the largest score, even if
        `Nearest` keeps fewer. A row without unmasked keys is NaN under both.

        Raises:
            DomainError: the row is empty and ``empty="raise"``.
        """
        kernel, rule, kept = effective(self.mechanism)
        asked = (self.arithmetic.name, kernel.order, type(rule), rule.exact, kept, bits)
        truth = row.solved.get(asked)
        if truth is None:
            with self.working(bits):
                own = self.arithmetic is MPMATH
                truth = (
                    second_opinion.solve(row, self.mechanism) if own else weigh(self.arithmetic, row, self.mechanism)
                )
            if bits <= KEPT:
                # Weights, outputs and gradients of a row request the same solution one after the other.
                row.solved[asked] = truth
        if not truth.empty:
            return cast("RowTruth", truth)
        if self.empty == "raise":
            msg = f"{where} has nothing to attend to: no key, or an empty ball; pass empty='zeros', 'nan', ..."
            raise DomainError(msg)
        count = {"uniform": len(row.keys), "nearest": row.tied}.get(self.empty, 0)
        if count:
            with self.working(bits):
                each = self.arithmetic.number(1) / self.arithmetic.number(count)
            return replace(truth, keys=row.keys[:count], weights=[each] * count, gaps=row.gaps(count))
        return cast("RowTruth", truth)

    def pull(self, truth: RowTruth, cotangent: Sequence[Any], *, with_order: bool) -> RowVjp:
        """The vector-Jacobian product of a solved row, at the working precision; mpmath has one of its own."""
        if self.arithmetic is MPMATH:
            return second_opinion.pull(truth, self.mechanism, cotangent, with_order=with_order)
        return vjp(self.arithmetic, truth, self.mechanism, cotangent, with_order=with_order)

    def working(self, bits: int) -> Any:
        """A context with the working precision for `bits` correct bits."""
        return self.arithmetic.working(working_bits(bits, self.mechanism))

    @property
    def hole(self) -> Any:
        """The value in a row without weights: 0 or NaN."""
        return Fraction(0) if self.empty == "zeros" else NO_VALUE

    def block(self, positions: NDArray[np.intp], compute: Compute, bits: int) -> Block:
        """The block of values by `compute` at `positions`, which also refines them and compares them with midpoints."""
        return self._block(positions, compute, bits, self._comparison(compute))

    def _block(
        self,
        positions: NDArray[np.intp],
        compute: Compute,
        bits: int,
        compare: Callable[[int, Fraction], int | None],
        *,
        both: bool = True,
    ) -> Block:
        values = compute(self, bits)
        exact = all(isinstance(value, Fraction) or value is NO_VALUE for value in values)
        refine = None if exact or not self.arithmetic.certified else partial(compute, self)
        return Block(positions, values, refine, None if exact else compare, cap_bits(self.mechanism), both=both)

    def _comparison(self, compute: Compute) -> Callable[[int, Fraction], int | None]:
        """(i, rational μ) -> sign of value i minus μ if the value is known to be rational, else None."""

        @cache
        def exact() -> Sequence[Any]:
            return compute(replace(self, arithmetic=RATIONAL), 0)

        def compare(i: int, middle: Fraction) -> int | None:
            value = exact()[i]
            return _sign(value - middle) if isinstance(value, Fraction) else None

        return compare

    def publish(self, values: Iterable[Any], bits: int) -> list[Any]:
        """Values as Fractions or balls."""
        with self.working(bits):
            return [self.arithmetic.publish(value) for value in values]

    def weight_block(self, row: Row, truth: RowTruth, positions: NDArray[np.intp], bits: int) -> Block:
        """The weights of one solved row, at the flat positions of its keys."""
        if not len(truth.keys):
            return Block(positions, [self.hole] * len(positions))

        def compute(solver: Solver, more: int) -> Sequence[Any]:
            same = solver is self and more == bits
            return solver.publish((truth if same else solver.solve(row, more)).weights, more)

        rational, algebraic = self._comparison(compute), midpoint_test(row, self.mechanism)

        def compare(i: int, middle: Fraction) -> int | None:
            sign = rational(i, middle)
            return algebraic(i, middle) if sign is None else sign

        both = not is_integer_order(self.mechanism)
        return self._block(positions[truth.keys], compute, bits, compare, both=both)

    def enclosure(self, shape: tuple[int, ...], blocks: Iterable[Block]) -> Enclosure:
        """The array of these blocks."""
        return Enclosure(shape, tuple(blocks), self.arithmetic.certified)


def midpoint_test(row: Row, mechanism: Mechanism) -> Callable[[int, Fraction], int | None]:
    """(i, rational μ) -> sign of weight i of entmax minus μ, or None if only more bits can decide it.

    ``p_i > μ`` iff the mass is below 1 at the γ where p_i would be μ. By Lindemann–Weierstrass a softmax weight is
    rational only in a row of ties.
    """
    kernel, rule, kept = effective(mechanism)
    order = kernel.order
    if kept is not None:
        row = row.first(kept)

    @cache
    def above(gap: Fraction, middle: Fraction, order: Fraction) -> int | None:
        near = row.within(order / rule.exact) if order > 0 else len(row.keys)
        gaps = [Fraction(other) * rule.exact for other in row.gaps(near)]
        sign = offset_mass_sign([(gap * rule.exact - other) / order for other in gaps], middle, order)
        return None if sign is None else -sign

    def compare(i: int, middle: Fraction) -> int | None:
        if isinstance(rule, Adaptive) and isinstance(order, Fraction) and 0 < middle < 1:
            return above(Fraction(row.gaps(i + 1)[i]), middle, order)
        return None

    return compare


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)
