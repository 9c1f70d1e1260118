"""Which keys a query may attend to, tile by tile: `causal` and `lengths` are never expanded to a T × S array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError
from kernelproof.verify.backends._arrays.arguments import as_array
from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends._arrays.rounding import DTYPES

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Masking:
    """The arguments mask, causal and lengths. F is the number of query heads over all leading axes.

    Attributes:
        shape: (..., H, T, S).
        given: the argument `mask` as a view of `shape`, bool or floating; None without one.
        causal: key j is allowed iff ``j ≤ i + S − T``.
        counts: (F,) keys from this one on are masked.
    """

    shape: tuple[int, ...]
    given: Array | None
    causal: bool
    counts: Ints

    def ends(self, head: int, rows: Ints | slice) -> Ints:
        """(n,) for each of the rows of a head, the first key that causal and lengths no longer allow."""
        queries, keys = self.shape[-2:]
        at = np.arange(queries)[rows]
        ends = np.clip(at + (keys - queries + 1), 0, keys) if self.causal else np.full(len(at), keys)
        return np.asarray(np.minimum(ends, self.counts[head]))

    def flags(self, head: int, rows: Ints | slice, end: int) -> Flags | None:
        """(n, end) which keys a bool mask allows; None without a bool mask."""
        if self.given is None or self.given.dtype != np.bool_:
            return None
        return np.ascontiguousarray(self._of(head)[rows, :end])

    def bias(self, head: int, rows: Ints | slice, end: int) -> Floats | None:
        """(n, end) what is added to the scores; None without an additive mask."""
        if self.given is None or self.given.dtype == np.bool_:
            return None
        return self._of(head)[rows, :end].astype(np.float64, order="C")

    def _of(self, head: int) -> Array:
        assert self.given is not None
        found: Array = self.given[np.unravel_index(head, self.shape[:-2])]
        return found


def no_mask(shape: tuple[int, ...]) -> Masking:
    """Every key is allowed; `shape` is (..., T, S)."""
    return Masking(shape, None, False, np.full(int(np.prod(shape[:-2], dtype=np.intp)), shape[-1]))


def masking_of(shape: tuple[int, ...], mask: Any, causal: bool, lengths: Any) -> Masking:
    """Masks of queries and keys of `shape` (..., H, T, S).

    Raises:
        DomainError: a mask that does not broadcast, or contains NaN or +inf; lengths of another shape, not ints, or
            out of range.
    """
    keys = shape[-1]
    given = None if mask is None else _given(as_array(mask, "mask"), shape)
    counts = np.full(shape[:-2], keys, dtype=np.intp)
    if lengths is not None:
        counts = np.asarray(lengths)
        if counts.shape != shape[:-3] or counts.dtype.kind not in "iu":
            msg = f"lengths must be ints of shape {shape[:-3]}; got shape {counts.shape}, dtype {counts.dtype}"
            raise DomainError(msg)
        if counts.size and (counts.min() < 0 or counts.max() > keys):
            msg = f"lengths must be from 0 to {keys}; got {counts.min()} to {counts.max()}"
            raise DomainError(msg)
        counts = np.broadcast_to(counts[..., None].astype(np.intp), shape[:-2])
    return Masking(shape, given, causal, counts.reshape(-1))


def _given(given: Array, shape: tuple[int, ...]) -> Array:
    if given.dtype != np.bool_ and given.dtype.name not in DTYPES:
        msg = f"mask must be bool (True: may attend) or floating (added to the scores); got dtype {given.dtype}"
        raise DomainError(msg)
    try:
        fits = np.broadcast_shapes(given.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        msg = f"mask must broadcast to (..., H, T, S) = {shape}; got shape {given.shape}"
        raise DomainError(msg)
    if given.dtype != np.bool_:
        # Checked before broadcasting, and in float64, where NaN and inf of the narrow types are distinguished.
        bad = np.isnan(given) | (given == np.inf)
        if bad.any():
            msg = "mask must be finite or -inf everywhere, where it is added to the scores; got NaN or +inf in it"
            raise DomainError(msg)
    return np.broadcast_to(given, shape)
