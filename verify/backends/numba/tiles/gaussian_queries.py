"""Order ∞, where every key has weight: scores, weights and sums of a tile in float64, for inputs of fewer bits.

With 29 bits to spare, the rounding of BLAS is invisible in the result; `tiles.core` leaves a query to other code if its
scores are so large that it would be visible.
"""

from __future__ import annotations

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends.numba.elementary_functions import BLOCK, gaussians
from kernelproof.verify.backends.numba.jit import released
from kernelproof.verify.backends.numba.sums import plain_sum, product
from kernelproof.verify.backends.numba.tiles.newton import LANES, highest, lane_sum

VISIBLE = 2.0**-28  # error of a logit: a sixteenth of what float32 can resolve


@released
def weigh(scores: Floats, ends: Array, errors: Floats, factor: float, totals: Floats, left: Flags) -> None:
    """Replace the scores (n, m) by ``exp(−factor·(max s − s))``, 0 from `ends` on, and fill `totals` (n,).

    A query is `left` to other code, with weights 0, if it has no key to attend to, or if the errors of its scores,
    bounded by `errors` (n,), would be visible.
    """
    # Working in place would prevent vectorization: LLVM cannot be told that input and output are the same array.
    lanes, room = np.empty(LANES), np.empty(scores.shape[1])
    for row in range(scores.shape[0]):
        end = ends[row]
        top, odd = (-np.inf, False) if end == 0 else highest(scores[row, :end], lanes)
        left[row] = odd or top == -np.inf or not errors[row] * factor < VISIBLE
        if left[row]:
            scores[row] = 0.0
            totals[row] = 1.0
            continue
        total = 0.0
        for start in range(0, end, BLOCK):
            stop = min(start + BLOCK, end)
            gaussians(scores[row], start, stop, top, factor, room)
            total += lane_sum(room, start, stop)
        scores[row, :end] = room[:end]
        scores[row, end:] = 0.0
        totals[row] = total


@released
def vjp(weights: Floats, totals: Floats, factor: float, cotangents: Floats) -> None:
    """Turn cotangents (n, m) of normalized weights, given without their totals (n,), into those of the scores.

    They sum to 0: the one of the largest weight is minus the sum of the others, because its own formula cancels where
    one weight is nearly 1.
    """
    for row in range(weights.shape[0]):
        r, g = weights[row], cotangents[row]
        mean, rate, top = product(r, g) / totals[row], factor / totals[row], 0
        for i in range(r.size):
            g[i] = rate * r[i] * (g[i] - mean)
        for i in range(r.size):
            if r[i] == 1.0:  # exp(0)
                top = i
                break
        g[top] = 0.0
        g[top] = -plain_sum(g)
