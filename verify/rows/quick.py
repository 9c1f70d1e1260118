"""Entmax of float32 and float64 rows in the dtype that came: the fast path of the Numba core.

A key whose gap ``z = β(max s − s)`` is n or more has no weight, so the others are gathered first; Newton on
``‖u‖_n − 1`` then runs from γ = n down, in float64, and leaves out the keys that γ has passed. A row goes to the
careful solver of `compiled` where n < 1, where a key lies within 2^-28 n of γ, so that only the exact test can say
whether it has weight, and where float64 has to tell masked keys from tiny weights.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from kernelproof.verify.rows.compiled import ADAPTIVE, P, scaled_gap, solve_row
from kernelproof.verify.rows.core import Array, Floats, Law
from kernelproof.verify.rows.jit import jit, parallel
from kernelproof.verify.rows.lanes import LOWEST, gaussians, lane_sum, ratio_powers
from kernelproof.verify.rows.scalar import two_sum

BLOCK = 1024  # float64 numbers of a block: 8 KiB of the first cache
LANES = 64
STEPS = 100
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
            lanes[i] = score if score > lanes[i] else lanes[i]
            odd |= not score < np.inf
    for i in range(whole, scores.size):
        score = scores[i]
        lanes[0] = score if score > lanes[0] else lanes[0]
        odd |= not score < np.inf
    top = lanes[0]
    for i in range(1, LANES):
        top = max(top, lanes[i])
    return np.float64(top), odd != 0  # float() leaves a float32 what it is


@jit
def gather(scores: Array, top: float, n: float, factor: float, at: Array, z: Floats) -> int:
    """Where the keys with a gap below n are, and their gaps; how many."""
    lowest = top - n / factor
    # Rounded down, so that no key is lost to the rounding of the threshold.
    limit = scores.dtype.type(lowest - abs(lowest) * 1e-6 - 1e-30)
    count = 0
    for i in range(scores.size):
        at[count] = i
        count += scores[i] > limit
    for i in range(count):
        z[i] = scaled_gap(top, np.float64(scores[at[i]]), factor, 1.0)
    return count


@jit
def passed(reach: float, at: Array, z: Floats, count: int) -> int:
    """Leave out the keys from γ on; how many stay."""
    kept = 0
    for i in range(count):
        gap = z[i]
        z[kept], at[kept] = gap, at[i]
        kept += gap < reach
    return kept


@jit
def evaluate(z: Floats, reach: float, n: float, out: Floats, shares: Floats) -> tuple[float, float]:
    """Powers of a row and their two sums, block by block."""
    r_total, r_lost, e_total = 0.0, 0.0, 0.0
    for start in range(0, z.size, BLOCK):
        end = min(start + BLOCK, z.size)
        ratio_powers(z[start:end], reach, n, out[start:end], shares[: end - start])
        r_total, lost = two_sum(r_total, lane_sum(out[start:end]))
        r_lost += lost
        e_total += lane_sum(shares[: end - start])
    return r_total + r_lost, e_total


@jit
def newton(at: Array, z: Floats, n: float, sharp: bool, out: Floats, shares: Floats) -> tuple[int, float, float]:
    """How many keys are left, Σr and γ; a count of −1 asks for the careful solver."""
    reach, count, active = n, z.size, True
    r_total = 1.0
    nearest = np.inf
    for _ in range(STEPS):
        r_total, e_total = evaluate(z[:count], reach, n, out, shares)
        if not active:
            break
        excess = math.log(reach / n) + math.log(r_total) / n
        step = reach * math.expm1(-excess) * (r_total / e_total)
        active = step < -SETTLED * reach
        if not active and not sharp:
            break
        reach += step
        if step < -1e-3 * reach:
            count = passed(reach + NEAR * n, at, z, count)
    for i in range(count):
        nearest = min(nearest, abs(z[i] - reach))
    return (count if nearest > NEAR * n else -1), r_total, reach


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
def softmax_row(scores: Array, top: float, factor: float, weights: Array, z: Floats, out: Floats) -> None:
    """Order ∞."""
    r_total, r_lost = 0.0, 0.0
    deepest = 0.0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        for i in range(start, end):
            z[i] = (top - scores[i]) * factor
        gaussians(z[start:end], out[start:end])
        r_total, lost = two_sum(r_total, lane_sum(out[start:end]))
        r_lost += lost
    share = 1.0 / (r_total + r_lost)
    for i in range(scores.size):
        weights[i] = out[i] * share


@parallel
def entmax_rows(scores: Array, n: float, factor: float, sharp: bool, weights: Array, chunk: int) -> None:
    """Adaptive weights of (R, m) scores at an order n > 0, `chunk` rows at a time on one thread."""
    rows, length = scores.shape
    for part in numba.prange((rows + chunk - 1) // chunk):
        at, lanes = np.empty(length, np.int32), np.empty(LANES, scores.dtype)
        z, out, shares = np.empty(length), np.empty(length), np.empty(BLOCK)
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row], lanes)
            if odd or top == -np.inf:
                weights[row] = np.nan
                continue
            if n == np.inf:
                softmax_row(scores[row], top, factor, weights[row], z, out)
                continue
            found = gather(scores[row], top, n, factor, at, z)
            count, r_total = -1, 1.0
            if n >= 1.0:
                count, r_total, _ = newton(at[:found], z[:found], n, sharp, out, shares)
            if count < 0:
                found = gather(scores[row], top, n, factor, at, z)
                careful(scores[row], n, factor, at[:found], weights[row])
                continue
            share = 1.0 / r_total
            weights[row] = 0
            for i in range(count):
                weights[row, at[i]] = out[i] * share


def entmax(scores: Array, law: Law) -> Array:
    """Adaptive weights of (R, m) scores in their dtype; NaN in a row with NaN or +inf and in one of all −inf."""
    scores = np.require(scores, requirements=["C", "W"])
    weights = np.empty_like(scores)
    chunk = max(1, -(-scores.shape[0] // (8 * numba.get_num_threads())))
    entmax_rows(scores, law.order, law.parameter, scores.dtype == np.float64, weights, chunk)
    return weights
