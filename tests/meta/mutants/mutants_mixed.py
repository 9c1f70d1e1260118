"""Faults of weights, regression and attention, in NumPy."""

import numpy as np
from mutant_parts import gaps_of, powers, reach, share, softmax64
from mutant_registry import mutant

from kernelproof import Adaptive, Anchored, Fixed, Nearest


def ruled(scores, kernel, rule, *, square=True, keep=None):
    """Weights of finite orders ≥ 1 and ∞ under any rule, in float64; an empty ball is NaN."""
    order = float(kernel.order)
    wide = scores.astype(np.float64)
    lost = np.isnan(wide).any(-1, keepdims=True)
    if lost.any():
        return np.where(lost, np.nan, ruled(np.where(lost, 0.0, wide), kernel, rule, square=square, keep=keep))
    if isinstance(rule, Nearest):
        kept = rule.k if keep is None else keep(rule.k, wide.shape[-1])
        ranked = np.argsort(np.argsort(-wide, axis=-1, kind="stable"), axis=-1, kind="stable")
        return ruled(np.where(ranked < kept, wide, -np.inf), kernel, rule.then, square=square)
    gaps = gaps_of(wide)
    if isinstance(rule, Adaptive):
        beta = float(rule.beta)
        scaled = gaps * beta
        return softmax64(-scaled) if order == np.inf else share(powers(scaled, reach(scaled, order), order))
    if isinstance(rule, Anchored):
        found = (gaps == 0).astype(float) if order == np.inf else powers(gaps, float(rule.gamma), order)
        return share(np.where(np.isnan(gaps), np.nan, found))
    h = float(rule.h) ** 2 if square else float(rule.h)
    if order == np.inf:
        return softmax64(-gaps / h)
    # [h² − D]₊ over that of the nearest key, so that nothing overflows; a ball without a key is 0/0.
    reached = np.maximum(h / 2 + wide, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (reached / reached.max(-1, keepdims=True, initial=0)) ** order
    return share(found)


ORDERS = {"orders": ["1..8", "inf"]}


@mutant("Fixed(h) with h in the place of h²", op="weights", **ORDERS)
def bandwidth_not_squared(scores, kernel, rule):
    return ruled(scores, kernel, rule, square=False).astype(scores.dtype)


@mutant("the nearest k − 1 where k keys are all there are", op="weights", rule="nearest", plausible=True, **ORDERS)
def one_key_short(scores, kernel, rule):
    return ruled(scores, kernel, rule, keep=lambda k, m: k - (m <= k and k > 1)).astype(scores.dtype)


@mutant("the nearest k + 1", op="weights", rule="nearest", **ORDERS)
def one_key_more(scores, kernel, rule):
    return ruled(scores, kernel, rule, keep=lambda k, m: k + 1).astype(scores.dtype)


@mutant("Anchored below 1 is taken for 1", op="weights", rule="anchored:gamma", orders=["1..8"])
def anchors_of_at_least_one(scores, kernel, gamma):
    return ruled(scores, kernel, Anchored(max(float(gamma), 1.0))).astype(scores.dtype)


@mutant("β is applied after the threshold was found", op="weights", rule="adaptive:beta", orders=["1..8"])
def beta_too_late(scores, kernel, beta):
    gaps = gaps_of(scores.astype(np.float64))
    order = float(kernel.order)
    return share(powers(gaps, reach(gaps, order), order) ** float(beta)).astype(scores.dtype)


@mutant(
    "an empty ball promises NaN and gives the nearest key",
    op="weights",
    rule="fixed:h",
    orders=["1..8"],
    empty_row="nan",
)
def empty_ball_filled(scores, kernel, h):
    found = ruled(scores, kernel, Fixed(h))
    best = share((gaps_of(scores) == 0).astype(float))
    lost = np.isnan(found).all(-1, keepdims=True) & ~np.isnan(scores).any(-1, keepdims=True)
    return np.where(lost, best, found).astype(scores.dtype)


def regressed(q, k, v, kernel, rule, scale=1.0):
    """Kernel regression in float64, from differences."""
    q, k, v = (part.astype(np.float64) for part in (q, k, v))
    squares = ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1)
    return ruled(-scale * squares / 2, kernel, rule) @ v


SAFE = {"orders": ["1..8", "inf"], "rule": "adaptive", "scores": "dots"}


@mutant("squared distances without their half", op="regression", **SAFE)
def distances_not_halved(q, k, v, kernel, rule):
    return regressed(q, k, v, kernel, rule, scale=2.0).astype(q.dtype)


@mutant("distances from dot products in the given precision", op="regression", **(SAFE | {"scores": "differences"}))
def distances_cancel(q, k, v, kernel, rule):
    with np.errstate(all="ignore"):
        squares = (q**2).sum(-1)[..., :, None] - 2 * (q @ np.swapaxes(k, -1, -2)) + (k**2).sum(-1)[..., None, :]
    return (ruled(-squares / 2, kernel, rule) @ v.astype(np.float64)).astype(q.dtype)


@mutant("values weighted by the weights of the query before", op="regression", **SAFE)
def values_of_the_query_before(q, k, v, kernel, rule):
    return np.roll(regressed(q, k, v, kernel, rule), 1, axis=-2).astype(q.dtype)


def attended(
    q,
    k,
    v,
    kernel,
    rule,
    *,
    mask=None,
    causal=False,
    lengths=None,
    scale=None,
    key_norm_term=False,
    empty="nan",
    **fault,
):
    """Attention in float64; `fault` names what goes wrong."""
    dtype = q.dtype
    wide_q, wide_k, wide_v = (part.astype(np.float64) for part in (q, k, v))
    heads, groups = q.shape[-3], k.shape[-3]
    picked = np.arange(heads) % groups if fault.get("in_turn") else np.arange(heads) // (heads // groups)
    wide_k, wide_v = wide_k[..., picked, :, :], wide_v[..., picked, :, :]
    factor = max(q.shape[-1], 1) ** -fault.get("power", 0.5) if scale is None else float(scale)
    if key_norm_term:
        squares = ((wide_q[..., :, None, :] - wide_k[..., None, :, :]) ** 2).sum(-1)
        scores = -factor * squares / 2
    else:
        scores = factor * (wide_q @ np.swapaxes(wide_k, -1, -2))
    count, size = scores.shape[-2:]
    if causal:
        ahead = fault.get("ahead", 0)
        scores = np.where(np.arange(size) <= np.arange(count)[:, None] + size - count + ahead, scores, -np.inf)
    if lengths is not None:
        ends = np.asarray(lengths) - fault.get("short", 0)
        inside = np.arange(size) < ends[..., None]
        scores = np.where(inside.reshape(*ends.shape, *(1,) * (scores.ndim - ends.ndim - 1), size), scores, -np.inf)
    if mask is not None:
        given = np.asarray(mask)
        bias = np.where(given, 0.0, -np.inf) if given.dtype == bool else given.astype(np.float64)
        finite = 0.0 if fault.get("no_bias") else np.where(np.isneginf(bias), 0, bias)
        scores = np.where(np.isneginf(bias), -np.inf, scores + finite)
    weights = ruled(scores, kernel, rule)
    if fault.get("tail") and size > 16:
        weights[..., size - size % 16 :] = 0
    if fault.get("leaks"):
        return (weights @ wide_v).astype(dtype)
    hidden = np.isneginf(scores)
    if empty == "raise" and hidden.all(-1).any():
        msg = "a query has nothing to attend to"
        raise ValueError(msg)
    rows = [np.where(hidden[..., t, :, None], 0, wide_v) for t in range(count)]
    y = [
        np.einsum("...s,...se->...e", np.where(hidden[..., t, :], 0, weights[..., t, :]), rows[t]) for t in range(count)
    ]
    lost = np.isnan(weights).any(-1, keepdims=True) & (~hidden.all(-1, keepdims=True) | (empty == "nan"))
    stacked = np.stack(y, axis=-2) if count else np.zeros((*scores.shape[:-1], v.shape[-1]))
    return np.where(lost, np.nan, stacked).astype(dtype)


PLAIN = {"op": "attention", "orders": ["1..8", "inf"], "rule": "adaptive"}


@mutant("the scale is 1/d", **PLAIN)
def scale_without_root(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, power=1.0)


@mutant("query heads take their key heads in turn", plausible=True, **PLAIN)
def heads_in_turn(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, in_turn=True)


@mutant("causal rows see one key too many", plausible=True, **PLAIN)
def causal_sees_ahead(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, ahead=1)


@mutant("the last key of a length is left out", plausible=True, **PLAIN)
def length_short_by_one(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, short=1)


@mutant("the key norm term is ignored", plausible=True, **PLAIN)
def key_norms_ignored(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **{**options, "key_norm_term": False})


@mutant("an additive mask masks, but its finite part is dropped", plausible=True, **PLAIN)
def bias_dropped(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, no_bias=True)


@mutant("what a mask hides is multiplied by 0 and not left out", plausible=True, **PLAIN)
def masked_values_leak(q, k, v, kernel, rule, **options):
    with np.errstate(invalid="ignore"):
        return attended(q, k, v, kernel, rule, **options, leaks=True)


@mutant("the last block of keys is dropped where it is not full", plausible=True, **PLAIN)
def last_block_dropped(q, k, v, kernel, rule, **options):
    return attended(q, k, v, kernel, rule, **options, tail=True)


@mutant("queries and keys go through half precision", **PLAIN)
def half_precision_products(q, k, v, kernel, rule, **options):
    with np.errstate(over="ignore"):
        narrow = [part.astype(np.float16).astype(part.dtype) for part in (q, k)]
    return attended(*narrow, v, kernel, rule, **options)
