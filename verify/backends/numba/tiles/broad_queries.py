"""Queries of a finite order whose kernel reaches most of the keys: a tile in float64, for inputs of fewer bits.

`sparse_queries` leaves them, because gathering nearly all keys one by one takes longer than BLAS takes over all of
them. With 29 bits to spare, the rounding of BLAS is invisible in the result; a query whose score errors would be
visible is left to other code.

Source: docs/theory.md §2.
"""

from __future__ import annotations

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends.numba.careful.rows import ADAPTIVE, FIXED
from kernelproof.verify.backends.numba.jit import jit, released
from kernelproof.verify.backends.numba.tiles.gaussian_queries import VISIBLE
from kernelproof.verify.backends.numba.tiles.newton import (
    LANES,
    LARGE,
    STRIDE,
    evaluate,
    highest,
    inverse_root,
    newton,
    padded,
)


@jit
def gather(scores: Floats, top: float, factor: float, reach: float, at: Array, z: Floats) -> int:
    """Write the gaps ``β(max s − s)`` below `reach` to z and their positions to `at`; return how many."""
    count = np.uint64(0)
    for i in range(np.uint64(scores.size)):
        gap = (top - scores[i]) * factor
        z[count], at[count] = gap, i
        count += np.uint64(gap < reach)
    return int(count)


@jit
def solve(scores: Floats, error: float, shift: float, law: Floats, at: Array, room: Floats) -> tuple[int, float]:
    """Find the keys with weight: positions in `at`, r in room[1]; return how many (0: left to other code) and Σr.

    Moving scores by ε moves γ by at most 2ε, so gaps and γ together move ``Σ|r|`` by less than ``3nε/γ·Σ[1 − d/γ]ⁿ⁻¹``.
    """
    kind, n, parameter = int(law[0]), law[1], law[2]
    top, odd = highest(scores, room[0, :LANES])
    if odd or not abs(top) < LARGE:
        return 0, 1.0
    factor = parameter if kind == ADAPTIVE else 1.0
    reach = n if kind == ADAPTIVE else parameter * parameter / 2 + (top - shift) if kind == FIXED else parameter
    if not (0.0 < reach < LARGE and (abs(top) + reach / factor) * max(factor, 1.0) < LARGE):
        return 0, 1.0
    z = room[0]
    count = gather(scores, top, factor, reach, at, z)
    if kind == ADAPTIVE:
        count, r_total = newton(at, z, count, n, False, True, room[1], room[2])
        if count < 0:
            return 0, 1.0
        reach = n * inverse_root(r_total, n)
    end = padded(z, count, reach)
    r_total, e_total = evaluate(z, end, reach, n, room[1], room[2])
    seen = 3.0 * n * error * factor / reach * (e_total / r_total)
    return (count if seen < VISIBLE else 0), r_total


@released
def weigh(
    scores: Floats, ends: Array, errors: Floats, shifts: Floats, law: Floats, totals: Floats, left: Flags
) -> None:
    """Replace the scores (n, m) by ``[1 − d/γ]₊ⁿ``, 0 off the support, and fill `totals` (n,) with the sums.

    Args:
        scores: (n, m), −inf where masked.
        ends: (n,) the first key that is no longer allowed.
        errors: (n,) bounds on the error of a score.
        shifts: (n,) by how much all scores of a query are too large.
        law: (5,) as in `sparse_queries`, of an order 1 ≤ n < ∞.
        totals: (n,), filled.
        left: (n,), filled: the queries left to other code, whose weights are 0.
    """
    length = scores.shape[1]
    at, room = np.empty(length, np.int32), np.empty((3, max(length, LANES) + STRIDE))
    for row in range(scores.shape[0]):
        end, count = ends[row], 0
        totals[row] = 1.0
        if end > 0:
            count, totals[row] = solve(scores[row, :end], errors[row], shifts[row], law, at, room)
        left[row] = count == 0
        scores[row] = 0.0
        for j in range(count):
            scores[row, at[j]] = room[1, j]
