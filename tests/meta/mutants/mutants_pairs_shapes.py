"""Faults of softmax attention that show only for an option and a shape, or two properties of a shape, in NumPy."""

import numpy as np
from mutant_parts_attention import WIDE, attend, average, hide, inside, scores64
from mutant_registry import mutant


@mutant("causal starts at the first key where there are more keys than queries", at="T < S × causal", **WIDE)
def top_left_for_more_keys(q, k, v, kernel, rule, causal=False, **options):
    diagonal = 0 if q.shape[-2] < k.shape[-2] else None
    return attend(q, k, v, causal=causal, diagonal=diagonal, **options)


@mutant("causal starts at the first key where there are more queries than keys", at="T > S × causal", **WIDE)
def top_left_for_more_queries(q, k, v, kernel, rule, causal=False, **options):
    diagonal = 0 if q.shape[-2] > k.shape[-2] else None
    return attend(q, k, v, causal=causal, diagonal=diagonal, **options)


@mutant("a single causal query sees the first key only", at="one query × causal", **WIDE)
def one_query_sees_one_key(q, k, v, kernel, rule, causal=False, **options):
    return attend(q, k, v, causal=causal, diagonal=0 if q.shape[-2] == 1 else None, **options)


@mutant("the causal diagonal of a square of more than 8 queries is one too low", at="T = S × causal", **WIDE)
def low_diagonal_of_squares(q, k, v, kernel, rule, causal=False, **options):
    square = q.shape[-2] == k.shape[-2] and q.shape[-2] > 8
    return attend(q, k, v, causal=causal, diagonal=-1 if causal and square else None, **options)


@mutant("a mask is read with as many columns as queries", at="T < S × mask", **WIDE)
def mask_with_wrong_stride(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and q.shape[-2] < k.shape[-2]:
        mask = np.roll(mask, 1, axis=-1)
    return attend(q, k, v, mask=mask, **options)


@mutant("queries beyond the number of keys read the mask from its first row again", at="T > S × mask", **WIDE)
def mask_rows_from_the_top(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.shape[-2] > k.shape[-2] > 0:
        mask = mask[..., np.arange(mask.shape[-2]) % k.shape[-2], :]
    return attend(q, k, v, mask=mask, **options)


@mutant("queries beyond the length are 0, as if they were keys", at="T > S × lengths", **WIDE)
def lengths_of_queries(q, k, v, kernel, rule, lengths=None, **options):
    y = attend(q, k, v, lengths=lengths, **options)
    if lengths is None or q.shape[-2] <= k.shape[-2]:
        return y
    return np.where(np.swapaxes(inside(lengths, q.ndim, q.shape[-2]), -1, -2), y, 0).astype(q.dtype)


@mutant("where there are fewer queries than keys a length is one too short", at="T < S × lengths", **WIDE)
def length_less_missing_queries(q, k, v, kernel, rule, lengths=None, **options):
    if lengths is not None and 1 < q.shape[-2] < k.shape[-2]:
        lengths = np.maximum(np.asarray(lengths) - 1, 1)
    return attend(q, k, v, lengths=lengths, **options)


@mutant("query heads take their key heads in turn where the queries are fewer", at="T < S × grouped", **WIDE)
def heads_in_turn_when_decoding(q, k, v, kernel, rule, **options):
    return in_turn(q, k, v, q.shape[-2] < k.shape[-2], **options)


def in_turn(q, k, v, when, **options):
    """With each query head's key head taken in turn, h mod Hk, and not in groups."""
    if not when:
        return attend(q, k, v, **options)
    picked = np.arange(q.shape[-3]) % k.shape[-3]
    return attend(q, k[..., picked, :, :], v[..., picked, :, :], **options)


@mutant("with lengths query heads take their key heads in turn", at="grouped × lengths", **WIDE)
def heads_in_turn_if_lengths(q, k, v, kernel, rule, lengths=None, **options):
    return in_turn(q, k, v, lengths is not None, lengths=lengths, **options)


@mutant("causal grouped heads take their key heads in turn", at="grouped × causal", **WIDE)
def heads_in_turn_if_causal(q, k, v, kernel, rule, causal=False, **options):
    return in_turn(q, k, v, causal, causal=causal, **options)


@mutant("grouped heads take turns where values are wider than keys", at="grouped × wide values", **WIDE)
def heads_in_turn_for_wide_values(q, k, v, kernel, rule, **options):
    return in_turn(q, k, v, v.shape[-1] > q.shape[-1], **options)


@mutant("an inner axis of one is taken for the heads: they take turns", at="grouped × inner axis 1", **WIDE)
def heads_in_turn_for_inner_one(q, k, v, kernel, rule, **options):
    return in_turn(q, k, v, q.ndim > 3 and q.shape[-4] == 1, **options)


@mutant("without a batch axis grouped heads take their key heads in turn", at="grouped × no batch", **WIDE)
def heads_in_turn_without_batch(q, k, v, kernel, rule, **options):
    return in_turn(q, k, v, q.ndim == 3, **options)


@mutant("with several batch axes grouped heads take turns", at="grouped × several batch axes", **WIDE)
def heads_in_turn_in_nested_batches(q, k, v, kernel, rule, **options):
    return in_turn(q, k, v, q.ndim > 4, **options)


@mutant("a mask of its own for each head is read by key head", at="grouped × mask", **WIDE)
def mask_by_key_head(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.ndim > 2 and mask.shape[-3] == q.shape[-3] > k.shape[-3]:
        mask = mask[..., np.arange(q.shape[-3]) * k.shape[-3] // q.shape[-3], :, :]
    return attend(q, k, v, mask=mask, **options)


@mutant("the key norm term of grouped heads is that of the first key head", at="grouped × key_norm_term", **WIDE)
def norms_of_first_key_head(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    if not key_norm_term or k.shape[-3] == q.shape[-3]:
        return attend(q, k, v, scale=scale, key_norm_term=key_norm_term, empty=empty, **hiding)
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    norms = (k[..., :1, :, :].astype(np.float64) ** 2).sum(-1)[..., None, :]
    return average(hide(scores64(q, k, scale) - factor * norms / 2, **hiding), v, empty).astype(q.dtype)


@mutant("one key head: every entry of the batch reads the keys of the first", at="one key head × batch", **WIDE)
def first_keys_for_all(q, k, v, kernel, rule, **options):
    if k.shape[-3] == 1 < q.shape[-3] and q.ndim > 3:
        k = np.broadcast_to(k[:1], k.shape)
    return attend(q, k, v, **options)


@mutant("one key head: causal is taken of the flat queries of all heads", at="one key head × causal", **WIDE)
def flat_diagonal(q, k, v, kernel, rule, causal=False, **options):
    if causal and k.shape[-3] == 1 < q.shape[-3]:
        options["diagonal"] = k.shape[-2] - q.shape[-2] + 1
    return attend(q, k, v, causal=causal, **options)


@mutant("values wider than the keys are cut and filled with 0 under a mask", at="wide values × mask", **WIDE)
def wide_values_cut(q, k, v, kernel, rule, mask=None, **options):
    y = attend(q, k, v, mask=mask, **options)
    if mask is not None and v.shape[-1] > q.shape[-1]:
        y[..., q.shape[-1] :] = 0
    return y


@mutant("under causal the last column of narrow values is the first", at="narrow values × causal", **WIDE)
def narrow_values_wrap(q, k, v, kernel, rule, causal=False, **options):
    if causal and 1 < v.shape[-1] < q.shape[-1]:
        v = np.concatenate([v[..., :-1], v[..., :1]], axis=-1)
    return attend(q, k, v, causal=causal, **options)


@mutant("columns beyond 32 of the values of grouped heads repeat the first", at="grouped × values beyond 32", **WIDE)
def columns_beyond_a_block(q, k, v, kernel, rule, **options):
    if v.shape[-1] > 32 and k.shape[-3] < q.shape[-3]:
        v = v[..., np.arange(v.shape[-1]) % 32]
    return attend(q, k, v, **options)


@mutant("the scale of the default is that of the values' width", at="T = S × wide values", **WIDE)
def scale_of_values(q, k, v, kernel, rule, scale=None, **options):
    if scale is None and q.shape[-2] == k.shape[-2] and v.shape[-1] > q.shape[-1]:
        scale = v.shape[-1] ** -0.5
    return attend(q, k, v, scale=scale, **options)


@mutant("a mask with a batch axis is that of the first entry", at="batch × mask", **WIDE)
def mask_of_first_entry(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.ndim == q.ndim > 3:
        mask = np.broadcast_to(mask[:1], mask.shape)
    return attend(q, k, v, mask=mask, **options)


@mutant("with a mask the scale of width 1 is that of width 2", at="width 1 × mask", **WIDE)
def least_width_of_two(q, k, v, kernel, rule, mask=None, scale=None, **options):
    if q.shape[-1] == 1 and mask is not None and scale is None:
        scale = 2**-0.5
    return attend(q, k, v, mask=mask, scale=scale, **options)


@mutant("columns beyond the last full eight are left out of causal scores", at="odd width × causal", **WIDE)
def columns_in_eights(q, k, v, kernel, rule, causal=False, scale=None, **options):
    width = q.shape[-1]
    if causal and width > 8 and width % 8:
        scale = width**-0.5 if scale is None else scale
        q, k = q[..., : width - width % 8], k[..., : width - width % 8]
    return attend(q, k, v, causal=causal, scale=scale, **options)


@mutant("the width is rounded up to a power of two in the scale of grouped heads", at="odd width × grouped", **WIDE)
def scale_of_padded_width(q, k, v, kernel, rule, scale=None, **options):
    if scale is None and k.shape[-3] < q.shape[-3]:
        scale = (1 << max(q.shape[-1] - 1, 0).bit_length()) ** -0.5
    return attend(q, k, v, scale=scale, **options)
