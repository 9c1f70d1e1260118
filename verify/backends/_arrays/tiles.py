"""Regression and attention tile by tile: only one block of the T × S scores exists at a time.

A tile is some queries of a head, or all queries of some heads, against the keys that any of them may attend to. It
holds at most TILE scores, or those of a single query, so that memory is O(T·(d + e) + S·(d + e)) plus a constant.
A core with its own tiles (`TileCore`) goes first; the queries that it leaves are done here by its rows.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelproof.reference.model import AttentionInfo
from kernelproof.verify.backends._arrays import arguments
from kernelproof.verify.backends._arrays.contraction import sums_of, transposed
from kernelproof.verify.backends._arrays.core import Array, Flags, Floats, RowCore
from kernelproof.verify.backends._arrays.double_word import two_sum
from kernelproof.verify.backends._arrays.masking import Ints
from kernelproof.verify.backends._arrays.policy import Plan, Weighed, scores_vjp, thresholds, weigh
from kernelproof.verify.backends._arrays.problem import GradientSums, Problem, Sums, TileCore
from kernelproof.verify.backends._arrays.rounding import rounded

TILE = 1 << 18  # scores of a tile: 2 MiB of float64, which fit in the second-level cache


@dataclass(frozen=True)
class Tile:
    """Queries `rows` of the heads `first` to `last`, against the first `end` keys."""

    first: int
    last: int
    rows: Ints
    end: int


@dataclass(frozen=True)
class Middle:
    """The intermediate state of a tile: (f, n, S) scores, which of them are used, and their weights."""

    scores: Floats
    used: Flags
    weighed: Weighed
    weights: Floats


def output(core: RowCore, problem: Problem, plan: Plan) -> Array:
    """y (..., T, e) in the dtype of the input, NaN where a query has spoiled weights.

    Raises:
        DomainError: an empty row under the policy "raise".
    """
    heads = problem.heads
    y = np.zeros((*heads.q.shape[:2], heads.v.shape[2]), heads.dtype)
    left = core.attend(problem, plan, y) if isinstance(core, TileCore) else np.ones(y.shape[:2], np.bool_)
    sums = sums_of(core, heads.dtype)
    for tile in tiles_of(problem, left):
        _fill(y, tile, problem, _middle(core, problem, plan, sums, tile), sums)
    return y.reshape(*heads.lead, *y.shape[1:])


def info(core: RowCore, problem: Problem, plan: Plan) -> AttentionInfo:
    """Output, log-normalizer, threshold and support, in the shapes of the caller.

    Raises:
        DomainError: an empty row under the policy "raise".
    """
    heads = problem.heads
    rows = heads.q.shape[:2]
    y = np.zeros((*rows, heads.v.shape[2]), heads.dtype)
    normalizer, threshold = np.full(rows, np.nan), np.full(rows, np.nan)
    support = np.zeros((*rows, heads.k.shape[1]), np.bool_)
    sums = sums_of(core, heads.dtype)
    for tile in tiles_of(problem, np.ones(rows, np.bool_)):
        middle = _middle(core, problem, plan, sums, tile)
        _fill(y, tile, problem, middle, sums)
        shape, weighed = middle.scores.shape, middle.weighed
        found = weighed.rows.log_normalizer
        # An empty row has nothing to normalize: NaN, as in the reference.
        found = np.where(weighed.spoiled | np.isneginf(found), np.nan, found)
        place = np.s_[tile.first : tile.last, tile.rows]
        normalizer[place] = found.reshape(shape[:2])
        threshold[place] = thresholds(weighed, plan.law).reshape(shape[:2])
        support[tile.first : tile.last, tile.rows, : tile.end] = weighed.rows.support.reshape(shape)
    lead = (*heads.lead, rows[1])
    return AttentionInfo(
        y.reshape(*lead, y.shape[2]),
        rounded(normalizer.reshape(lead), heads.dtype),
        rounded(threshold.reshape(lead), heads.dtype),
        support.reshape(*lead, heads.k.shape[1]),
    )


def gradients(core: RowCore, problem: Problem, plan: Plan, cotangent: Any) -> dict[str, Any]:
    """Gradients in q (F, T, d), k (B, S, d) and v (B, S, e) in float64, in "order" and in "parameter".

    Raises:
        DomainError: a cotangent of another shape or dtype, or an empty row under the policy "raise".
    """
    heads = problem.heads
    shape = (*heads.q.shape[:2], heads.v.shape[2])
    upstream = arguments.cotangent_of(cotangent, (*heads.lead, *shape[1:])).reshape(shape)
    found = GradientSums.nothing(heads)
    if isinstance(core, TileCore):
        left = core.attend_back(problem, plan, upstream, found)
    else:
        left = np.ones(shape[:2], np.bool_)
    sums = sums_of(core, heads.dtype)
    for tile in tiles_of(problem, left):
        _add_gradients(core, problem, plan, sums, tile, upstream, found)
    with np.errstate(all="ignore"):
        of_k, of_v = (
            np.where(np.isfinite(sums[:, 1]), sums[:, 0] + sums[:, 1], sums[:, 0]) for sums in (found.k, found.v)
        )
    parts = {"q": found.q, "k": of_k, "v": of_v}
    return {**parts, "order": _total(found.orders), "parameter": _total(found.parameters)}


def tiles_of(problem: Problem, left: Flags) -> Iterator[Tile]:
    """Tiles that cover the queries `left` (F, T); none if there are no keys."""
    heads = problem.heads
    queries, keys, width = heads.q.shape[1], heads.k.shape[1], heads.k.shape[2] + heads.v.shape[2]
    if not keys:
        return
    together = TILE // max(1, queries * keys, keys * width)
    if together > 1 and left.all():
        for first in range(0, len(left), together):
            last = min(first + together, len(left))
            yield _tile(problem, first, last, np.arange(queries))
        return
    size = max(1, TILE // keys)
    for head in range(len(left)):
        rows = np.flatnonzero(left[head])
        for start in range(0, len(rows), size):
            yield _tile(problem, head, head + 1, rows[start : start + size])


def _tile(problem: Problem, first: int, last: int, rows: Ints) -> Tile:
    ends = [problem.masking.ends(head, rows).max(initial=1) for head in range(first, last)]
    return Tile(first, last, rows, int(max(ends)))


def _of_keys(problem: Problem, tile: Tile, array: Floats) -> Floats:
    """The part of an array of keys (B, S, ·) that a tile sees, one per query head."""
    group = problem.heads.group
    if tile.last - tile.first == 1 or group == 1:
        start = tile.first // group
        return array[start : start + tile.last - tile.first, : tile.end]
    return array[np.arange(tile.first, tile.last) // group, : tile.end]


def _middle(core: RowCore, problem: Problem, plan: Plan, sums: Sums, tile: Tile) -> Middle:
    q, k = problem.heads.q[tile.first : tile.last, tile.rows], _of_keys(problem, tile, problem.heads.k)
    with np.errstate(all="ignore"):
        if problem.distances:
            scores = -problem.scale * (sums.squared_distances(q, k) / 2)
        else:
            scores = problem.scale * sums.contract(q, k)
        for at, head in enumerate(range(tile.first, tile.last)):
            _mask(scores[at], problem, tile, head)
    used = scores != -np.inf
    flat = scores.reshape(-1, tile.end)
    queries = problem.heads.q.shape[1]
    numbers = (np.arange(tile.first, tile.last)[:, None] * queries + tile.rows).reshape(-1)
    weighed = weigh(core, flat, plan, numbers, len(problem.heads.q) * queries)
    return Middle(scores, used, weighed, weighed.weights.reshape(scores.shape))


def _mask(scores: Floats, problem: Problem, tile: Tile, head: int) -> None:
    """Add the mask to the scores (n, S) of one head."""
    masking = problem.masking
    bias, flags = masking.bias(head, tile.rows, tile.end), masking.flags(head, tile.rows, tile.end)
    ends = masking.ends(head, tile.rows)
    if bias is not None:
        scores += bias
        scores[bias == -np.inf] = -np.inf
    if flags is not None:
        scores[~flags] = -np.inf
    if ends.min(initial=tile.end) < tile.end:
        scores[np.arange(tile.end) >= ends[:, None]] = -np.inf


def _fill(y: Array, tile: Tile, problem: Problem, middle: Middle, sums: Sums) -> None:
    with np.errstate(all="ignore"):
        values = transposed(_of_keys(problem, tile, problem.heads.v))
        found = sums.contract(np.where(middle.used, middle.weights, 0.0), values, middle.used)
    lost = np.any(np.isnan(middle.weights), axis=-1, keepdims=True)
    y[tile.first : tile.last, tile.rows] = rounded(np.where(lost, np.nan, found), y.dtype)


def _add_gradients(
    core: RowCore, problem: Problem, plan: Plan, sums: Sums, tile: Tile, upstream: Floats, found: GradientSums
) -> None:
    """Add the gradients from the queries of a tile."""
    heads, middle = problem.heads, _middle(core, problem, plan, sums, tile)
    used, shape = middle.used, middle.scores.shape
    back = transposed(used)
    q, k, v = heads.q[tile.first : tile.last, tile.rows], *(_of_keys(problem, tile, a) for a in (heads.k, heads.v))
    g = upstream[tile.first : tile.last, tile.rows]
    with np.errstate(all="ignore"):
        parts = scores_vjp(
            core,
            middle.scores.reshape(-1, tile.end),
            sums.contract(g, v).reshape(-1, tile.end),
            plan,
            middle.weighed,
        )
        through = parts["scores"].reshape(shape)
        # An empty row contributes no gradient, even where its output is NaN.
        spoiled = middle.weighed.spoiled.reshape(shape[:2])
        weights = np.where(used & (spoiled[..., None] | np.isfinite(middle.weights)), middle.weights, 0.0)
        of_v = sums.contract(transposed(weights), transposed(g), back)
        if problem.distances:
            of_q = sums.weighted_differences(through, q, k, used)
            of_k = sums.weighted_differences(transposed(through), k, q, back)
        else:
            of_q = sums.contract(through, transposed(k), used)
            of_k = sums.contract(transposed(through), transposed(q), back)
        found.q[tile.first : tile.last, tile.rows] = problem.scale * of_q
        for at, head in enumerate(range(tile.first, tile.last)):
            _add(found.k[head // heads.group, :, : tile.end], problem.scale * of_k[at])
            _add(found.v[head // heads.group, :, : tile.end], of_v[at])
    found.orders.append(float(parts["order"]))
    found.parameters.append(float(parts["parameter"]))


def _add(sums: Floats, part: Floats) -> None:
    """Add `part` to sums (2, S, ·) of two halves, so that many tiles add up as accurately as one."""
    sums[0], lost = two_sum(sums[0], part)
    sums[1] += lost


def _total(parts: list[float]) -> np.float64:
    """The sum of `parts`, rounded once."""
    return np.float64(math.fsum(parts) if np.isfinite(parts).all() else np.sum(parts))
