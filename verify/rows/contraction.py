"""Sums over keys or features of batched arrays, each pairwise along contiguous memory.

No BLAS: its sums depend on how many rows are asked for together, and grow with the length of the sum. Here a row
gives the same bits alone and in a batch. Entries that are not `used` count 0, whatever lies behind the mask.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernelproof.verify.rows.core import Flags, Floats

# Numbers in a temporary, 2 MiB of float64.
CHUNK = 1 << 18


def transposed(a: Floats) -> Floats:
    """The last two axes swapped, in C order."""
    return np.ascontiguousarray(np.swapaxes(a, -1, -2))


def _chunks(a: Floats, width: int) -> Iterator[tuple[int, slice]]:
    size = max(1, CHUNK // max(1, width))
    for batch in range(a.shape[0]):
        for start in range(0, a.shape[1], size):
            yield batch, slice(start, start + size)


def contract(a: Floats, b: Floats, used: Flags | None = None) -> Floats:
    """``Σ_k a[…, n, k]·b[…, e, k]`` of a (B, N, K) and b (B, E, K): (B, N, E); `used` is (B, N, K)."""
    out = np.empty((*a.shape[:2], b.shape[1]))
    if used is not None and np.isfinite(b).all():
        used = None
    for batch, rows in _chunks(a, b.shape[1] * b.shape[2]):
        products = a[batch, rows, None, :] * b[batch]
        if used is not None:
            products = np.where(used[batch, rows, None, :], products, 0.0)
        out[batch, rows] = products.sum(axis=-1)
    return out


def squared_distances(a: Floats, b: Floats) -> Floats:
    """``‖a_n − b_s‖²`` from differences, of a (B, N, d) and b (B, S, d): (B, N, S)."""
    out = np.empty((*a.shape[:2], b.shape[1]))
    for batch, rows in _chunks(a, b.shape[1] * b.shape[2]):
        difference = a[batch, rows, None, :] - b[batch]
        out[batch, rows] = (difference * difference).sum(axis=-1)
    return out


def pull(coefficients: Floats, a: Floats, b: Floats, used: Flags) -> Floats:
    """``Σ_s c[…, n, s]·(b_s − a_n)``, differences first, of c (B, N, S), a (B, N, d), b (B, S, d): (B, N, d)."""
    out = np.empty_like(a)
    columns = transposed(b)
    for batch, rows in _chunks(a, columns.shape[1] * columns.shape[2]):
        difference = columns[batch] - a[batch, rows, :, None]
        weighted = np.where(used[batch, rows, None, :], difference * coefficients[batch, rows, None, :], 0.0)
        out[batch, rows] = weighted.sum(axis=-1)
    return out
