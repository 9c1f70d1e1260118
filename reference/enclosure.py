"""Enclosures: arrays of numbers known to lie in intervals, refined on demand, and rounded only with proof.

An array is zero except for its blocks. A block is the result of one solve (a row of weights, an output row, a
gradient): values as `arb` balls or exact `Fraction`s, a function that computes them again with more bits, and, where
the mathematics allows it, an exact comparison with a rational number. Rounding is Ziv's loop: more bits until both
ends round alike, then the exact comparison decides a midpoint.

Source: A. Ziv, Fast evaluation of elementary mathematical functions with correctly rounded last bit,
ACM TOMS 17(3), 1991.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, cast, overload

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from kernelproof.reference.errors import UndecidedError
from kernelproof.reference.formats import FORMATS, Format, format_of

Floats = NDArray[np.float64]
ENDS_BITS = 1 << 15
SHOWN = 16
"""Numbers that the repr of an enclosure shows; it only says the shape of a larger one."""
NO_VALUE = arb("nan")
"""Marks positions without a value, such as an empty row; a ball that is NaN for lack of bits is another object."""
Number = Any
"""A ball (`flint.arb`) or an exact `Fraction`."""


@dataclass(frozen=True)
class Block:
    """Values at flat `positions` of an array, and how to refine them.

    Attributes:
        positions: flat indices, one per value.
        values: `arb` balls or `Fraction`s.
        refine: bits -> the values again, computed with that many bits; None if they cannot be refined.
        compare: (i, rational) -> the exact sign of value i minus the rational, or None if that is unknown.
        cap: format -> the largest number of bits tried for it.
        both: whether a value may be declared one of two neighbours at the cap (non-integer orders).
    """

    positions: NDArray[np.intp]
    values: Sequence[Number]
    refine: Callable[[int], Sequence[Number]] | None = None
    compare: Callable[[int, Fraction], int | None] | None = None
    cap: Callable[[Format], int] = field(default=lambda target: 4 * (target.precision - target.emin))
    both: bool = True


class LazyBlocks(Sequence[Block]):
    """Blocks that are made on first use, and kept.

    Args:
        size: how many blocks there are.
        make: number -> block.
        ready: blocks that exist already, by number.
    """

    def __init__(self, size: int, make: Callable[[int], Block], ready: dict[int, Block] | None = None) -> None:
        self.size, self.make, self.ready = size, make, dict(ready or {})

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, at: int) -> Block: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Block]: ...
    def __getitem__(self, at: int | slice) -> Block | Sequence[Block]:
        if isinstance(at, slice):
            return [self[i] for i in range(self.size)[at]]
        number = range(self.size)[at]
        if number not in self.ready:
            self.ready[number] = self.make(number)
        return self.ready[number]


@dataclass(frozen=True)
class ProvedFloats:
    """What is proved about numbers without computing their balls, by flat position.

    Attributes:
        lo: lower bounds, float64.
        hi: upper bounds, float64.
        near: correctly rounded to float64 where that is proved, else NaN.
        parts: (3, size): head, tail, radius.
        open: positions where none of this is known.
        owner: the number of the block that a position belongs to.
    """

    lo: Floats
    hi: Floats
    near: Floats
    parts: Floats
    open: NDArray[np.bool_]
    owner: NDArray[np.intp]


@dataclass(frozen=True)
class Rounding:
    """Correctly rounded values; `ambiguous` marks values proved only to be one of two neighbours."""

    values: NDArray[Any]
    ambiguous: NDArray[np.bool_]


def outer_floats(values: Sequence[Number]) -> tuple[Floats, Floats]:
    """Proved float64 bounds (lo, hi) of the values, at most two units in the last place wider than the balls."""
    count = len(values)
    middle = np.empty(count)
    wide: list[int] = []
    exact: list[int] = []
    for i, value in enumerate(values):
        middle[i] = float(value) if isinstance(value, arb) else _float(value)
        if isinstance(value, arb):
            if value.is_exact() and value == arb(middle[i]):
                exact.append(i)
            elif value.rel_accuracy_bits() < 60:
                wide.append(i)
    lo = np.nextafter(middle, -np.inf)
    hi = np.nextafter(middle, np.inf)
    lo[exact] = hi[exact] = middle[exact]
    for i in wide:
        lo[i] = np.nextafter(float(values[i].lower()), -np.inf)
        hi[i] = np.nextafter(float(values[i].upper()), np.inf)
    return lo, hi


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _round_ends(values: Sequence[Number], target: Format) -> tuple[Floats, Floats]:
    """Both ends of every value, rounded directly to `target` (held in float64)."""
    if target.precision < 53:
        lo, hi = outer_floats(values)
        lo, hi = target.round_floats(lo), target.round_floats(hi)
        for i, value in enumerate(values):
            if isinstance(value, Fraction):
                lo[i] = hi[i] = target.round_fraction(value)
        return lo, hi
    ends = np.empty((2, len(values)))
    # lower() and upper() round outward to the working precision, which must not decide the result.
    with ctx.workprec(ENDS_BITS):
        for i, value in enumerate(values):
            if isinstance(value, arb):
                ends[0, i], ends[1, i] = float(value.lower()), float(value.upper())
            else:
                ends[:, i] = _float(value)
    return ends[0], ends[1]


@dataclass(frozen=True)
class Enclosure:
    """An array of exact real numbers, each known to lie in ``[lo, hi]``.

    Attributes:
        shape: shape of the array.
        blocks: the parts that are not identically zero.
        certified: whether the intervals are proved (arb, Fraction); False for mpmath, the cross-check.
        known: what is proved without the blocks, which then cover all positions and are only made if needed.

    >>> from kernelproof.reference import entmax
    >>> entmax([0.0, 0.25], order=1).weights.round("float32").tolist()
    [0.375, 0.625]
    """

    shape: tuple[int, ...]
    blocks: Sequence[Block]
    certified: bool = True
    known: ProvedFloats | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """The shape and whether it is proved, and each number to six digits where they are few."""
        word = "proved" if self.certified else "not proved"
        if self.size > SHOWN:
            return f"Enclosure(shape={self.shape}, {word})"
        ends = zip(self.lo.ravel().tolist(), self.hi.ravel().tolist(), strict=True)
        cells = np.array([_shown(low, high) for low, high in ends], dtype=object).reshape(self.shape)
        return f"Enclosure(shape={self.shape}, {word}, {str(cells.tolist()).replace(chr(39), '')})"

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def lo(self) -> Floats:
        """Proved lower bounds, float64, in the shape of the array."""
        return self._scatter(0)

    @property
    def hi(self) -> Floats:
        """Proved upper bounds, float64, in the shape of the array."""
        return self._scatter(1)

    def _needed(self, open_: NDArray[np.bool_]) -> Enclosure:
        """The enclosure of the `open_` positions alone."""
        if self.known is None:
            return self
        wanted = np.unique(self.known.owner[open_]).tolist()
        return Enclosure(self.shape, tuple(self.blocks[i] for i in wanted), self.certified)

    def _scatter(self, which: int) -> Floats:
        if self.known is not None:
            needed = self._needed(self.known.open)
            rest = needed.hi if which else needed.lo
            mine = (self.known.lo, self.known.hi)[which].reshape(self.shape)
            return np.where(self.known.open.reshape(self.shape), rest, mine)
        out = np.zeros(self.size)
        for block in self.blocks:
            ends = outer_floats(block.values)[which]
            exact = [isinstance(v, Fraction) and _float(v) == v for v in block.values]
            out[block.positions] = np.where(exact, [_as_float(v) for v in block.values], ends)
        return out.reshape(self.shape)

    def values(self) -> NDArray[Any]:
        """The balls and Fractions themselves, as an object array."""
        out = np.full(self.size, Fraction(0), dtype=object)
        for block in self.blocks:
            for position, value in zip(block.positions, block.values, strict=True):
                out[position] = value
        return out.reshape(self.shape)

    def split(self) -> tuple[Floats, Floats, Floats]:
        """(head, tail, radius), float64: every number is within `radius` of head + tail."""
        if self.known is not None:
            rest = self._needed(self.known.open).split()
            open_ = self.known.open.reshape(self.shape)
            pairs = zip(rest, self.known.parts, strict=True)
            mixed = tuple(np.where(open_, more, part.reshape(self.shape)) for more, part in pairs)
            return cast("tuple[Floats, Floats, Floats]", mixed)
        out = np.zeros((3, self.size))
        with ctx.workprec(256):
            for block in self.blocks:
                parts = [_split(value) for value in block.values]
                if parts:
                    out[:, block.positions] = np.array(parts).T
        return cast("tuple[Floats, Floats, Floats]", tuple(part.reshape(self.shape) for part in out))

    def round(self, dtype: Any) -> NDArray[Any]:
        """The array correctly rounded to `dtype`, to nearest, ties to even.

        Args:
            dtype: float64, float32, float16, bfloat16, float8_e4m3fn or float8_e5m2.

        Raises:
            DomainError: another dtype.
            UndecidedError: a value is not separated from the midpoint of two neighbours at the precision cap of its
                block, and neither neighbour may be returned. This concerns weights of integer order, which exact
                comparisons decide unless the powers are too large to write down (a rational weight of ``Fixed`` or
                ``Anchored`` beyond about 2^16 bits; an equation of entmax above order 512), and values whose ball is
                still wider than two neighbours, or not finite, at the cap. Elsewhere (other orders, outputs, gradients,
                thresholds) the lower neighbour is returned, and `rounding` marks it.
        """
        return self.rounding(dtype).values

    def rounding(self, dtype: Any) -> Rounding:
        """`round`, with the elements proved only to be one of two neighbours."""
        target = format_of(dtype)
        if self.known is not None:
            return self._filtered(target, self.known)
        out = np.zeros(self.size)
        unsure = np.zeros(self.size, dtype=bool)
        if self.blocks:
            lo, hi = _round_ends([value for block in self.blocks for value in block.values], target)
            start = 0
            for block in self.blocks:
                stop = start + len(block.values)
                low, high = lo[start:stop], hi[start:stop]
                final = block.refine is None and block.compare is None
                if not np.array_equal(low, high, equal_nan=final):
                    low, high, unsure[block.positions] = _ziv(block, low, high, target)
                # The upper end determines the sign of a zero: a weight is never −0.
                out[block.positions] = np.where(low == 0, np.maximum(low, high), low)
                start = stop
        with np.errstate(over="ignore", invalid="ignore"):
            values = out.astype(target.dtype).reshape(self.shape)
        return Rounding(values, unsure.reshape(self.shape))

    def _filtered(self, target: Format, known: ProvedFloats) -> Rounding:
        """Round elements whose known bounds round alike, and the others by their blocks."""
        if target.precision == 53:
            values, open_ = known.near, known.open | np.isnan(known.near)
        else:
            low, high = target.round_floats(known.lo), target.round_floats(known.hi)
            values, open_ = low, known.open | (low != high)
        rest = self._needed(open_).rounding(target.name)
        out = np.where(open_, rest.values.astype(np.float64).ravel(), values)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = out.astype(target.dtype).reshape(self.shape)
        return Rounding(rounded, rest.ambiguous & open_.reshape(self.shape))

    def moved(self, flat: NDArray[np.intp], shape: tuple[int, ...]) -> Enclosure:
        """The same numbers at other positions: position i goes to ``flat[i]`` of an array of `shape`."""

        def block(i: int) -> Block:
            return replace(self.blocks[i], positions=flat[self.blocks[i].positions])

        if self.known is None:
            return Enclosure(shape, tuple(block(i) for i in range(len(self.blocks))), self.certified)
        back = np.argsort(flat)
        known = ProvedFloats(**{name: part[..., back] for name, part in vars(self.known).items()})
        return Enclosure(shape, LazyBlocks(len(self.blocks), block), self.certified, known)


def _shown(low: float, high: float) -> str:
    """Six digits of a number in [low, high], or both ends where these differ in them."""
    ends = f"{low:.6g}", f"{high:.6g}"
    zero = low <= 0 <= high and high - low < 1e-300
    return "0" if zero else ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _as_float(value: Number) -> float:
    return float(value) if isinstance(value, arb) else _float(value)


def _split(value: Number) -> tuple[float, float, float]:
    head = _as_float(value)
    if not np.isfinite(head):
        return head, 0.0, 0.0 if isinstance(value, Fraction) else float("inf")
    if isinstance(value, Fraction):
        rest = value - Fraction(head)
        tail = float(rest)
        left = abs(rest - Fraction(tail))
        # Round up, also from 0: the remainder may be below every float64.
        return head, tail, float(np.nextafter(float(left), np.inf)) if left else 0.0
    difference = value - head
    tail = float(difference)
    error = abs(difference - tail).upper()
    return head, tail, float(np.nextafter(float(error), np.inf))


def _open(low: Floats, high: Floats) -> list[int]:
    """Positions where the two ends differ or are unknown."""
    return [int(i) for i in np.flatnonzero(~(low == high))]


def _ziv(block: Block, low: Floats, high: Floats, target: Format) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    low, high = low.copy(), high.copy()
    unsure = np.zeros(len(low), dtype=bool)
    open_ = _open(low, high)
    if block.refine is None and block.compare is not None:
        near = {i for i in open_ if target.adjacent(float(low[i]), float(high[i]))}
        open_ = [i for i in open_ if i not in near or not _settle(block, i, low, high, target)]
    # At least up to 256 bits, where exact comparisons are tried.
    bits, cap = 128, max(block.cap(target), 256)
    asked: set[int] = set()
    while open_ and block.refine is not None and bits <= cap:
        values = block.refine(bits)
        low[open_], high[open_] = _round_ends([values[i] for i in open_], target)
        open_ = _open(low, high)
        if bits >= 256 and block.compare is not None:
            # Values still open between two neighbours are midpoints, or extremely close to one.
            new = [i for i in open_ if i not in asked and target.adjacent(float(low[i]), float(high[i]))]
            asked.update(new)
            settled = {i for i in new if _settle(block, i, low, high, target)}
            open_ = [i for i in open_ if i not in settled]
        bits = min(2 * bits, cap) if bits < cap else cap + 1
    for i in open_:
        if not block.both or not target.adjacent(float(low[i]), float(high[i])):
            msg = f"rounding to {target.name} is undecided at {bits // 2} bits: between {low[i]!r} and {high[i]!r}"
            raise UndecidedError(msg)
        unsure[i] = True
    return low, high, unsure


def _settle(block: Block, i: int, low: Floats, high: Floats, target: Format) -> bool:
    """Compare value i exactly with the midpoint of its two candidates; return whether that decides it."""
    compare = block.compare
    if compare is None:
        return False
    middle = target.midpoint(float(low[i]), float(high[i]))
    sign = compare(int(i), middle)
    if sign is None:
        return False
    chosen = target.round_fraction(middle) if sign == 0 else float(high[i] if sign > 0 else low[i])
    low[i] = high[i] = chosen
    return True


__all__ = ["FORMATS", "Block", "Enclosure", "LazyBlocks", "ProvedFloats", "Rounding", "outer_floats"]
