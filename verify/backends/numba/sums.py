"""Sums of the Numba backend over keys and features of batched arrays: compiled loops, no BLAS.

LLVM chooses the order of a sum, the same for every row, in 16 or more lanes: on K terms of one sign the error is that
of K/16 additions. A row gives the same bits alone and in a batch. The threads of BLAS would spin beside those of
Numba, and the two would block each other.
"""

from __future__ import annotations

import numba
import numpy as np

from kernelproof.verify.backends._arrays.contraction import chunks
from kernelproof.verify.backends._arrays.core import Flags, Floats
from kernelproof.verify.backends.numba.jit import parallel, reassociated
from kernelproof.verify.backends.numba.readonly import as_writable_view
from kernelproof.verify.backends.numba.scalar_functions import two_sum

SHORT = 16  # terms of a plain sum; longer sums are compensated sums of these


@reassociated
def product(a: Floats, b: Floats) -> float:
    """``Σ a·b``."""
    value = 0.0
    for i in range(a.size):
        value += a[i] * b[i]
    return value


@reassociated
def plain_sum(a: Floats) -> float:
    """``Σ a``."""
    value = 0.0
    for i in range(a.size):
        value += a[i]
    return value


@reassociated
def squared_distance(a: Floats, b: Floats) -> float:
    """``Σ (a − b)²``."""
    value = 0.0
    for i in range(a.size):
        difference = a[i] - b[i]
        value += difference * difference
    return value


@parallel
def products(a: Floats, b: Floats, out: Floats) -> None:
    """``Σ_k a[B, n, k]·b[B, e, k]`` into out (B, N, E)."""
    batches, rows = a.shape[:2]
    for at in numba.prange(batches * rows):
        batch, row = at // rows, at % rows
        for key in range(b.shape[1]):
            out[batch, row, key] = product(a[batch, row], b[batch, key])


@parallel
def distances(a: Floats, b: Floats, out: Floats) -> None:
    """``‖a_n − b_s‖²`` into out (B, N, S)."""
    batches, rows = a.shape[:2]
    for at in numba.prange(batches * rows):
        batch, row = at // rows, at % rows
        for key in range(b.shape[1]):
            out[batch, row, key] = squared_distance(a[batch, row], b[batch, key])


@parallel
def weighted_differences(coefficients: Floats, a: Floats, b: Floats, used: Flags, out: Floats) -> None:
    """``Σ_s c[B, n, s]·(b_s − a_n)`` over the used s into out (B, N, d)."""
    batches, rows = a.shape[:2]
    for at in numba.prange(batches * rows):
        batch, row = at // rows, at % rows
        part, high, low = np.zeros(a.shape[2]), np.zeros(a.shape[2]), np.zeros(a.shape[2])
        waiting = 0
        for key in range(b.shape[1]):
            if used[batch, row, key]:
                for i in range(part.size):
                    part[i] += coefficients[batch, row, key] * (b[batch, key, i] - a[batch, row, i])
                waiting += 1
            if waiting == SHORT or (waiting and key == b.shape[1] - 1):
                for i in range(part.size):
                    high[i], error = two_sum(high[i], part[i])
                    low[i] += error
                    part[i] = 0.0
                waiting = 0
        for i in range(part.size):
            out[batch, row, i] = high[i] + low[i] if np.isfinite(low[i]) else high[i]


class CompiledSums:
    """Sums of any inputs."""

    def contract(self, a: Floats, b: Floats, used: Flags | None = None) -> Floats:
        """``Σ_k a[…, n, k]·b[…, e, k]`` of a (B, N, K) and b (B, E, K): (B, N, E); `used` is (B, N, K)."""
        out = np.empty((*a.shape[:2], b.shape[1]))
        if used is None or np.isfinite(b).all():
            products(as_writable_view(a), as_writable_view(b), out)
            return out
        # The same compiled loop: LLVM may add in another order in a second one, and bits would tell what is masked.
        for batch, rows in chunks(a, b.shape[1] * b.shape[2]):
            kept = np.where(used[batch, rows, None, :], b[batch], 0.0)
            part = np.empty((len(kept), 1, b.shape[1]))
            products(as_writable_view(a[batch, rows, None, :]), kept, part)
            out[batch, rows] = part[:, 0]
        return out

    def squared_distances(self, a: Floats, b: Floats) -> Floats:
        """``‖a_n − b_s‖²`` from differences, of a (B, N, d) and b (B, S, d): (B, N, S)."""
        out = np.empty((*a.shape[:2], b.shape[1]))
        distances(as_writable_view(a), as_writable_view(b), out)
        return out

    def weighted_differences(self, coefficients: Floats, a: Floats, b: Floats, used: Flags) -> Floats:
        """``Σ_s c[…, n, s]·(b_s − a_n)``, differences first, of c (B, N, S), a (B, N, d), b (B, S, d): (B, N, d)."""
        out = np.empty(a.shape)
        weighted_differences(
            as_writable_view(coefficients), as_writable_view(a), as_writable_view(b), as_writable_view(used), out
        )
        return out


COMPILED = CompiledSums()
