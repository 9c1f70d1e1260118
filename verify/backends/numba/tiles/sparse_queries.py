"""Queries whose kernel has a bounded reach: BLAS in float32 proposes the keys, float64 decides, and few are left.

A key farther below the best score than the reach has weight 0. Scores by BLAS in float32 are good to a proved
`slack` (`screening`), so no key with weight is farther down than reach + 2·slack; those that are not are scored
again in float64, each by a sum in an order of its own, and solved as a row of their own. What BLAS said is gone by
then, and a query gives the same bits alone and in a batch.

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
SHORT = 16  # terms of a plain sum; longer ones are sums of such, compensated


@jit
def above(scores: Array, limit: Any, at: Array) -> Any:
    """Where the keys above the limit are; how many."""
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
    """The keys that may have weight, by scores within `slack` of the exact ones; 0 leaves the query to others."""
    if not slack < np.inf or scores.size == 0:
        return 0
    top, odd = highest(scores, lanes)
    if odd or top == -np.inf:
        return 0
    limit = max(floor - slack, top - law[3] - 2.0 * slack)
    # Lower by more than all roundings on the way, that to float32 included.
    edge = scores.dtype.type(limit - abs(limit) * 1e-6 - 1e-30)
    # Counted first: that is one pass of vectors, and to note where they are costs as much per key as BLAS.
    if many(scores, edge) > max(FEW, scores.size * law[4]):
        return 0
    count = above(scores, edge, at)
    return closer(scores, top, slack, law, at, count, order, room) if count > STRIDE else count


@jit
def newtonian(law: Floats, top: float) -> bool:
    """Whether the law has a bandwidth to find that Newton's method of `tiles.newton` finds."""
    n, factor = law[1], law[2]
    return int(law[0]) == ADAPTIVE and 1.0 <= n < np.inf and (abs(top) + n / factor) * max(factor, 1.0) < LARGE


@jit
def closer(
    scores: Array, top: float, slack: float, law: Floats, at: Array, count: int, order: Array, room: Floats
) -> Any:
    """Leave out keys by the bandwidth that the approximate scores have; how many stay.

    γ moves by no more than the gaps do (moving them all by ε moves it by ε), that is by ``2·slack`` at most.
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
    """The scores of the keys in `at`, in float64; the largest."""
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
    """The keys that may have weight by their exact scores, and Σr with r in room[1]; −1: solve them otherwise.

    Newton runs again on the support alone, so that nothing depends on what else was proposed. It has found no key
    within 2^-28·n of its γ, and that is within 1e-9·n of the root, so half of it tells keys with weight from others.
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
    """``Σ_j w_j·(table[at_j] − origin)``: plain sums of a few terms, compensated sums of those."""
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
    """What `solve_row` fills, from what Newton's method left in `room`: good for all but float64 itself."""
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
    """Fill y (n, e) for queries q (n, d), and say which are `left` (n,) to others.

    Args:
        scores: (n, end) float32, within `slacks` of the exact ones up to a number for each query; −inf is masked.
        ends: (n,) no key from there on is allowed.
        floors: (n,) no key below has weight.
        slacks: (n,) inf: the scores mean nothing.
        bias: (n, end) what is added to the exact scores, or empty.
        q: (n, d).
        k: (S, d).
        v: (S, e).
        law: (5,) kind, order, parameter, the reach below the best score, and the share of keys that it may hold.
        scale: of the scores.
        distances: how they come about.
        sharp: float64 inputs: no digit to spare.
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
    """Add gradients: of_q (n, d) filled, of_k (2, S, d), of_v (2, S, e) and numbers (2, 2) as high and low halves.

    Args:
        scores: as in `forward`, and so on to `distances`.
        ends: as there.
        floors: as there.
        slacks: as there; inf too where the upstream gradient is not finite.
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
        numbers: (2, 2): in order and in the parameter of the rule.
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
