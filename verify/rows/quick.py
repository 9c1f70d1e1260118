"""Entmax of float32 and float64 rows in the dtype that came: the fast path of the Numba core.

A key whose gap ``z = β(max s − s)`` is n or more has no weight, so the others are gathered first; Newton on
``‖u‖_n − 1`` then runs from γ = n down, in float64, and leaves out the keys that γ has passed. A row goes to the
careful solver of `compiled` where n < 1, where a key lies within 2^-28 n of γ, so that only the exact test can say
whether it has weight, and where float64 has to tell masked keys from tiny weights.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from kernelproof.verify.rows.compiled import ADAPTIVE, CompiledCore, P, solve_row
from kernelproof.verify.rows.core import Array, Floats, Law
from kernelproof.verify.rows.jit import inlined, jit, parallel
from kernelproof.verify.rows.lanes import gaussians, lane_sum, ratio_powers, scale
from kernelproof.verify.rows.scalar import two_sum

BLOCK = 1024  # float64 numbers of a block: 8 KiB of the first cache
LANES = 64
CROWD, SPACING = 0.6, 29  # a row of so many hits among probes so far apart is not gathered
STRIDE = 32  # what an unrolled vector loop takes at once
SHRUNK = 0.5  # packing pays below this share
STEPS = 100
PARTS = 8  # of the rows, per thread: enough to even out rows that take longer
LARGE = 1e300  # gaps beyond might overflow
SETTLED = 1e-9  # Newton's next step would be about the square of this
NEAR = 2.0**-28


@jit
def highest(scores: Array, lanes: Array) -> tuple[float, bool]:
    """The largest score, and whether a NaN or +inf is among them (then the first means nothing)."""
    lanes[:] = -np.inf
    odd = 0
    whole = scores.size // LANES * LANES
    for start in range(0, whole, LANES):
        for i in range(LANES):
            score = scores[start + i]
            lanes[i] = max(lanes[i], score)
            odd |= not score < np.inf
    for i in range(whole, scores.size):
        score = scores[i]
        lanes[0] = max(lanes[0], score)
        odd |= not score < np.inf
    top = lanes[0]
    for i in range(1, LANES):
        top = max(top, lanes[i])
    return np.float64(top), odd != 0  # float() leaves a float32 what it is


@inlined
def pack(scores: Array, start: int, end: int, limit: float, at: Array, count: Any) -> Any:
    """Append to `at` the keys above the limit."""
    for i in range(np.uint64(start), np.uint64(end)):
        at[count] = i
        count += np.uint64(scores[i] > limit)
    return count


@jit
def gather(scores: Array, top: float, n: float, factor: float, at: Array, z: Floats) -> Any:
    """Where the keys with a gap below n are, and their gaps; how many."""
    # Lower by more than all roundings, that to float32 included, so that no key is lost.
    limit = scores.dtype.type(top - n / factor - (abs(top) + n / factor) * 1e-6 - 1e-30)
    count: Any = np.uint64(0)  # unsigned: such an index needs no look at its sign
    whole = scores.size // LANES * LANES
    for start in range(0, whole, LANES):
        hits = 0
        for i in range(LANES):
            hits |= scores[start + i] > limit
        if hits:
            count = pack(scores, start, start + LANES, limit, at, count)
    count = pack(scores, whole, scores.size, limit, at, count)
    for j in range(count):
        z[j] = (top - np.float64(scores[np.uint64(at[j])])) * factor
    return np.int64(count)


@jit
def gaps(scores: Array, top: float, factor: float, z: Floats) -> None:
    """The gaps of all keys."""
    for i in range(scores.size):
        z[i] = (top - np.float64(scores[i])) * factor


@jit
def crowded(scores: Array, top: float, n: float, factor: float) -> bool:
    """Whether so many keys have a gap below n that all of them may as well be taken, by a probe here and there."""
    limit = scores.dtype.type(top - n / factor)
    hits, seen = 0, 0
    for i in range(0, scores.size, SPACING):
        hits += scores[i] > limit
        seen += 1
    return hits > CROWD * seen


@jit
def passed(reach: float, at: Array, z: Floats, count: int) -> Any:
    """Leave out the keys from γ on; how many stay."""
    kept = np.uint64(0)
    for i in range(np.uint64(count)):
        gap = z[i]
        z[kept], at[kept] = gap, at[i]
        kept += np.uint64(gap < reach)
    return np.int64(kept)


@jit
def evaluate(z: Floats, count: int, reach: float, n: float, out: Floats, shares: Floats) -> tuple[float, float]:
    """Powers of a row and their two sums, block by block; `count` is a multiple of STRIDE."""
    r_total, r_lost, e_total = 0.0, 0.0, 0.0
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        ratio_powers(z, start, end, reach, n, out, shares)
        r_total, lost = two_sum(r_total, lane_sum(out, start, end))
        r_lost += lost
        e_total += lane_sum(shares, start, end)
    return r_total + r_lost, e_total


@jit
def inverse_root(r: float, n: float) -> float:
    """``r^(−1/n)``."""
    if n == 1.0:
        return 1.0 / r
    return 1.0 / math.sqrt(r) if n == 2.0 else r ** (-1.0 / n)


@jit
def padded(z: Floats, count: int, n: float) -> int:
    """Gaps beyond every support up to a multiple of STRIDE, so that no loop ends in single steps; how many then."""
    end = -(-count // STRIDE) * STRIDE
    for i in range(np.uint64(count), np.uint64(end)):
        z[i] = 2.0 * n
    return end


@jit
def newton(
    at: Array, z: Floats, count: int, n: float, sharp: bool, packed: bool, out: Floats, shares: Floats
) -> tuple[int, float]:
    """How many keys are left, and Σr; a count of −1 asks for the careful solver."""
    reach, r_total, active = n, 1.0, True
    end = padded(z, count, n)
    for _ in range(STEPS):
        r_total, e_total = evaluate(z, end, reach, n, out, shares)
        if not active:
            break
        step = (n * inverse_root(r_total, n) - reach) * (r_total / e_total)
        active = step < -SETTLED * reach
        if not active and not sharp:
            break
        reach += step
        if packed and active and count > STRIDE:
            limit, inside = reach + NEAR * n, 0
            for i in range(np.uint64(count)):
                inside += z[i] < limit
            if inside < SHRUNK * count:
                count = passed(limit, at, z, count)
                end = padded(z, count, n)
    unsure = 0
    for i in range(np.uint64(count)):
        unsure |= abs(z[i] - reach) <= NEAR * n
        unsure |= sharp & (out[i] == 0.0) & (z[i] < reach)
    return (-1 if unsure else count), r_total


@jit
def careful(scores: Array, n: float, factor: float, at: Array, weights: Array) -> None:
    """A row by `compiled.solve_row`, on the keys in `at`."""
    chosen = np.empty(at.size)
    for i in range(at.size):
        chosen[i] = scores[at[i]]
    out = np.zeros((5, at.size))
    solve_row(chosen, ADAPTIVE, n, factor, out, np.zeros(at.size, np.bool_))
    weights[:] = 0
    for i in range(at.size):
        weights[at[i]] = out[P, i]


@jit
def softmax_row(scores: Array, top: float, factor: float, sharp: bool, weights: Array, out: Floats) -> bool:
    """Order ∞; False asks for the careful solver."""
    r_total, r_lost = 0.0, 0.0
    unsure = 0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        gaussians(scores[start:end], top, factor, out[start:end])
        r_total, lost = two_sum(r_total, lane_sum(out, start, end))
        r_lost += lost
    if sharp:
        for i in range(scores.size):
            unsure |= (out[i] == 0.0) & (scores[i] > -np.inf)
    scale(out[: scores.size], 1.0 / (r_total + r_lost), weights)
    return unsure == 0


@jit
def spread(values: Floats, factor: float, at: Array, count: int, weights: Array) -> None:
    """A row of weights from those of the keys in `at`."""
    weights[:] = 0
    for i in range(np.uint64(count)):
        weights[np.uint64(at[i])] = values[i] * factor


@parallel
def entmax_rows(scores: Array, n: float, factor: float, sharp: bool, weights: Array, chunk: int) -> None:
    """Adaptive weights of (R, m) scores at an order n > 0, `chunk` rows at a time on one thread."""
    rows, length = scores.shape
    for part in numba.prange((rows + chunk - 1) // chunk):
        at, lanes = np.empty(length, np.int32), np.empty(LANES, scores.dtype)
        room = np.empty((3, length + STRIDE))
        z, out, shares = room[0], room[1], room[2]
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row], lanes)
            if odd or top == -np.inf:
                weights[row] = np.nan
                continue
            if n == np.inf and softmax_row(scores[row], top, factor, sharp, weights[row], out):
                continue
            count, r_total, packed = -1, 1.0, True
            if 1.0 <= n < np.inf and (abs(top) + n / factor) * max(factor, 1.0) < LARGE:
                packed = not crowded(scores[row], top, n, factor)
                if packed:
                    count = gather(scores[row], top, n, factor, at, z)
                else:
                    gaps(scores[row], top, factor, z)
                    count = length
                count, r_total = newton(at, z, count, n, sharp, packed, out, shares)
            if count < 0:
                count = gather(scores[row], top, n, factor, at, z)
                careful(scores[row], n, factor, at[:count], weights[row])
            elif packed:
                spread(out, 1.0 / r_total, at, count, weights[row])
            else:
                scale(out[:length], 1.0 / r_total, weights[row])


class QuickCore(CompiledCore):
    """The row core compiled by Numba, with its fast path."""

    def direct(self, scores: Array, law: Law) -> Array:
        """Adaptive weights of (R, m) scores in their dtype; NaN in rows with NaN or +inf, and of −inf alone."""
        scores = np.require(scores, requirements=["C", "W"])
        weights = np.empty_like(scores)
        chunk = max(1, -(-scores.shape[0] // (PARTS * numba.get_num_threads())))
        entmax_rows(scores, law.order, law.parameter, scores.dtype == np.float64, weights, chunk)
        return weights


CORE = QuickCore()
