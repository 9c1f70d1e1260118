"""Correct softmax attention in many styles: calling one of them wrong is a false alarm."""

import numpy as np
import torch
from mutant_parts import softmax64
from mutant_parts_attention import SOFT, WIDE, attend, average, hide, scores64
from mutant_parts_torch import HALF, OPTIONS, allowed, bias_of, mean, scores_of, weigh, without
from mutant_parts_torch import SOFT as TORCH_SOFT
from mutant_parts_torch import attend as torch_attend
from mutant_parts_torch import spread as torch_spread
from mutant_registry import correct

LOW = TORCH_SOFT | {"dtypes": HALF}


@correct(**SOFT)
def attention_with_every_option(q, k, v, kernel, rule, **options):
    """float64 inside, NumPy."""
    return attend(q, k, v, **options)


@correct(**TORCH_SOFT)
def differentiable_attention(q, k, v, kernel, rule, **options):
    """float64 inside, differentiated by PyTorch."""
    return torch_attend(q, k, v, **options)


@correct(**WIDE)
def attention_of_reversed_keys(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    """Keys summed from the last to the first."""
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    return average(scores[..., ::-1], v[..., ::-1, :], empty).astype(q.dtype)


@correct(**WIDE)
def attention_query_by_query(q, k, v, kernel, rule, mask=None, causal=False, **options):
    """A loop over queries, each with its row of the mask."""
    count, size = q.shape[-2], k.shape[-2]
    rows = []
    for t in range(count):
        free = np.arange(size) <= t + size - count if causal else np.ones(size, bool)
        bias = np.where(free, 0.0, -np.inf)[None]
        if mask is not None:
            row = mask[..., t : t + 1, :]
            bias = bias + (np.where(row, 0.0, -np.inf) if row.dtype == bool else row.astype(np.float64))
        rows.append(attend(q[..., t : t + 1, :], k, v, mask=bias, **options))
    return np.concatenate(rows, axis=-2) if rows else attend(q, k, v, **options)


@correct(**WIDE)
def attention_head_by_head(q, k, v, kernel, rule, mask=None, **options):
    """A loop over query heads, each with its key head."""
    group = q.shape[-3] // k.shape[-3]
    heads = []
    for h in range(q.shape[-3]):
        at = h // group
        own = mask if mask is None or mask.ndim < 3 or mask.shape[-3] == 1 else mask[..., h : h + 1, :, :]
        parts = (q[..., h : h + 1, :, :], k[..., at : at + 1, :, :], v[..., at : at + 1, :, :])
        heads.append(attend(*parts, mask=own, **options))
    return np.concatenate(heads, axis=-3)


@correct(**LOW)
def eager_in_half(q, k, v, kernel, rule, **options):
    """Scores from products in half precision, softmax in float32, weights in half precision: as models have it.

    Queries are divided by 16 first, which rounds nothing, so that products beyond 65504 are numbers of float16.
    """
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    if options.get("key_norm_term"):
        return torch_attend(q, k, v, **options)
    factor = q.shape[-1] ** -0.5 if options.get("scale") is None else float(options["scale"])
    scores = scores_of(q / 16, without(k, free), **(options | {"scale": 16 * factor})).float()
    return mean(weigh(scores + bias_of(options.get("mask"), torch.float32), free).to(q.dtype), v)


@correct(**(LOW | {"gradients": []}))
def single_inside_half_weights(q, k, v, kernel, rule, **options):
    """Products and softmax in float32, and weights that are stored in half precision for P·V in float32."""
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(q.float(), without(k, free).float(), **options) + bias_of(options.get("mask"), torch.float32)
    return mean(weigh(scores, free).to(q.dtype).float(), v.float()).to(q.dtype)


@correct(**(LOW | {"gradients": []}))
def blocks_in_half(q, k, v, kernel, rule, **options):
    """Blocks of keys with a running maximum and sum in float32; exponentials are stored in half precision for P·V."""
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(q.float(), without(k, free).float(), **options) + bias_of(options.get("mask"), torch.float32)
    scores = scores.masked_fill(~free, -torch.inf)
    wide = torch.where(free.any(-2)[..., None], torch_spread(v, q.shape[-3]), 0)
    top = torch.full((*q.shape[:-1], 1), -torch.inf)
    total, y = torch.zeros_like(top), torch.zeros(*q.shape[:-1], v.shape[-1])
    for at in range(0, k.shape[-2], 16):
        block = scores[..., at : at + 16]
        new = torch.maximum(top, block.amax(-1, keepdim=True))
        safe = torch.where(torch.isneginf(new), torch.zeros_like(new), new)
        terms, kept = torch.exp(block - safe), torch.exp(top - safe)
        total = total * kept + terms.sum(-1, keepdim=True)
        y = y * kept + terms.to(q.dtype).float() @ wide[..., at : at + 16, :].float()
        top = new
    return (y / total).to(q.dtype)


@correct(op="attention", order="inf", rule="adaptive:1", least_rank=4, causal="top-left", exclusive=["mask", "causal"])
def sdpa_of_torch(query, key, value, attn_mask=None, is_causal=False, scale=None):
    """PyTorch's own, with its mask, its alignment of causal and its scale."""
    group = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(group, -3), value.repeat_interleave(group, -3)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attn_mask, is_causal=is_causal, scale=scale
    )


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float32", "bfloat16"], square=True, least_rank=4)
def sdpa_math(query, key, value, is_causal=False):
    """The unfused form of PyTorch's own."""
    group = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(group, -3), value.repeat_interleave(group, -3)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32"])
def eager_in_single(q, k, v, causal=False, scale=None):
    """The usual lines in the dtype that came, differentiated by PyTorch."""
    scores = scores_of(q, k, scale)
    free = allowed(scores.shape, causal=causal)
    return mean(weigh(scores, free), v)


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32"], gradients=[])
def split_scale(q, k, v, causal=False):
    """Queries and keys each carry the fourth root of the width."""
    root = max(q.shape[-1], 1) ** -0.25
    scores = (q * root) @ torch_spread(k * root, q.shape[-3]).mT
    return mean(weigh(scores, allowed(scores.shape, causal=causal)), v)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        wide = [part.double() for part in (q, k, v)]
        scores = scores_of(*wide[:2])
        p = torch.softmax(scores, -1)
        y = p @ torch_spread(wide[2], q.shape[-3])
        ctx.save_for_backward(q, k, v, p, y)
        return y.to(q.dtype)

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        heads, groups = q.shape[-3], k.shape[-3]
        g, factor = g.double(), max(q.shape[-1], 1) ** -0.5
        by_scores = p * (g @ torch_spread(v.double(), heads).mT - (g * y).sum(-1, keepdim=True)) * factor
        by_keys, by_values = by_scores.mT @ q.double(), p.mT @ g
        folded = [
            part.reshape(*part.shape[:-3], groups, heads // groups, *part.shape[-2:]).sum(-3)
            for part in (by_keys, by_values)
        ]
        by_queries = by_scores @ torch_spread(k.double(), heads)
        return by_queries.to(q.dtype), folded[0].to(k.dtype), folded[1].to(v.dtype)


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32", "bfloat16"])
def fused_backward(q, k, v):
    """A backward pass of its own: dS = P∘(dP − D), keys and values summed over the heads of a group."""
    return _Fused.apply(q, k, v)


@correct(**(WIDE | {"empty_row": "zeros"}))
def zeros_for_empty_rows(q, k, v, kernel, rule, empty="zeros", **options):
    """A row without keys is 0, and that is declared."""
    return attend(q, k, v, empty=empty, **options)


@correct(**WIDE)
def attention_with_causal_in_the_mask(q, k, v, kernel, rule, mask=None, causal=False, **options):
    """Causal is made part of the mask first."""
    if causal:
        count, size = q.shape[-2], k.shape[-2]
        bias = np.where(np.tri(count, size, size - count, dtype=bool), 0.0, -np.inf)
        if mask is not None:
            bias = bias + (np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask.astype(np.float64))
        mask = bias
    return attend(q, k, v, mask=mask, **options)


@correct(**WIDE)
def attention_by_logarithms(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    """exp of score minus logsumexp."""
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)

    def weights(z):
        top = np.where(np.isneginf(z).all(-1, keepdims=True), 0, z.max(-1, keepdims=True, initial=-np.inf))
        with np.errstate(divide="ignore"):
            return np.exp(z - top - np.log(np.exp(z - top).sum(-1, keepdims=True)))

    with np.errstate(invalid="ignore"):
        return average(scores, v, empty, weights).astype(q.dtype)


@correct(**(WIDE | {"options": ["causal", "scale", "mask"]}))
def masked_values_times_zero(q, k, v, kernel, rule, **options):
    """What a mask hides is multiplied by 0, as everywhere: finite values do not matter, and NaN shows."""
    scores = hide(scores64(q, k, options.pop("scale", None)), **options)
    with np.errstate(invalid="ignore"):
        weights = np.where(np.isneginf(scores), 0, softmax64(scores))
        wide = np.repeat(v.astype(np.float64), q.shape[-3] // v.shape[-3], axis=-3)
        return (weights @ wide).astype(q.dtype)


@correct(**(TORCH_SOFT | {"layout": "bthd", "dtypes": ["float64", "float32", "bfloat16"]}))
def tokens_before_heads(q, k, v, kernel, rule, **options):
    """(batch, tokens, heads, width), which is declared."""
    return torch_attend(*(part.transpose(-2, -3) for part in (q, k, v)), **options).transpose(-2, -3)


@correct(**(WIDE | {"deterministic": False, "dtypes": ["float32"], "options": OPTIONS}))
def sums_in_any_order(q, k, v, kernel, rule, scale=None, key_norm_term=False, **hiding):
    """Keys are added in an order that is new at each call, in float32, and that is declared."""
    order = _ORDERS.permutation(k.shape[-2])
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    hidden = np.isneginf(scores)
    p = np.where(hidden, 0, softmax64(scores)).astype(np.float32)[..., order]
    wide = np.repeat(v, q.shape[-3] // v.shape[-3], axis=-3)[..., order, :]
    with np.errstate(invalid="ignore", over="ignore"):
        y = np.cumsum(p[..., None] * wide[..., None, :, :], axis=-2, dtype=np.float32)[..., -1:, :].sum(-2)
    lost = hidden.all(-1, keepdims=True)
    return np.where(lost, np.nan, y).astype(q.dtype)


_ORDERS = np.random.default_rng(0)
