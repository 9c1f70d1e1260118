"""Sums over keys or features of batched arrays, each pairwise along contiguous memory.

BLAS is not used for float64: its sums depend on how many rows are computed together, and their error grows with the
length of the sum. Here a row gives the same bits alone and in a batch. Narrower inputs go through BLAS in float64
(`Blas`). Entries that are not `used` count as 0, whatever lies behind the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Flags, Floats, RowCore
from kernelproof.verify.backends._arrays.problem import Sums, TileCore

# Numbers in a temporary, 2 MiB of float64.
CHUNK = 1 << 18


def transposed(a: Any) -> Any:
    """The last two axes swapped, in C order."""
    return np.ascontiguousarray(np.swapaxes(a, -1, -2))


def chunks(a: Floats, width: int) -> Iterator[tuple[int, slice]]:
    """(batch, some rows) over all rows of a (B, N, K), so many that `width` numbers for each fit in `CHUNK`."""
    size = max(1, CHUNK // max(1, width))
    for batch in range(a.shape[0]):
        for start in range(0, a.shape[1], size):
            yield batch, slice(start, start + size)


class Pairwise:
    """Sums of float64 inputs."""

    def contract(self, a: Floats, b: Floats, used: Flags | None = None) -> Floats:
        """``Σ_k a[…, n, k]·b[…, e, k]`` of a (B, N, K) and b (B, E, K): (B, N, E); `used` is (B, N, K)."""
        out = np.empty((*a.shape[:2], b.shape[1]))
        if used is not None and np.isfinite(b).all():
            used = None
        for batch, rows in chunks(a, b.shape[1] * b.shape[2]):
            products = a[batch, rows, None, :] * b[batch]
            if used is not None:
                products = np.where(used[batch, rows, None, :], products, 0.0)
            out[batch, rows] = products.sum(axis=-1)
        return out

    def squared_distances(self, a: Floats, b: Floats) -> Floats:
        """``‖a_n − b_s‖²`` from differences, of a (B, N, d) and b (B, S, d): (B, N, S)."""
        out = np.empty((*a.shape[:2], b.shape[1]))
        for batch, rows in chunks(a, b.shape[1] * b.shape[2]):
            difference = a[batch, rows, None, :] - b[batch]
            out[batch, rows] = (difference * difference).sum(axis=-1)
        return out

    def weighted_differences(self, coefficients: Floats, a: Floats, b: Floats, used: Flags) -> Floats:
        """``Σ_s c[…, n, s]·(b_s − a_n)``, differences first, of c (B, N, S), a (B, N, d), b (B, S, d): (B, N, d)."""
        out = np.empty_like(a)
        columns = transposed(b)
        for batch, rows in chunks(a, columns.shape[1] * columns.shape[2]):
            difference = columns[batch] - a[batch, rows, :, None]
            weighted = np.where(used[batch, rows, None, :], difference * coefficients[batch, rows, None, :], 0.0)
            out[batch, rows] = weighted.sum(axis=-1)
        return out


class Blas(Pairwise):
    """Sums in float64 of inputs with 24 bits or fewer: with 29 spare bits, the order of K ≪ 2^29 terms is invisible.

    A distance is computed as ``‖a‖² + ‖b‖² − 2a·b`` where cancellation leaves 28 bits or more, and from differences
    elsewhere: the error of the three sums of d terms is below ``(2d + 4)·2^-53·(‖a‖² + ‖b‖²)``.
    """

    def contract(self, a: Floats, b: Floats, used: Flags | None = None) -> Floats:
        """Same as `Pairwise.contract`."""
        if used is not None and not np.isfinite(b).all():
            return super().contract(a, b, used)
        return np.asarray(np.matmul(a, np.swapaxes(b, -1, -2)))

    def squared_distances(self, a: Floats, b: Floats) -> Floats:
        """Same as `Pairwise.squared_distances`."""
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return super().squared_distances(a, b)
        norms = (a * a).sum(axis=-1)[:, :, None] + (b * b).sum(axis=-1)[:, None, :]
        found = norms - 2 * np.matmul(a, np.swapaxes(b, -1, -2))
        lost = np.argwhere(found < norms * ((2 * a.shape[-1] + 4) * 2.0**-25))
        size = max(1, CHUNK // max(1, a.shape[-1]))
        for start in range(0, len(lost), size):
            batch, row, key = lost[start : start + size].T
            difference = a[batch, row] - b[batch, key]
            found[batch, row, key] = (difference * difference).sum(axis=-1)
        return np.asarray(found)


PAIRWISE, BLAS = Pairwise(), Blas()


def sums_of(core: RowCore, dtype: np.dtype[Any]) -> Sums:
    """The sums for a core and inputs of a dtype."""
    if isinstance(core, TileCore):
        return core.sums(dtype)
    return BLAS if dtype.itemsize < 8 else PAIRWISE
