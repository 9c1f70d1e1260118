"""Entmax of float32 and float64 rows in their own dtype: the fast path of the Numba core.

A key whose gap ``z = β(max s − s)`` is n or more has no weight, so the other keys are packed first; from order WIDE on,
only those that may have weight according to a sample of the row. Newton's method on ``‖u‖_n − 1`` then runs in float32
(`float32`) until its steps are as small as float32 can resolve, and ends in float64 (`elementary_functions`), with a
last step taken to first order on the powers at hand. The solver of `careful` takes a row if n < 1, if a key lies so
near γ that only the exact test can decide whether it has weight, or if float64 cannot distinguish masked keys from tiny
weights.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2.
"""

from __future__ import annotations

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.careful.rows import ADAPTIVE, P, solve_row
from kernelproof.verify.backends.numba.elementary_functions import BLOCK, finish, gaussians, split_sum
from kernelproof.verify.backends.numba.fast.newton import FAST, SHARP, polish, settle, underflown
from kernelproof.verify.backends.numba.jit import jit, parallel
from kernelproof.verify.backends.numba.llvm import SLACK
from kernelproof.verify.backends.numba.packing import ask, highest, limit_of, padded, unpack
from kernelproof.verify.backends.numba.scalar_functions import two_product, two_sum

PARTS = 8  # of the rows, per thread: enough to even out rows that take longer
LARGE = 1e300  # gaps beyond this might overflow
SMALLEST, LARGEST = 1e-30, 1e30  # slopes β/n and β that float32 can hold
GAUSSIAN = 1e25  # from here on ``(1 − z/n)ⁿ`` is ``exp(−z)`` to 2^-64 wherever the latter does not underflow


@jit
def careful(scores: Array, n: float, factor: float, weights: Array) -> None:
    """Solve a row by `careful.rows.solve_row`, on the keys with a gap below n."""
    top = -np.inf
    for score in scores:
        top = max(top, score)
    reach = min(n, LARGE)
    limit = limit_of(scores, top, reach, factor) if abs(top) + reach / factor < LARGE else -np.inf
    at = np.flatnonzero(scores > limit)
    out = np.zeros((5, at.size))
    solve_row(scores[at].astype(np.float64), ADAPTIVE, n, factor, out, np.zeros(at.size, np.bool_))
    weights[:] = 0
    for i in range(at.size):
        weights[at[i]] = out[P, i]


@jit
def softmax_row(scores: Array, top: float, factor: float, sharp: bool, weights: Array, out: Floats) -> bool:
    """Order ∞; False asks for the careful solver."""
    r_total, r_lost = 0.0, 0.0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        gaussians(scores, start, end, top, factor, out)
        high, low = split_sum(out, start, end)
        r_total, lost = two_sum(r_total, high)
        r_lost += lost + low
    total = r_total + r_lost
    if sharp and underflown(scores, scores.size, top, 0.0, out):
        return False
    normalize(out, out, scores.size, 0.0, total, weights)
    return True


@jit
def normalize(out: Floats, slopes: Floats, count: int, change: float, total: float, weights: Array) -> None:
    """Normalize the weights of packed keys, each to nearly one rounding."""
    scale = 1.0 / total
    back, error = two_product(scale, total)
    finish(out, slopes, 0, count, change, scale, ((1.0 - back) - error) * scale, weights)


@jit
def finite_row(scores: Array, top: float, factor: float, n: float, weights: Array, kept: Array, room: Floats) -> bool:
    """Order 1 ≤ n < ∞; False asks for the careful solver."""
    sharp = scores.itemsize == 8
    out, slopes = room[0], room[1]
    count, reach, limit = settle(scores, top, factor, n, kept)
    end = padded(kept, count)
    change, total, s_total, slope = polish(kept, end, top, factor, n, reach, SHARP if sharp else FAST, out, slopes)
    if total == 0.0 or (sharp and underflown(kept, count, top, slope, out)):
        return False
    total += change * s_total
    if count == scores.size:
        normalize(out, slopes, count, change, total, weights)
    else:
        normalize(out, slopes, count, change, total, kept)
        unpack(scores, limit, kept, weights)
    return True


@parallel
def entmax_rows(scores: Array, n: float, factor: float, weights: Array, chunk: int) -> None:
    """Adaptive weights of (R, m) scores at an order n > 0, `chunk` rows at a time on one thread."""
    rows, length = scores.shape
    gaussian = n >= GAUSSIAN
    for part in numba.prange((rows + chunk - 1) // chunk):
        kept, room = np.empty(length + SLACK, scores.dtype), np.empty((2, length + SLACK))
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row])
            if row + 1 < rows:
                ask(scores[row + 1])
                ask(weights[row + 1])
            if odd or top == -np.inf:
                weights[row] = np.nan
                continue
            done = False
            if gaussian:
                done = softmax_row(scores[row], top, factor, scores.itemsize == 8, weights[row], room[0])
            elif n >= 1.0 and factor / n > SMALLEST and factor < LARGEST and abs(top) + n / factor < LARGE:
                done = finite_row(scores[row], top, factor, n, weights[row], kept, room)
            if not done:
                careful(scores[row], n, factor, weights[row])
