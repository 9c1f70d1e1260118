"""Softmax attention in NumPy with every option, right in float64, in pieces that a mutant can call with one wrong."""

from __future__ import annotations

import numpy as np
from mutant_parts import softmax64

SOFT = {"op": "attention", "orders": ["inf"], "rule": "adaptive:1"}
"""What softmax attention with every option declares."""
WIDE = SOFT | {"dtypes": ["float64", "float32"]}
"""The same, asked in two dtypes: a fault of the options is the same in all of them."""


def spread(part, heads):
    """The part of k or v that each of the query heads reads, in float64."""
    return np.repeat(part.astype(np.float64), heads // part.shape[-3], axis=-3)


def scores64(q, k, scale=None, key_norm_term=False):
    """The scores, before anything is hidden."""
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    wide_q, wide_k = q.astype(np.float64), spread(k, q.shape[-3])
    if key_norm_term:
        return -factor * ((wide_q[..., :, None, :] - wide_k[..., None, :, :]) ** 2).sum(-1) / 2
    return factor * (wide_q @ np.swapaxes(wide_k, -1, -2))


def seen(count, size, diagonal=None):
    """(T, S) what a causal mask lets be seen: the last query sees every key, unless another diagonal is given."""
    return np.tri(count, size, size - count if diagonal is None else diagonal, dtype=bool)


def inside(lengths, ndim, size):
    """The keys within the lengths, with an axis for each of the scores."""
    ends = np.asarray(lengths)
    return (np.arange(size) < ends[..., None]).reshape(*ends.shape, *(1,) * (ndim - ends.ndim - 1), size)


def bias_of(mask):
    """A mask of either kind as what is added to the scores."""
    given = np.asarray(mask)
    return np.where(given, 0.0, -np.inf) if given.dtype == bool else given.astype(np.float64)


def hide(scores, mask=None, causal=False, lengths=None, diagonal=None):
    """Scores plus bias, with −∞ where a key is hidden, whatever its score is."""
    count, size = scores.shape[-2:]
    if causal:
        scores = np.where(seen(count, size, diagonal), scores, -np.inf)
    if lengths is not None:
        scores = np.where(inside(lengths, scores.ndim, size), scores, -np.inf)
    if mask is not None:
        bias = bias_of(mask)
        scores = np.where(np.isneginf(bias), -np.inf, scores + np.where(np.isneginf(bias), 0, bias))
    return scores


def average(scores, v, empty="nan", weigh=softmax64):
    """The weighted mean of the values; hidden values do not matter, and a row without keys is what `empty` says."""
    hidden = np.isneginf(scores)
    lost = hidden.all(-1, keepdims=True)
    if empty == "raise" and lost.any():
        msg = "a query has nothing to attend to"
        raise ValueError(msg)
    weights, wide = np.where(hidden, 0, weigh(scores)), spread(v, scores.shape[-3])
    with np.errstate(invalid="ignore"):
        if np.isfinite(wide).all():
            y = weights @ wide
        else:
            y = np.where(hidden[..., None], 0, weights[..., None] * wide[..., None, :, :]).sum(-2)
    return np.where(lost, 0.0 if empty == "zeros" else np.nan, y)


def attend(q, k, v, *, scale=None, key_norm_term=False, empty="nan", weigh=softmax64, **hiding):
    """Attention."""
    return average(hide(scores64(q, k, scale, key_norm_term), **hiding), v, empty, weigh).astype(q.dtype)


def broken(when, wrong, right):
    """The wrong result where a condition holds, else the right one; both are functions without arguments."""
    return wrong() if when else right()
