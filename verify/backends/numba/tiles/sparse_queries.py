"""Queries whose kernel has a bounded reach: float32 BLAS proposes a few keys, and float64 decides among them.

A key farther below the best score than the reach has weight 0. Scores by float32 BLAS are accurate to a proved `slack`
(`screening`), so every key with weight is within reach + 2·slack of the best score. The keys within are scored again in
float64, with an order of summation that depends on nothing else, and solved as a row. Nothing of the BLAS scores
remains, so a query gives the same bits alone and in a batch.

Source: docs/theory.md §2; G1 to G3 for the gradients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends.numba.careful.rows import (
    ADAPTIVE,
    ANCHORED,
    GAP,
    LARGEST_SLOPE,
    LOG,
    SHARE,
    SLOPE,
    P,
    gradient_row,
    solve_row,
    through_anchor,
)
from kernelproof.verify.backends.numba.jit import jit, released
from kernelproof.verify.backends.numba.scalar_functions import two_sum
from kernelproof.verify.backends.numba.sums import product, squared_distance
from kernelproof.verify.backends.numba.tiles.newton import (
    LANES,
    LARGE,
    NEAR,
    STRIDE,
    highest,
    inverse_root,
    newton,
    pack,
)

FEW = 64  # keys that are always taken
SHORT = 16  # terms of a plain sum; longer sums are compensated sums of these


@jit
def above(scores: Array, limit: Any, at: Array) -> Any:
    """Write the positions of the keys above the limit to `at`; return how many."""
    count: Any = np.uint64(0)
    whole = scores.size // LANES * LANES
    for start in range(0, whole, LANES):
        hits = 0
        for i in range(LANES):
            hits |= scores[start + i] > limit
        if hits:
            count = pack(scores, start, start + LANES, limit, at, count)
    return np.int64(pack(scores, whole, scores.size, limit, at, count))


@jit
def many(scores: Array, limit: Any) -> int:
    """How many keys are above the limit."""
    count = 0
    for i in range(np.uint64(scores.size)):
        count += scores[i] > limit
    return count


@jit
def propose(
    scores: Array, floor: float, slack: float, law: Floats, lanes: Array, at: Array, order: Array, room: Floats
) -> Any:
    """Propose the keys that may have weight, by scores within `slack` of the exact ones; 0 leaves the query undone."""
    if not slack < np.inf or scores.size == 0:
        return 0
    top, odd = highest(scores, lanes)
    if odd or top == -np.inf:
        return 0
    limit = max(floor - slack, top - law[3] - 2.0 * slack)
    # Lower by more than all roundings in between, the one to float32 included.
    edge = scores.dtype.type(limit - abs(limit) * 1e-6 - 1e-30)
    # Counting first takes one vectorized pass, whereas recording positions costs as much per key as BLAS.
    if many(scores, edge) > max(FEW, scores.size * law[4]):
        return 0
    count = above(scores, edge, at)
    return closer(scores, top, slack, law, at, count, order, room) if count > STRIDE else count


@jit
def newtonian(law: Floats, top: float) -> bool:
    """Whether the law leaves a bandwidth to find, and Newton's method of `tiles.newton` finds it."""
    n, factor = law[1], law[2]
    return int(law[0]) == ADAPTIVE and 1.0 <= n < np.inf and (abs(top) + n / factor) * max(factor, 1.0) < LARGE


@jit
def closer(
    scores: Array, top: float, slack: float, law: Floats, at: Array, count: int, order: Array, room: Floats
) -> Any:
    """Drop keys by the bandwidth of the approximate scores; return how many stay.

    γ moves by no more than the gaps do (moving all of them by ε moves it by ε), that is by at most ``2·slack``.
    """
    n, factor = law[1], law[2]
    if not newtonian(law, top):
        return count
    z = room[0]
    for j in range(count):
        z[j], order[j] = (top - np.float64(scores[at[j]])) * factor, j
    _, r_total = newton(order, z, count, n, False, True, room[1], room[2])
    bound = n * inverse_root(r_total, n) * (1.0 + 1e-6) + 4.0 * slack * factor * (1.0 + 1e-6)
    kept = 0
    for j in range(count):
        if not (top - np.float64(scores[at[j]])) * factor > bound:
            at[kept] = at[j]
            kept += 1
    return kept


@jit
def score(
    q: Floats, k: Floats, scale: float, distances: bool, bias: Floats, at: Array, count: int, chosen: Floats
) -> float:
    """Compute the scores of the keys in `at` in float64; return the largest."""
    top = -np.inf
    for j in range(count):
        key = at[j]
        if distances:
            chosen[j] = -scale * (squared_distance(q, k[key]) / 2)
        else:
            chosen[j] = scale * product(q, k[key])
        if bias.size:
            chosen[j] += bias[key]
        top = max(top, chosen[j])
    return top


@jit
def narrowed(
    at: Array, chosen: Floats, count: int, top: float, law: Floats, order: Array, room: Floats
) -> tuple[int, float]:
    """Drop keys by their exact scores; return how many stay and Σr, with r in room[1]; −1: solve the row otherwise.

    Newton's method runs again on the support alone, so that nothing depends on what else was proposed. It found no key
    within 2^-28·n of its γ, which is within 1e-9·n of the root, so half that distance separates keys with weight from
    the others.
    """
    n, factor, z = law[1], law[2], room[0]
    if not newtonian(law, top):
        return count, -1.0
    last, r_total = count + 1, 1.0
    while count < last:
        last = count
        for j in range(count):
            z[j], order[j] = (top - chosen[j]) * factor, j
        found, r_total = newton(order, z, count, n, False, False, room[1], room[2])
        if found < 0:
            return count, -1.0
        bound, kept = n * inverse_root(r_total, n) + NEAR * n / 2.0, 0
        for j in range(count):
            if z[j] < bound:
                at[kept], chosen[kept] = at[j], chosen[j]
                kept += 1
        count = kept
    return count, r_total


@jit
def mix(weights: Floats, at: Array, table: Floats, origin: Floats, room: Floats, out: Floats) -> None:
    """``Σ_j w_j·(table[at_j] − origin)``, as compensated sums of short plain sums."""
    part, high, low = room[0], room[1], room[2]
    part[:], high[:], low[:] = 0.0, 0.0, 0.0
    for start in range(0, weights.size, SHORT):
        end = min(start + SHORT, weights.size)
        for j in range(start, end):
            w, key = weights[j], at[j]
            for i in range(part.size):
                part[i] += w * (table[key, i] - origin[i])
        for i in range(part.size):
            high[i], error = two_sum(high[i], part[i])
            low[i] += error
            part[i] = 0.0
    for i in range(out.size):
        out[i] = high[i] + low[i]


@jit
def add(high: Floats, low: Floats, factor: float, vector: Floats, origin: Floats) -> None:
    """``high + low += factor·(vector − origin)``."""
    for i in range(high.size):
        high[i], error = two_sum(high[i], factor * (vector[i] - origin[i]))
        low[i] += error


@jit
def fill(chosen: Floats, top: float, law: Floats, r_total: float, room: Floats, solved: Floats, found: Floats) -> None:
    """Fill what `solve_row` fills from the result of Newton's method in `room`; accurate enough below float64."""
    n, factor, size = law[1], law[2], chosen.size
    reach, e_total = n * inverse_root(r_total, n), 0.0
    # û = γ/n and û^n·Σr = 1, so p^(1 − 1/n) = û^(n − 1)·(1 − x)^(n − 1) and û^(n − 1) = n/(γ·Σr).
    slope = factor * n / (reach * r_total)
    for j in range(size):
        e_total += room[2, j]
    for j in range(size):
        solved[P, j], solved[SLOPE, j] = room[1, j] / r_total, min(room[2, j] * slope, LARGEST_SLOPE)
        solved[SHARE, j], solved[GAP, j] = room[2, j] / e_total, top - chosen[j]
        solved[LOG, j] = math.log1p(-min(room[0, j] / reach, 1.0 - 2.0**-53))
    found[0], found[1] = reach, math.log(r_total)


@released
def forward(
    scores: Array,
    ends: Array,
    floors: Floats,
    slacks: Floats,
    bias: Floats,
    q: Floats,
    k: Floats,
    v: Floats,
    law: Floats,
    scale: float,
    distances: bool,
    sharp: bool,
    y: Floats,
    left: Flags,
) -> None:
    """Fill y (n, e) for queries q (n, d), and flag in `left` (n,) those left to other code.

    Args:
        scores: (n, end) float32, within `slacks` of the exact ones up to a shift of each query; −inf is masked.
        ends: (n,) the first key that is no longer allowed.
        floors: (n,) keys with a score below have no weight.
        slacks: (n,) error bounds of the scores; inf if these are meaningless.
        bias: (n, end) the additive mask, or empty.
        q: (n, d).
        k: (S, d).
        v: (S, e).
        law: (5,) kind, order, parameter, the reach below the best score, and the largest share of keys to take.
        scale: factor of the scores.
        distances: whether scores are distances, as in `Problem`.
        sharp: whether the inputs are float64, without spare digits.
        y: (n, e), filled.
        left: (n,), filled.
    """
    length = scores.shape[1]
    at, order = np.empty(length, np.int32), np.empty(length, np.int32)
    lanes, chosen = np.empty(LANES, scores.dtype), np.empty(length)
    room, wide, origin = np.empty((3, length + STRIDE)), np.empty((3, v.shape[1])), np.zeros(v.shape[1])
    for row in range(scores.shape[0]):
        left[row] = True
        count = propose(scores[row, : ends[row]], floors[row], slacks[row], law, lanes, at, order, room)
        if count == 0:
            continue
        added = bias[row] if bias.size else origin[:0]
        top = score(q[row], k, scale, distances, added, at, count, chosen)
        count, r_total = narrowed(at, chosen, count, top, law, order, room)
        weights = room[1, :count]
        if sharp or r_total < 0.0:
            solved = np.zeros((5, count))
            _, log_total = solve_row(chosen[:count], int(law[0]), law[1], law[2], solved, np.zeros(count, np.bool_))
            if log_total == -np.inf:
                continue
            weights[:] = solved[P]
        else:
            for j in range(count):
                weights[j] /= r_total
        kept = 0
        for j in range(count):
            if weights[j] > 0.0:
                weights[kept], at[kept] = weights[j], at[j]
                kept += 1
        mix(weights[:kept], at, v, origin, wide, y[row])
        left[row] = False


@released
def backward(
    scores: Array,
    ends: Array,
    floors: Floats,
    slacks: Floats,
    bias: Floats,
    q: Floats,
    k: Floats,
    v: Floats,
    law: Floats,
    scale: float,
    distances: bool,
    sharp: bool,
    upstream: Floats,
    of_q: Floats,
    of_k: Floats,
    of_v: Floats,
    numbers: Floats,
    left: Flags,
) -> None:
    """Fill of_q (n, d), and add to of_k (2, S, d), of_v (2, S, e) and numbers (2, 2), high and low halves.

    Args:
        scores: as in `forward`.
        ends: as there.
        floors: as there.
        slacks: as there; also inf where the upstream gradient is not finite.
        bias: as there.
        q: as there.
        k: as there.
        v: as there.
        law: as there.
        scale: as there.
        distances: as there.
        sharp: as there.
        upstream: (n, e).
        of_q: (n, d).
        of_k: (2, S, d).
        of_v: (2, S, e).
        numbers: (2, 2): gradients in the order and in the parameter of the rule.
        left: (n,), filled.
    """
    length, kind, n = scores.shape[1], int(law[0]), law[1]
    at, order = np.empty(length, np.int32), np.empty(length, np.int32)
    lanes, chosen = np.empty(LANES, scores.dtype), np.empty(length)
    room, wide = np.empty((3, length + STRIDE)), np.empty((3, k.shape[1]))
    nothing, no_value = np.zeros(k.shape[1]), np.zeros(v.shape[1])
    for row in range(scores.shape[0]):
        left[row] = True
        count = propose(scores[row, : ends[row]], floors[row], slacks[row], law, lanes, at, order, room)
        if count == 0:
            continue
        added = bias[row] if bias.size else nothing[:0]
        top = score(q[row], k, scale, distances, added, at, count, chosen)
        count, r_total = narrowed(at, chosen, count, top, law, order, room)
        solved, through, found = np.zeros((5, count)), np.zeros(count), np.zeros(5)
        if sharp or r_total < 0.0:
            support = np.zeros(count, np.bool_)
            found[0], found[1] = solve_row(chosen[:count], kind, n, law[2], solved, support)
        else:
            fill(chosen[:count], top, law, r_total, room, solved, found)
        if found[1] == -np.inf:
            continue
        left[row] = False
        for j in range(count):
            add(of_v[0, at[j]], of_v[1, at[j]], solved[P, j], upstream[row], no_value)
        if n == 0.0:
            continue
        cotangent = np.empty(count)
        for j in range(count):
            cotangent[j] = product(upstream[row], v[at[j]])
        gradient_row(cotangent, kind, n, law[2], solved, found, through)
        if kind == ANCHORED:
            through_anchor(chosen[:count], through)
        for j in range(count):
            through[j] *= scale
        mix(through, at, k, q[row] if distances else nothing, wide, of_q[row])
        for j in range(count):
            if through[j] != 0.0:
                add(of_k[0, at[j]], of_k[1, at[j]], through[j], q[row], k[at[j]] if distances else nothing)
        for i in range(2):
            numbers[0, i], error = two_sum(numbers[0, i], found[2 * i + 2])
            numbers[1, i] += error
