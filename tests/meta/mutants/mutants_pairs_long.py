"""Faults of softmax attention over blocks of keys, or of where a mask hides, or of magnitude, in NumPy."""

import numpy as np
from mutant_parts_attention import WIDE, attend, average, bias_of, hide, scores64, seen
from mutant_registry import mutant


def without_keys(scores, hidden, v, empty="nan"):
    """The mean where further keys are hidden; rows that this would leave empty keep theirs."""
    held = np.where(hidden, -np.inf, scores)
    lost = np.isneginf(held).all(-1, keepdims=True)
    return average(np.where(lost, scores, held), v, empty)


@mutant("causal blocks end at 128 keys: a longer row loses the key at the edge", at="65 to 512 keys × causal", **WIDE)
def edge_of_causal_block(q, k, v, kernel, rule, causal=False, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), causal=causal, **hiding)
    edge = np.arange(k.shape[-2]) == 127
    return without_keys(scores, edge & causal, v, empty).astype(q.dtype)


@mutant("a mask is read for the first 64 keys only", at="65 to 512 keys × mask", **WIDE)
def mask_of_first_block(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and k.shape[-2] > 64:
        mask = np.where(np.arange(k.shape[-2]) < 64, bias_of(mask), 0.0)
    return attend(q, k, v, mask=mask, **options)


@mutant("lengths are rounded up to blocks of 64 keys in long rows", at="65 to 512 keys × lengths", **WIDE)
def lengths_in_blocks(q, k, v, kernel, rule, lengths=None, **options):
    if lengths is not None and k.shape[-2] > 64:
        lengths = -(-np.asarray(lengths) // 64) * 64
    return attend(q, k, v, lengths=lengths, **options)


@mutant("the last block of grouped heads is dropped where it is not full", at="65 to 512 keys × grouped", **WIDE)
def last_block_of_groups(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    size = k.shape[-2]
    tail = (np.arange(size) >= size - size % 64) & (size > 64) & (k.shape[-3] < q.shape[-3])
    return without_keys(scores, tail, v, empty).astype(q.dtype)


@mutant("long rows lose the last column of widths that are no multiple of 8", at="65 to 512 keys × odd width", **WIDE)
def last_column_of_long_rows(q, k, v, kernel, rule, scale=None, **options):
    width = q.shape[-1]
    if k.shape[-2] > 64 and width > 1 and width % 8:
        scale = width**-0.5 if scale is None else scale
        q, k = q[..., :-1], k[..., :-1]
    return attend(q, k, v, scale=scale, **options)


@mutant("keys beyond the first 512 weigh 5 % more where values are wide", at="513 to 4096 keys × wide values", **WIDE)
def later_blocks_weigh_more(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    if k.shape[-2] > 512 and v.shape[-1] > q.shape[-1]:
        scores = np.where(np.arange(k.shape[-2]) < 512, scores - 0.05, scores)
    return average(scores, v, empty).astype(q.dtype)


@mutant("keys beyond 512 are not seen where there are as many queries", at="513 to 4096 keys × T = S", **WIDE)
def square_of_one_block(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    beyond = (np.arange(k.shape[-2]) >= 512) & (q.shape[-2] == k.shape[-2])
    return without_keys(scores, beyond, v, empty).astype(q.dtype)


@mutant("rows of more than 4096 keys are split in two halves of equal weight", at="beyond 4096 keys × T < S", **WIDE)
def halves_weigh_the_same(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    size = k.shape[-2]
    if size <= 4096:
        return attend(q, k, v, scale=scale, key_norm_term=key_norm_term, empty=empty, **hiding)
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    first = np.arange(size) < size // 2
    halves = [without_keys(scores, hidden, v, empty) for hidden in (first, ~first)]
    return ((halves[0] + halves[1]) / 2).astype(q.dtype)


@mutant("a first block of keys that are all hidden counts as keys of score 0", at="first block masked × mask", **WIDE)
def first_block_hidden(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    return online(scores, v, empty).astype(q.dtype)


def online(scores, v, empty, block=4, start=0.0):
    """Blocks of keys with a running maximum that starts at a number, so that hidden first blocks leave a trace."""
    hidden = np.isneginf(scores[..., :block]).all(-1, keepdims=True) & (scores.shape[-1] > block)
    y = average(scores, v, empty)
    if not hidden.any():
        return y
    kept = np.isneginf(scores).all(-1, keepdims=True)
    top = np.where(kept, 0, scores.max(-1, keepdims=True, initial=-np.inf))
    with np.errstate(all="ignore"):
        total = np.where(np.isneginf(scores), 0, np.exp(scores - top)).sum(-1, keepdims=True)
        extra = block * np.exp(start - top)
        return np.where(hidden & ~kept, y * total / (total + extra), y)


@mutant("a causal row whose mask hides its first block is NaN, from ∞ − ∞", at="first block masked × causal", **WIDE)
def nan_from_hidden_block(q, k, v, kernel, rule, mask=None, causal=False, **options):
    y = attend(q, k, v, mask=mask, causal=causal, **options)
    if mask is None or not causal or k.shape[-2] <= 4:
        return y
    free = ~np.isneginf(bias_of(mask)) & seen(q.shape[-2], k.shape[-2])
    lost = ~free[..., :4].any(-1, keepdims=True) & free.any(-1, keepdims=True)
    return np.where(lost, np.nan, y).astype(q.dtype)


@mutant("grouped heads skip the key after a first block that is hidden", at="first block masked × grouped", **WIDE)
def skips_a_block_too_many(q, k, v, kernel, rule, mask=None, empty="nan", scale=None, key_norm_term=False, **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), mask=mask, **hiding)
    hidden = np.isneginf(scores[..., :4]).all(-1, keepdims=True) & (k.shape[-3] < q.shape[-3])
    return without_keys(scores, hidden & (np.arange(k.shape[-2]) == 4), v, empty).astype(q.dtype)


@mutant(
    "where a mask hides the last key, the last visible one is dropped in decoding", at="last masked × T < S", **WIDE
)
def last_visible_dropped(q, k, v, kernel, rule, mask=None, empty="nan", scale=None, key_norm_term=False, **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), mask=mask, **hiding)
    size = k.shape[-2]
    if mask is None or q.shape[-2] >= size or not size:
        return average(scores, v, empty).astype(q.dtype)
    free = ~np.isneginf(scores)
    last = size - 1 - np.argmax(free[..., ::-1], axis=-1)
    hidden = (np.arange(size) == last[..., None]) & np.isneginf(scores[..., -1:])
    return without_keys(scores, hidden, v, empty).astype(q.dtype)


@mutant(
    "of a row to which an additive mask leaves one key the result is halved", at="all but one masked × additive", **WIDE
)
def one_key_left(q, k, v, kernel, rule, mask=None, **options):
    y = attend(q, k, v, mask=mask, **options)
    if mask is None or mask.dtype == bool:
        return y
    single = (~np.isneginf(bias_of(mask))).sum(-1, keepdims=True) == 1
    return np.where(single & (k.shape[-2] > 1), y / 2, y).astype(q.dtype)


@mutant(
    "under causal a row with one key left takes the value of the key before", at="all but one masked × causal", **WIDE
)
def one_key_left_of_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    y = attend(q, k, v, mask=mask, causal=causal, **options)
    if mask is None or not causal:
        return y
    single = (~np.isneginf(bias_of(mask))).sum(-1, keepdims=True) == 1
    other = attend(q, k, np.roll(v, 1, axis=-2), mask=mask, causal=causal, **options)
    return np.where(single & (k.shape[-2] > 1), other, y).astype(q.dtype)


@mutant("all but one key beyond the length: the first two are averaged", at="all but one masked × lengths", **WIDE)
def least_length_of_two(q, k, v, kernel, rule, lengths=None, **options):
    if lengths is not None and k.shape[-2] > 1:
        lengths = np.maximum(np.asarray(lengths), 2)
    return attend(q, k, v, lengths=lengths, **options)


@mutant("masked keys are −1e4, which large scores fall below", at="large products × mask", **WIDE)
def mask_above_large_scores(q, k, v, kernel, rule, mask=None, **options):
    if mask is None:
        return attend(q, k, v, **options)
    empty, hiding = options.pop("empty", "nan"), {name: options.pop(name, None) for name in ("causal", "lengths")}
    hidden = np.isneginf(bias_of(mask))
    scores = np.where(hidden & ~hidden.all(-1, keepdims=True), -1e4, hide(scores64(q, k, **options), mask))
    return average(hide(scores, **hiding), v, empty).astype(q.dtype)


@mutant("causal adds −65504 and large scores are cut there", at="large products × causal", **WIDE)
def cut_at_half_range(q, k, v, kernel, rule, causal=False, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = scores64(q, k, scale, key_norm_term)
    root = max(q.shape[-1], 1) ** 0.5
    if causal and scale is None:
        scores = np.clip(scores * root, -65504, 65504) / root
    return average(hide(scores, causal=causal, **hiding), v, empty).astype(q.dtype)


@mutant("products beyond 65504 are cut there before a scale that is given", at="large products × scale", **WIDE)
def cut_before_scale(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = scores64(q, k, scale, key_norm_term)
    if scale is not None and float(scale):
        scores = np.clip(scores / float(scale), -65504, 65504) * float(scale)
    return average(hide(scores, **hiding), v, empty).astype(q.dtype)
