"""Float32 weights proved correctly rounded, as far as float64 can prove it.

`double_word` decides the weights that are left, and what it leaves in turn is marked for `multiprecision`.

**The bound.** Let u = 2^-53; a result of `elementary_functions` is ``r̂ = r(1 + ε)``. With ``x = z/γ`` and
``T = n·x/(1 − x)``:

- Gaps of float32 scores and their product with 1/γ take two roundings, so x is within 2u of the exact quotient by
  ``γ₀ = 1/fl(1/γ)``, and a power within ``2u·T`` of its own for that (1% covers the second order, as ``2u·T < 2^-20``
  for every key farther than BORDER from the edge).
- Powers of integer orders are double words rounded once: 2u. Other orders: a logarithm within 1.1 ulp and its
  product with n, together ``4u·|n log(1 − x)| ≤ 4u·T``, and an exponential within 1 ulp, 2u.
- Sums are exact except for their last rounding and a rest below 2^-76 (`elementary_functions.upper`): 2u.

So ``|ε| ≤ a + b·T`` with a = 2u and b = 6u, and R is within ``a + b·G + 2u`` of itself, ``G = Σ r·T/R``. Newton's step
δ needs ``R^(−1/n)`` (libm's pow, within 4u, and R to the power 1/n) and a few roundings: δ is within
``(a + 2u)/n + b + 8u``, and ``(2 + log R/n)·u`` where n itself was rounded to float64, because ``E = R + ΣrT/n``.
The exact root differs from the first-order one by ``δ²·T``, and a power from its first-order step by ``(Tδ)²``, both
below 2^-50 by the choice of PROVED_STEP. Hence each weight is within ``A + B·T`` of itself,
``B = b + |δ|-error``, ``A = 2a + (b + |δ|-error)·G + 8u + 2^-49``, inflated by 1/16 to cover products of errors.
At order ∞ γ has no error: ``a = 2u``, ``T = z``, ``b = 2u``. A weight whose interval rounds to one float32 is proved.

**Order 1** is rational: with k keys in the support and D the sum of their gaps, ``p_i = (1 + D − k·d_i)/k``. The code
checks that all of this is exact in float64; the quotient is rounded to odd, so that float32 sees on which side of a
midpoint it is.

Source: W. Kahan, "The table-maker's dilemma"; S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums".
"""

from __future__ import annotations

import math

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.elementary_functions import BLOCK, gaussians, split_sum
from kernelproof.verify.backends.numba.fast.newton import PROVED, polish, settle
from kernelproof.verify.backends.numba.fast.rows import GAUSSIAN, LARGE, SMALLEST, careful
from kernelproof.verify.backends.numba.jit import contracted, jit, parallel
from kernelproof.verify.backends.numba.llvm import SLACK, fused, ranked, wide
from kernelproof.verify.backends.numba.packing import highest, pack, padded, unpack
from kernelproof.verify.backends.numba.proved.double_word import LONGEST, MOST, resolve
from kernelproof.verify.backends.numba.scalar_functions import two_product, two_sum

U = 2.0**-53
ALL = -1  # every weight of the row is in doubt, and its support


@contracted
def rounded_weights(
    out: Floats, slopes: Floats, start: int, end: int, change: float, scale: float, a: float, b: float, weights: Array
) -> int:
    """Round the weights of a block to float32, with a minus on those in doubt; return how many these are."""
    wide()
    doubts = 0
    for i in range(np.uint64(start), np.uint64(end)):
        p = max(out[i] + slopes[i] * change, 0.0) * scale
        error = p * a + slopes[i] * b
        low, high, nearest = np.float32(p - error), np.float32(p + error), np.float32(p)
        sure = low == high
        weights[i] = nearest if sure else -nearest
        doubts += 0 if sure else 1
    return doubts


@jit
def finite_bound(n: float, r_total: float, s_total: float) -> tuple[float, float]:
    """A and B of the module's bound, 1 < n < ∞."""
    a, b, mean = 2 * U, 6 * U, n * s_total / r_total
    apart = (a + 2 * U) / n + b + 8 * U + (2.0 + math.log(r_total) / n) * U
    return (2 * a + (b + apart) * mean + 8 * U + 2.0**-49) * 1.0625, (b + apart) * 1.0625


@jit
def finite_row(scores: Array, top: float, n: float, weights: Array, kept: Array, room: Floats) -> int:
    """Order 1 < n < ∞; return how many weights are in doubt, or ALL."""
    out, slopes = room[0], room[1]
    count, reach, limit = settle(scores, top, 1.0, n, kept)
    end = padded(kept, count)
    change, r_total, s_total, inverse = polish(kept, end, top, 1.0, n, reach, PROVED, out, slopes)
    if r_total == 0.0:
        return ALL
    a, b = finite_bound(n, r_total, s_total)
    scale = 1.0 / (r_total + change * s_total)
    doubts = rounded_weights(out, slopes, 0, count, change, scale, a, n * b * scale, kept)
    unpack(scores, limit, kept, weights)
    if doubts and n <= MOST and count <= LONGEST:
        count = pack(scores, 0, scores.size, limit, scores, kept, 0)
        return resolve(scores, top, n, inverse / (1.0 + change / n), kept, count, weights)
    return doubts


@contracted
def rounded_gaussians(
    scores: Array, start: int, end: int, top: float, out: Floats, scale: float, a: float, b: float, weights: Array
) -> int:
    """`rounded_weights` at order ∞."""
    wide()
    doubts = 0
    for i in range(np.uint64(start), np.uint64(end)):
        p = out[i] * scale
        # Beyond this gap, and where a key is masked, the weight is 0.
        error = p * (a + b * min(top - np.float64(scores[i]), 800.0))
        low, high, nearest = np.float32(p - error), np.float32(p + error), np.float32(p)
        sure = low == high
        weights[i] = nearest if sure else -nearest
        doubts += 0 if sure else 1
    return doubts


@jit
def softmax_row(scores: Array, top: float, weights: Array, out: Floats) -> int:
    """Order ∞; return how many weights are in doubt."""
    r_total, r_lost = 0.0, 0.0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        gaussians(scores, start, end, top, 1.0, out)
        high, low = split_sum(out, start, end)
        r_total, lost = two_sum(r_total, high)
        r_lost += lost + low
    # ``G = Σpz`` is the entropy of the row minus log R, and at most the logarithm of its length.
    a, b = (2 * 2 * U + 2 * U * (math.log(scores.size) + 1.0) + 8 * U) * 1.0625, 2 * U * 1.0625
    doubts = rounded_gaussians(scores, 0, scores.size, top, out, 1.0 / (r_total + r_lost), a, b, weights)
    if doubts and scores.size <= LONGEST:
        return resolve(scores, top, np.inf, 1.0, scores, scores.size, weights)
    return doubts


@jit
def linear_row(scores: Array, top: float, weights: Array, kept: Array, room: Floats) -> int:
    """Order 1, in exact arithmetic; return ALL if that is not possible."""
    count, reach, limit = settle(scores, top, 1.0, 1.0, kept)
    gaps, inexact, size, mass, rest = room[0], 0.0, 0, 1.0, 0.0
    for i in range(count):
        gap, error = two_sum(top, -np.float64(kept[i]))
        gaps[i] = gap
        inexact += abs(error)
    for _ in range(2):
        # Float32 comes close enough to the root to find the support, except for keys next to it: one more pass settles
        # these.
        size, mass, rest = 0, 1.0, 0.0
        for i in range(count):
            if gaps[i] < reach:
                mass, error = two_sum(mass, gaps[i])
                rest += abs(error)
                size += 1
        reach = mass / size
    many = np.float64(size)
    found = 0
    for i in range(count):
        part, error = two_product(many, gaps[i])
        share, lost = two_sum(mass, -part)
        inexact += abs(error) + abs(lost)
        found += share > 0.0
        quotient = share / many
        back = fused(quotient, many, -share)
        if back != 0.0 and share > 0.0 and ranked(quotient) & 1 == 0:
            quotient = np.nextafter(quotient, -np.inf if back > 0.0 else np.inf)
        kept[i] = quotient if share > 0.0 else 0.0
    # The support is right iff the shares of its keys, and of no others, are positive.
    if inexact + rest > 0.0 or found != size:
        return ALL
    unpack(scores, limit, kept, weights)
    return 0


@parallel
def proved_rows(scores: Array, n: float, weights: Array, doubts: Array, chunk: int) -> None:
    """`fast.rows.entmax_rows` for float32 and β = 1; `doubts` (R,) counts the weights left with a minus, or is ALL."""
    rows, length = scores.shape
    for part in numba.prange((rows + chunk - 1) // chunk):
        kept, room = np.empty(length + SLACK, scores.dtype), np.empty((2, length + SLACK))
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, bad = highest(scores[row])
            doubts[row] = 0
            if bad or top == -np.inf:
                weights[row] = np.nan
                continue
            doubts[row] = ALL
            if n == np.inf:
                doubts[row] = softmax_row(scores[row], top, weights[row], room[0])
            elif 1.0 <= n < GAUSSIAN and 1.0 / n > SMALLEST and abs(top) + n < LARGE:
                if n == 1.0:
                    doubts[row] = linear_row(scores[row], top, weights[row], kept, room)
                else:
                    doubts[row] = finite_row(scores[row], top, n, weights[row], kept, room)
            if doubts[row] == ALL:
                careful(scores[row], n, 1.0, weights[row])
