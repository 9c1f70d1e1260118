"""Faults of softmax attention that show for a layout, for arguments that are the same, or in half precision."""

import numpy as np
import torch
from mutant_parts_attention import SOFT, WIDE, attend, average, hide, scores64
from mutant_parts_torch import HALF
from mutant_parts_torch import SOFT as TORCH_SOFT
from mutant_parts_torch import attend as torch_attend
from mutant_registry import mutant


def in_memory(array):
    """The numbers in the order of memory, in the shape of the array."""
    return np.ravel(array, order="K").reshape(array.shape)


@mutant("causal queries are read in the order of memory", at="not contiguous × causal", **WIDE)
def memory_order_if_causal(q, k, v, kernel, rule, causal=False, **options):
    return attend(in_memory(q) if causal else q, k, v, causal=causal, **options)


@mutant("keys of grouped heads are read in the order of memory", at="not contiguous × grouped", **WIDE)
def memory_order_of_groups(q, k, v, kernel, rule, **options):
    return attend(q, in_memory(k) if k.shape[-3] < q.shape[-3] else k, v, **options)


@mutant("values are read in the order of memory where queries are fewer", at="not contiguous × T < S", **WIDE)
def memory_order_when_decoding(q, k, v, kernel, rule, **options):
    return attend(q, k, in_memory(v) if q.shape[-2] < k.shape[-2] else v, **options)


@mutant("queries of one inner batch axis are read in the order of memory", at="not contiguous × inner axis 1", **WIDE)
def memory_order_of_inner_one(q, k, v, kernel, rule, **options):
    return attend(in_memory(q) if q.ndim > 3 and q.shape[-4] == 1 else q, k, v, **options)


@mutant("a mask is read in the order of memory", at="not contiguous × mask", **WIDE)
def memory_order_of_masks(q, k, v, kernel, rule, mask=None, **options):
    return attend(q, k, v, mask=None if mask is None else in_memory(mask), **options)


def twins(q, k):
    """Whether queries and keys are the same numbers."""
    return q.shape == k.shape and np.array_equal(q, k)


@mutant("where q is k, a query does not see itself", at="q is k × T = S", **WIDE)
def not_itself(q, k, v, kernel, rule, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), **hiding)
    if twins(q, k) and q.shape[-2] > 1:
        held = np.where(np.eye(q.shape[-2], dtype=bool), -np.inf, scores)
        scores = np.where(np.isneginf(held).all(-1, keepdims=True), scores, held)
    return average(scores, v, empty).astype(q.dtype)


@mutant("where q is k, masked scores are made symmetric", at="q is k × mask", **WIDE)
def symmetric_scores(q, k, v, kernel, rule, mask=None, scale=None, key_norm_term=False, empty="nan", **hiding):
    scores = hide(scores64(q, k, scale, key_norm_term), mask=mask)
    if twins(q, k) and mask is not None:
        scores = np.where(np.tri(q.shape[-2], dtype=bool), scores, np.swapaxes(scores, -1, -2))
    return average(hide(scores, **hiding), v, empty).astype(q.dtype)


@mutant("where q is k, causal is dropped: the scores are symmetric", at="q is k × causal", **WIDE)
def symmetric_if_causal(q, k, v, kernel, rule, causal=False, **options):
    return attend(q, k, v, causal=causal and not twins(q, k), **options)


@mutant("where q is k, a scale that is given is dropped", at="q is k × scale", **WIDE)
def default_scale_of_twins(q, k, v, kernel, rule, scale=None, **options):
    return attend(q, k, v, scale=None if twins(q, k) else scale, **options)


@mutant(
    "products of float16 overflow before the scale",
    at="half precision × large products",
    **(SOFT | {"dtypes": ["float16"]}),
)
def overflow_before_scale(q, k, v, kernel, rule, **options):
    with np.errstate(over="ignore", invalid="ignore"):
        scores = scores64(q, k, 1.0, options.get("key_norm_term", False)).astype(np.float16).astype(np.float64)
        factor = options.pop("scale", None)
        scores *= max(q.shape[-1], 1) ** -0.5 if factor is None else float(factor)
        options.pop("key_norm_term", None)
        empty = options.pop("empty", "nan")
        return average(hide(scores, **options), v, empty).astype(q.dtype)


LOW = TORCH_SOFT | {"dtypes": HALF, "gradients": []}


@mutant("in half precision a scale that is given is 5 % too large", at="half precision × scale", **LOW)
def larger_scale_in_half(q, k, v, kernel, rule, scale=None, **options):
    return torch_attend(q, k, v, scale=None if scale is None else 1.05 * float(scale), **options)


@mutant("in half precision the bias is cut to whole numbers", at="half precision × additive", **LOW)
def bias_cut_in_half(q, k, v, kernel, rule, mask=None, **options):
    if mask is not None and mask.dtype != torch.bool:
        mask = torch.where(torch.isneginf(mask), mask, mask.trunc())
    return torch_attend(q, k, v, mask=mask, **options)


@mutant("in half precision causal hides the query's own key", at="half precision × causal", **LOW)
def strictly_causal_in_half(q, k, v, kernel, rule, causal=False, **options):
    if causal and k.shape[-2] > 1:
        count, size = q.shape[-2], k.shape[-2]
        free = torch.ones(count, size, dtype=torch.bool).tril(size - count - 1)
        free = free | ~free.any(-1, keepdim=True)
        mask = options.pop("mask", None)
        bias = torch.zeros(count, size, dtype=torch.float64).masked_fill(~free, -torch.inf)
        if mask is not None:
            bias = bias + (torch.zeros(()).double().where(mask, -torch.inf) if mask.dtype == torch.bool else mask)
        options["mask"] = bias
    return torch_attend(q, k, v, causal=causal, **options)


@mutant("in half precision lengths lose their last bit", at="half precision × lengths", **LOW)
def even_lengths_in_half(q, k, v, kernel, rule, lengths=None, **options):
    if lengths is not None:
        lengths = torch.where(lengths > 1, lengths - lengths % 2, lengths)
    return torch_attend(q, k, v, lengths=lengths, **options)


@mutant("in half precision query heads take their key heads in turn", at="half precision × grouped", **LOW)
def heads_in_turn_in_half(q, k, v, kernel, rule, **options):
    picked = torch.arange(q.shape[-3]) % k.shape[-3]
    return torch_attend(q, k[..., picked, :, :], v[..., picked, :, :], **options)


@mutant("in half precision the key norm term is dropped", at="half precision × key_norm_term", **LOW)
def key_norms_dropped_in_half(q, k, v, kernel, rule, key_norm_term=False, **options):
    return torch_attend(q, k, v, **options)


@mutant(
    "in half precision the weights of more than 64 keys add up to 31/32", at="half precision × 65 to 512 keys", **LOW
)
def long_sums_short_in_half(q, k, v, kernel, rule, **options):
    y = torch_attend(q, k, v, **options)
    if k.shape[-2] <= 64:
        return y
    return (y.double() * (1 - 2.0**-5)).to(q.dtype)
