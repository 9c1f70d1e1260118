"""Faults of softmax attention that show only where two options of a call come together, in NumPy."""

import numpy as np
from mutant_parts_attention import WIDE, attend, average, bias_of, hide, inside, scores64, seen, spread
from mutant_registry import mutant


@mutant("a mask that is given makes causal be forgotten", at="mask × causal", **WIDE)
def mask_for_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    return attend(q, k, v, mask=mask, causal=causal and mask is None, **options)


@mutant("causal makes a mask be forgotten", at="mask × causal", **WIDE)
def causal_for_mask(q, k, v, kernel, rule, mask=None, causal=False, **options):
    return attend(q, k, v, mask=None if causal else mask, causal=causal, **options)


@mutant("a key is hidden only if both the mask and causal hide it", at="mask × causal", **WIDE)
def either_of_mask_and_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    if mask is None or not causal:
        return attend(q, k, v, mask=mask, causal=causal, **options)
    bias = bias_of(mask)
    return attend(q, k, v, mask=np.where(np.isneginf(bias) & seen(q.shape[-2], k.shape[-2]), 0, bias), **options)


@mutant("with causal an additive mask only masks: its finite part is dropped", at="additive × causal", **WIDE)
def bias_dropped_if_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    if mask is not None and causal:
        mask = ~np.isneginf(bias_of(mask))
    return attend(q, k, v, mask=mask, causal=causal, **options)


@mutant("with causal the bias of an additive mask is added twice", at="additive × causal", **WIDE)
def bias_twice_if_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    if mask is not None and causal and mask.dtype != bool:
        mask = 2 * bias_of(mask)
    return attend(q, k, v, mask=mask, causal=causal, **options)


@mutant("lengths are not looked at if there is a mask", at="mask × lengths", **WIDE)
def mask_for_lengths(q, k, v, kernel, rule, mask=None, lengths=None, **options):
    return attend(q, k, v, mask=mask, lengths=lengths if mask is None else None, **options)


@mutant("the mask is dropped in a batch with lengths", at="mask × lengths", **WIDE)
def lengths_for_mask(q, k, v, kernel, rule, mask=None, lengths=None, **options):
    return attend(q, k, v, mask=mask if lengths is None else None, lengths=lengths, **options)


@mutant("lengths make causal be forgotten", at="causal × lengths", **WIDE)
def lengths_for_causal(q, k, v, kernel, rule, causal=False, lengths=None, **options):
    return attend(q, k, v, causal=causal and lengths is None, lengths=lengths, **options)


@mutant("with lengths the causal diagonal is moved to the end of each length", at="causal × lengths", **WIDE)
def diagonal_at_length(q, k, v, kernel, rule, causal=False, lengths=None, **options):
    if not causal or lengths is None:
        return attend(q, k, v, causal=causal, lengths=lengths, **options)
    scores = scores64(q, k, options.get("scale"), options.get("key_norm_term", False))
    count, size = scores.shape[-2:]
    ends = np.asarray(lengths).reshape(*np.shape(lengths), 1, 1, 1)
    free = np.arange(size) <= np.maximum(np.arange(count)[:, None] + ends - count, 0)
    held = hide(np.where(free, scores, -np.inf), options.get("mask"), lengths=lengths)
    return average(held, v, options.get("empty", "nan")).astype(q.dtype)


@mutant("the bias is scaled together with the scores where a scale is given", at="additive × scale", **WIDE)
def bias_scaled(q, k, v, kernel, rule, mask=None, scale=None, **options):
    if mask is not None and scale is not None and mask.dtype != bool:
        mask = bias_of(mask) * float(scale)
    return attend(q, k, v, mask=mask, scale=scale, **options)


@mutant("a boolean mask takes the path of the default scale", at="mask × scale", **WIDE)
def default_scale_if_masked(q, k, v, kernel, rule, mask=None, scale=None, **options):
    return attend(q, k, v, mask=mask, scale=scale if mask is None else None, **options)


@mutant("the causal path has 1/√d built in and ignores the scale", at="causal × scale", **WIDE)
def default_scale_if_causal(q, k, v, kernel, rule, causal=False, scale=None, **options):
    return attend(q, k, v, causal=causal, scale=None if causal else scale, **options)


@mutant("with lengths the scale is applied twice", at="lengths × scale", **WIDE)
def scaled_twice_if_lengths(q, k, v, kernel, rule, lengths=None, scale=None, **options):
    if lengths is not None and scale is not None:
        scale = float(scale) ** 2
    return attend(q, k, v, lengths=lengths, scale=scale, **options)


@mutant("the key norm term is left out of the causal path", at="key_norm_term × causal", **WIDE)
def no_key_norm_if_causal(q, k, v, kernel, rule, causal=False, key_norm_term=False, **options):
    return attend(q, k, v, causal=causal, key_norm_term=key_norm_term and not causal, **options)


@mutant("the key norm term is left out where there is a mask", at="key_norm_term × mask", **WIDE)
def no_key_norm_if_masked(q, k, v, kernel, rule, mask=None, key_norm_term=False, **options):
    return attend(q, k, v, mask=mask, key_norm_term=key_norm_term and mask is None, **options)


@mutant("the key norm term is not multiplied by a scale that is given", at="key_norm_term × scale", **WIDE)
def key_norm_unscaled(q, k, v, kernel, rule, key_norm_term=False, scale=None, empty="nan", **hiding):
    if not key_norm_term or scale is None:
        return attend(q, k, v, key_norm_term=key_norm_term, scale=scale, empty=empty, **hiding)
    norms = (spread(k, q.shape[-3]) ** 2).sum(-1)[..., None, :]
    return average(hide(scores64(q, k, scale) - norms / 2, **hiding), v, empty).astype(q.dtype)


@mutant("with lengths the key norms are those of the first of the batch", at="key_norm_term × lengths", **WIDE)
def key_norm_of_first(q, k, v, kernel, rule, key_norm_term=False, lengths=None, scale=None, empty="nan", **hiding):
    if not key_norm_term or lengths is None:
        hiding |= {"scale": scale, "empty": empty, "key_norm_term": key_norm_term}
        return attend(q, k, v, lengths=lengths, **hiding)
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    norms = (spread(k, q.shape[-3])[:1] ** 2).sum(-1)[..., None, :]
    scores = scores64(q, k, scale) - factor * norms / 2
    return average(hide(scores, lengths=lengths, **hiding), v, empty).astype(q.dtype)


@mutant("a boolean mask is read as true where a key is hidden, in the causal path", at="boolean × causal", **WIDE)
def inverted_if_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    if mask is not None and causal and mask.dtype == bool:
        mask = ~mask
    return attend(q, k, v, mask=mask, causal=causal, **options)


@mutant("with causal a key that the mask hides is only lowered by 10", at="additive × causal", **WIDE)
def lowered_if_causal(q, k, v, kernel, rule, mask=None, causal=False, **options):
    if mask is not None and causal:
        mask = np.maximum(bias_of(mask), -10.0)
    return attend(q, k, v, mask=mask, causal=causal, **options)


@mutant("the length counts from the first key that the mask leaves", at="mask × lengths", **WIDE)
def length_after_mask(q, k, v, kernel, rule, mask=None, lengths=None, **options):
    if mask is None or lengths is None:
        return attend(q, k, v, mask=mask, lengths=lengths, **options)
    free = ~np.isneginf(bias_of(mask))
    scores = scores64(q, k, options.get("scale"), options.get("key_norm_term", False))
    free = np.broadcast_to(free, scores.shape)
    ends = np.asarray(lengths).reshape(*np.shape(lengths), 1, 1, 1)
    within = np.cumsum(free, axis=-1) <= ends
    held = hide(np.where(within, scores, -np.inf), mask, options.get("causal", False))
    return average(held, v, options.get("empty", "nan")).astype(q.dtype)


@mutant("with a mask a scale that is given is 2 % too large", at="mask × scale", **WIDE)
def larger_scale_if_masked(q, k, v, kernel, rule, mask=None, scale=None, **options):
    both = mask is not None and scale is not None
    return attend(q, k, v, mask=mask, scale=1.02 * float(scale) if both else scale, **options)


@mutant("a mask that is the same for all queries is cut at the length plus one", at="boolean × lengths", **WIDE)
def one_key_beyond_length(q, k, v, kernel, rule, mask=None, lengths=None, **options):
    if mask is not None and lengths is not None and mask.dtype == bool:
        free = inside(np.asarray(lengths) + 1, q.ndim, k.shape[-2])
        return attend(q, k, v, mask=np.where(free, bias_of(mask), -np.inf), **options)
    return attend(q, k, v, mask=mask, lengths=lengths, **options)


@mutant("a mask of keys, for all heads and queries, is that of the first entry of the batch", **WIDE)
def padding_of_first_entry(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.ndim > 3 and mask.shape[-3:-1] == (1, 1):
        mask = np.broadcast_to(mask[:1], mask.shape)
    return attend(q, k, v, mask=mask, **options)


@mutant("a mask with an axis of heads that has none of the batch hides by the first head", **WIDE)
def mask_of_first_head(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.ndim > 3 and q.shape[0] > 1 == mask.shape[0] and mask.shape[-3] > 1:
        mask = np.broadcast_to(mask[..., :1, :, :], mask.shape)
    return attend(q, k, v, mask=mask, **options)


@mutant("scores are those of the first 128 columns: wider keys lose the others", **WIDE)
def columns_of_one_tile(q, k, v, kernel, rule, scale=None, **options):
    scale = max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    return attend(q[..., :128], k[..., :128], v, scale=scale, **options)
