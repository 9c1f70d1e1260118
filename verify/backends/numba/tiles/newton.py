"""Newton's method on rows gathered by key, for tiles, which score only the few keys that they proposed.

Unlike `fast.newton`, which solves whole rows of scores in place, this keeps the positions of the keys and leaves their
powers to the caller.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.elementary_functions import BLOCK, REPEATED, exponential, log1m
from kernelproof.verify.backends.numba.jit import contracted, inlined, jit, reassociated
from kernelproof.verify.backends.numba.scalar_functions import two_sum

LANES = 64
STRIDE = 32  # elements that an unrolled vector loop takes at once
SHRUNK = 0.5  # packing pays below this share
STEPS = 100
LARGE = 1e300  # gaps beyond this might overflow
SETTLED = 1e-9  # Newton's next step would be about the square of this
NEAR = 2.0**-28


@reassociated
def lane_sum(terms: Floats, start: int, end: int) -> float:
    """The sum of terms of one sign, in an order that suits the vector unit."""
    value = 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        value += terms[i]
    return value


@contracted
def ratio_powers(z: Floats, start: int, end: int, reach: float, n: float, out: Floats, shares: Floats) -> None:
    """``[1 − z/γ]₊ⁿ`` into `out` and ``[1 − z/γ]₊ⁿ⁻¹`` into `shares`, 0 off the support at order 1 as well."""
    inverse = 1.0 / reach
    if n <= REPEATED and n == int(n):
        # n − 1 in binary; the three branches are the same for all lanes.
        once, twice, fourfold = (int(n) - 1) & 1, (int(n) - 1) & 2, (int(n) - 1) & 4
        for i in range(np.uint64(start), np.uint64(end)):
            u = 1.0 - z[i] * inverse
            inside = u > 0.0
            u = u if inside else 0.0
            square = u * u
            share = (u if once else 1.0) * (square if twice else 1.0) * (square * square if fourfold else 1.0)
            shares[i] = share if inside else 0.0
            out[i] = shares[i] * u
    else:
        for i in range(np.uint64(start), np.uint64(end)):
            x = z[i] * inverse
            inside = x < 1.0
            x = x if inside else 0.0
            r = exponential(n * log1m(x))
            out[i] = r if inside else 0.0
            shares[i] = out[i] / (1.0 - x)


@jit
def highest(scores: Array, lanes: Array) -> tuple[float, bool]:
    """The largest score, and whether a NaN or +inf is among the scores, which makes the first meaningless."""
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
    return np.float64(top), odd != 0  # in compiled code, float() leaves a float32 unchanged


@inlined
def pack(scores: Array, start: int, end: int, limit: float, at: Array, count: Any) -> Any:
    """Append to `at` the keys above the limit."""
    for i in range(np.uint64(start), np.uint64(end)):
        at[count] = i
        count += np.uint64(scores[i] > limit)
    return count


@jit
def passed(reach: float, at: Array, z: Floats, count: int) -> Any:
    """Drop the keys with a gap of γ or more; return how many stay."""
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
    """Pad to a multiple of STRIDE with gaps beyond every support, so that no loop ends in single steps."""
    end = -(-count // STRIDE) * STRIDE
    for i in range(np.uint64(count), np.uint64(end)):
        z[i] = 2.0 * n
    return end


@jit
def newton(
    at: Array, z: Floats, count: int, n: float, sharp: bool, packed: bool, out: Floats, shares: Floats
) -> tuple[int, float]:
    """Find the root; return how many keys are left, and Σr; a count of −1 asks for the careful solver."""
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
