"""Rows of scores as exact numbers: sorted gaps to the largest score, so that no rounding decides anything.

A row holds its gaps in float64, rounded to nearest, as a guide (rounding is monotone, so a float gap above a bound
proves that the exact gap is above the bound's predecessor), and computes exact gaps on request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Exact
from kernelproof.reference.audit import READS
from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.formats import FORMATS

Floats = NDArray[np.float64]
_NAMES = frozenset(FORMATS)


@dataclass(frozen=True, eq=False)
class Row:
    """The keys of one row that may be attended to, by descending score.

    Attributes:
        size: m, including masked keys.
        keys: original positions of the live keys, largest score first; ties in their original order.
        guide: their gaps in float64, ascending from 0.
        exact_score: position in `keys` -> the exact score.
        floats: whether `guide` is exact.
        solved: solutions of this row so far, by mechanism, arithmetic and precision.
    """

    size: int
    keys: NDArray[np.intp]
    guide: Floats
    exact_score: Callable[[int], Fraction]
    floats: bool
    solved: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def top(self) -> Fraction:
        """The largest score."""
        return self.exact_score(0)

    def gaps(self, count: int) -> list[Exact]:
        """The exact gaps of the first `count` live keys: floats where those are exact."""
        if self.floats:
            return list(self.guide[:count].tolist())
        return [self.top - self.exact_score(i) for i in range(count)]

    def within(self, reach: Fraction) -> int:
        """An upper bound on how many live keys have a gap of at most `reach`."""
        # Rounding is monotone: gap ≤ reach implies float(gap) ≤ float(reach); a positive guide is at least 2^-1074.
        try:
            bound = max(float(reach), 5e-324)
        except OverflowError:
            return len(self.guide)
        return int(np.searchsorted(self.guide, bound, side="right"))

    def first(self, count: int) -> Row:
        """The row of the `count` largest scores only."""
        return Row(self.size, self.keys[:count], self.guide[:count], self.exact_score, self.floats)

    @property
    def tied(self) -> int:
        """How many live keys share the largest score."""
        # A float gap is 0 only if the exact gap is: with gradual underflow, unequal floats have a nonzero difference.
        if len(self.guide) > 1 and self.guide[1] > 0:
            return 1
        return int(np.searchsorted(self.guide, 0.0, side="right"))


def float_row(scores: Floats, live: NDArray[np.bool_] | None = None) -> Row:
    """The row of float64 `scores` (m,), taken as exact; −∞ and keys that are not `live` are masked."""
    usable = scores > -np.inf if live is None else (scores > -np.inf) & live
    keys = np.flatnonzero(usable)
    keys = keys[np.argsort(-scores[keys], kind="stable")]
    ordered = scores[keys]
    if not len(keys):
        return Row(len(scores), keys, ordered, lambda i: Fraction(ordered[i]), True)
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = ordered[0] - ordered
        # Knuth's TwoSum: `error` is exactly the rounding error of the subtraction, unless something overflowed.
        back = ordered[0] - gaps
        error = (ordered[0] - (gaps + back)) + (back - ordered)
        exact = bool(np.all(error == 0.0)) and bool(np.isfinite(gaps[-1]))
    return Row(len(scores), keys, gaps, lambda i: Fraction(float(ordered[i])), exact)


def exact_row(scores: list[Fraction | None]) -> Row:
    """The row of exact `scores`, None where masked."""
    keys = [i for i, score in enumerate(scores) if score is not None]
    known: dict[int, Fraction] = {i: score for i, score in enumerate(scores) if score is not None}
    keys.sort(key=lambda i: -known[i])
    top = known[keys[0]] if keys else Fraction(0)
    guide = np.array([_to_float(top - known[i]) for i in keys], dtype=np.float64)
    return Row(len(scores), np.array(keys, dtype=np.intp), guide, lambda i: known[keys[i]], False)


def _to_float(value: Fraction) -> float:
    try:
        return float(value) or (5e-324 if value else 0.0)
    except OverflowError:
        return float("inf")


def float_array(values: Any, name: str, *, finite: bool = False, minus_infinity: bool = False) -> Floats:
    """`values` converted exactly to float64; any shape.

    Args:
        values: array-like of float64, float32, float16, bfloat16 or float8, or of ints, Fractions and Decimals that
            are exactly float64; torch tensors too.
        name: the name of the argument, for an error message.
        finite: whether infinities are outside the domain.
        minus_infinity: whether −∞ is allowed nevertheless (a mask).

    Raises:
        DomainError: a ragged array, another dtype, a number that is not exactly a float64, a NaN, or an infinity
            outside the domain; the message names its index.
    """
    sys.audit(READS, name)
    array = plain_array(values, name)
    if array.dtype == object:
        array = _exact_objects(array, name)
    elif array.dtype.kind in "iu" and bool(((array > 2**53) | (array < -(2**53))).any()):
        array = _exact_objects(array.astype(object), name)
    if array.dtype.kind not in "iu" and array.dtype.name not in _NAMES:
        msg = f"{name} must have a dtype of {', '.join(sorted(_NAMES))}; got {array.dtype}"
        raise DomainError(msg)
    out = array.astype(np.float64)
    bad = np.isnan(out)
    if finite:
        bad |= np.isposinf(out) if minus_infinity else np.isinf(out)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        allowed = "finite" + (" or -inf" if minus_infinity else "") if finite else "a number"
        msg = f"{name} must be {allowed} everywhere; got {out[index]} at index {index}"
        raise DomainError(msg)
    return out


def score_array(scores: Any, name: str) -> NDArray[np.float64]:
    """`scores` as exact float64, with at least one axis, finite or −∞.

    Raises:
        DomainError: NaN or +∞, or a scalar.
    """
    array = float_array(scores, name, finite=True, minus_infinity=True)
    if array.ndim == 0:
        msg = f"{name} must have at least one axis; got a scalar"
        raise DomainError(msg)
    return array


def plain_array(values: Any, name: str) -> NDArray[Any]:
    """`values` as a NumPy array, whatever its dtype; a tensor is detached and its floats widened, which is exact.

    Raises:
        DomainError: `values` is ragged, or cannot be converted to an array.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = (values.double() if values.is_floating_point() else values).numpy()
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        msg = f"{name} must be an array of numbers; got {shown(values)} ({str(error).splitlines()[0]})"
        raise DomainError(msg) from None


def _exact_objects(array: NDArray[Any], name: str) -> Floats:
    """Python numbers as float64, if every one of them is a float64.

    Raises:
        DomainError: an entry is not a number, or not exactly a float64; the message names its index.
    """
    out = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        number = None if isinstance(value, str | bytes) else exact_number(value, f"{name} at index {index}")
        if number is None or (isinstance(number, Fraction) and Fraction(float(number)) != number):
            msg = f"{name} must hold numbers that are exactly float64; got {shown(value)} at index {index}"
            raise DomainError(msg)
        out[index] = number
    return out
