"""Pack rows to the keys that may have weight, unpack them again, and prefetch memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array
from kernelproof.verify.backends.numba.jit import jit
from kernelproof.verify.backends.numba.llvm import BYTES, SLACK, compress, expand, fetch, ranked, unranked, wide

AHEAD = 1 << 14  # bytes of the next row that are prefetched: a third of the first-level cache


@jit
def highest(scores: Array) -> tuple[float, bool]:
    """The largest score, and whether a NaN or +inf is among the scores, which makes the first meaningless."""
    wide()
    high = ranked(scores[0])
    low = high
    for i in range(scores.size):
        rank = ranked(scores[i])
        high, low = max(high, rank), min(low, rank)
    infinite = ranked(scores.dtype.type(np.inf))
    # NaNs with a sign rank below −inf.
    odd = high >= infinite or low < ranked(scores.dtype.type(-np.inf))
    return np.float64(unranked(high)), odd


@jit
def ask(row: Array) -> None:
    """Prefetch a row while another is being worked on."""
    for i in range(0, min(row.size, AHEAD // row.itemsize), BYTES // row.itemsize):
        fetch(row, i)


@jit
def pack(scores: Array, start: int, end: int, limit: Any, values: Array, out: Array, count: int) -> int:
    """Append the values of keys from start to end with a score above the limit to ``out[count:]``; return the count."""
    wide()
    step = BYTES // scores.itemsize
    whole = start + (end - start) // step * step
    for i in range(start, whole, step):
        count = compress(scores, i, limit, values, out, count)
    for i in range(whole, end):
        out[count] = values[i]
        count += scores[i] > limit
    return count


@jit
def unpack(scores: Array, limit: Any, packed: Array, weights: Array) -> None:
    """Spread the packed weights over the keys above the limit; the others get 0."""
    wide()
    count, step = 0, BYTES // scores.itemsize
    whole = scores.size // step * step
    for i in range(0, whole, step):
        count = expand(scores, i, limit, packed, count, weights)
    for i in range(whole, scores.size):
        inside = scores[i] > limit
        weights[i] = packed[count] if inside else 0.0
        count += inside


@jit
def padded(kept: Array, count: int) -> int:
    """Pad with masked keys to a multiple of SLACK, so that no loop ends in single steps; return the new count."""
    for i in range(SLACK):
        kept[count + i] = -np.inf
    return -(-count // SLACK) * SLACK


@jit
def limit_of(scores: Array, top: float, reach: float, factor: float) -> Any:
    """A score below those of all keys with a gap below γ, by more than all roundings including the one to the dtype."""
    return scores.dtype.type(top - reach / factor - (abs(top) + reach / factor) * 1e-6 - 1e-30)
