"""Queries whose kernel has a bounded reach: BLAS in float32 proposes the keys, float64 decides, and few are left.

A key farther below the best score than the reach has weight 0. Scores by BLAS in float32 are good to a proved
`slack` (`proposing`), so no key with weight is farther down than reach + 2·slack; those that are not are scored
again in float64, each by a sum in an order of its own, and solved as a row of their own. What BLAS said is gone by
then, and a query gives the same bits alone and in a batch.

Source: docs/theory.md §2; G1 to G3 for the gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.rows.compiled import ADAPTIVE, ANCHORED, P, gradient_row, solve_row, through_anchor
from kernelproof.verify.rows.core import Array, Flags, Floats
from kernelproof.verify.rows.jit import jit, released
from kernelproof.verify.rows.quick import LANES, LARGE, STRIDE, highest, newton, pack
from kernelproof.verify.rows.scalar import two_sum
from kernelproof.verify.rows.sums import product, squared_distance

FEW = 64  # keys that are always taken
SHARE = 4  # so many keys per key that is taken, else the query is left
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
def propose(scores: Array, floor: float, reach: float, slack: float, lanes: Array, at: Array) -> Any:
    """The keys that may have weight, by scores within `slack` of the exact ones; 0 leaves the query to others."""
    if not slack < np.inf or scores.size == 0:
        return 0
    top, odd = highest(scores, lanes)
    if odd or top == -np.inf:
        return 0
    limit = max(floor - slack, top - reach - 2.0 * slack)
    # Lower by more than all roundings on the way, that to float32 included.
    count = above(scores, scores.dtype.type(limit - abs(limit) * 1e-6 - 1e-30), at)
    return 0 if count > max(FEW, scores.size // SHARE) else count


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
    at: Array, chosen: Floats, count: int, top: float, n: float, factor: float, order: Array, room: Floats
) -> tuple[int, float]:
    """Adaptive, n ≥ 1: keys that may have weight by Newton's method, with r in room[1]; how many, and Σr or −1."""
    kept = 0
    z, out, shares = room[0], room[1], room[2]
    for j in range(count):
        gap = (top - chosen[j]) * factor
        if gap < n:
            at[kept], chosen[kept], z[kept], order[kept] = at[j], chosen[j], gap, kept
            kept += 1
    left, r_total = newton(order, z, kept, n, False, True, out, shares)
    if left < 0:
        return kept, -1.0
    for j in range(left):
        at[j], chosen[j] = at[order[j]], chosen[order[j]]
    return left, r_total


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
def few(
    at: Array, chosen: Floats, count: int, top: float, law: Floats, order: Array, room: Floats
) -> tuple[int, float]:
    """`narrowed` where the law has a bandwidth to find and it can."""
    kind, n, factor = int(law[0]), law[1], law[2]
    if kind == ADAPTIVE and 1.0 <= n < np.inf and (abs(top) + n / factor) * max(factor, 1.0) < LARGE:
        return narrowed(at, chosen, count, top, n, factor, order, room)
    return count, -1.0


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
        law: (4,) kind, order, parameter, and the reach below the best score.
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
        count = propose(scores[row, : ends[row]], floors[row], law[3], slacks[row], lanes, at)
        if count == 0:
            continue
        added = bias[row] if bias.size else origin[:0]
        top = score(q[row], k, scale, distances, added, at, count, chosen)
        count, r_total = few(at, chosen, count, top, law, order, room)
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
        count = propose(scores[row, : ends[row]], floors[row], law[3], slacks[row], lanes, at)
        if count == 0:
            continue
        added = bias[row] if bias.size else nothing[:0]
        top = score(q[row], k, scale, distances, added, at, count, chosen)
        count, _ = few(at, chosen, count, top, law, order, room)
        solved, through, found = np.zeros((5, count)), np.zeros(count), np.zeros(5)
        support = np.zeros(count, np.bool_)
        found[0], found[1] = solve_row(chosen[:count], kind, n, law[2], solved, support)
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
