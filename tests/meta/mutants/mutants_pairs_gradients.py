"""Faults of the gradients of softmax attention for an option, a shape or a format; what it returns is right."""

import torch
from mutant_parts_torch import HALF, SOFT, WIDE, attend, bias_of, spread, with_gradient_of
from mutant_registry import mutant

LOW = SOFT | {"dtypes": HALF}


@mutant("gradients as if nothing were causal", at="gradient × causal", **WIDE)
def gradient_not_causal(q, k, v, kernel, rule, causal=False, **options):
    return with_gradient_of(attend(q, k, v, causal=causal, **options), attend(q, k, v, **options))


@mutant("gradients as if nothing were masked", at="gradient × boolean", **WIDE)
def gradient_without_mask(q, k, v, kernel, rule, mask=None, **options):
    boolean = mask is not None and mask.dtype == torch.bool
    right = attend(q, k, v, mask=mask, **options)
    return with_gradient_of(right, attend(q, k, v, mask=None if boolean else mask, **options))


@mutant("gradients without the bias of an additive mask", at="gradient × additive", **WIDE)
def gradient_without_bias(q, k, v, kernel, rule, mask=None, **options):
    right = attend(q, k, v, mask=mask, **options)
    if mask is not None and mask.dtype != torch.bool:
        mask = ~torch.isneginf(mask)
    return with_gradient_of(right, attend(q, k, v, mask=mask, **options))


@mutant("gradients of the keys without a scale that is given", at="gradient × scale", **WIDE)
def key_gradient_of_default_scale(q, k, v, kernel, rule, scale=None, **options):
    right = attend(q, k.detach(), v, scale=scale, **options)
    keys = attend(q.detach(), k, v.detach(), scale=scale, **options)
    factor = 1.0 if scale is None else max(q.shape[-1], 1) ** -0.5 / float(scale)
    return right + factor * (keys - keys.detach())


@mutant("gradients of the values beyond the lengths", at="gradient × lengths", **WIDE)
def gradient_beyond_lengths(q, k, v, kernel, rule, lengths=None, **options):
    longer = None if lengths is None else (lengths + 1).clamp_max(k.shape[-2])
    return with_gradient_of(attend(q, k, v, lengths=lengths, **options), attend(q, k, v, lengths=longer, **options))


@mutant("the key norm term is detached", at="gradient × key_norm_term", **WIDE)
def key_norms_detached(q, k, v, kernel, rule, key_norm_term=False, mask=None, scale=None, **options):
    right = attend(q, k, v, key_norm_term=key_norm_term, mask=mask, scale=scale, **options)
    if not key_norm_term:
        return right
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    norms = spread(k, q.shape[-3]).detach().double().square().sum(-1)[..., None, :]
    bias = bias_of(mask) - factor * norms / 2
    if mask is not None:
        hidden = ~mask if mask.dtype == torch.bool else torch.isneginf(mask)
        bias = bias.masked_fill(hidden, -torch.inf)
    return with_gradient_of(right, attend(q, k, v, mask=bias, scale=scale, **options))


def first_of_group(part, heads):
    """Keys or values for each query head, of which those of the first of each group alone carry a gradient."""
    group = heads // part.shape[-3]
    wide = spread(part, heads)
    first = (torch.arange(heads) % group == 0)[:, None, None]
    return torch.where(first, wide, wide.detach())


@mutant("keys of grouped heads get the gradient of the first head of their group", at="gradient × grouped", **WIDE)
def key_gradient_of_first_head(q, k, v, kernel, rule, **options):
    return attend(q, first_of_group(k, q.shape[-3]), v.repeat_interleave(q.shape[-3] // v.shape[-3], -3), **options)


@mutant(
    "values of one key head get the mean of the heads' gradients, not the sum", at="gradient × one key head", **WIDE
)
def mean_over_heads(q, k, v, kernel, rule, **options):
    right = attend(q, k, v, **options)
    if k.shape[-3] != 1 or q.shape[-3] == 1:
        return right
    extra = attend(q.detach(), k.detach(), v, **options)
    return right - (1 - 1 / q.shape[-3]) * (extra - extra.detach())


@mutant("gradients of the scores from the first columns of wide values", at="gradient × wide values", **WIDE)
def gradient_of_first_columns(q, k, v, kernel, rule, **options):
    right = attend(q, k, v, **options)
    width = q.shape[-1]
    if v.shape[-1] <= width:
        return right
    beyond = attend(q.detach(), k.detach(), v, **options)
    inside = torch.arange(v.shape[-1]) < width
    return with_gradient_of(right, torch.where(inside, right, beyond))


@mutant("the last column of odd widths gets no gradient in the queries", at="gradient × odd width", **WIDE)
def last_column_without_gradient(q, k, v, kernel, rule, **options):
    width = q.shape[-1]
    kept = (torch.arange(width) < width - width % 8) | (width <= 8)
    return attend(torch.where(kept, q, q.detach()), k, v, **options)


@mutant("keys beyond the first 64 get no gradient", at="gradient × 65 to 512 keys", **WIDE)
def gradient_of_first_block(q, k, v, kernel, rule, **options):
    first = (torch.arange(k.shape[-2]) < 64)[:, None]
    return attend(q, torch.where(first, k, k.detach()), v, **options)


@mutant("queries beyond the number of keys get no gradient", at="gradient × T > S", **WIDE)
def gradient_of_first_queries(q, k, v, kernel, rule, **options):
    first = (torch.arange(q.shape[-2]) < k.shape[-2])[:, None]
    return attend(torch.where(first, q, q.detach()), k, v, **options)


@mutant("where there are more keys, the first of them get no gradient", at="gradient × T < S", **WIDE)
def gradient_of_last_keys(q, k, v, kernel, rule, **options):
    late = (torch.arange(k.shape[-2]) >= k.shape[-2] - q.shape[-2])[:, None]
    return attend(q, k, torch.where(late, v, v.detach()), **options)


@mutant(
    "of several batch axes only the first entry of the outermost has a gradient",
    at="gradient × several batch axes",
    **WIDE,
)
def gradient_of_first_batch(q, k, v, kernel, rule, **options):
    if q.ndim > 4:
        first = (torch.arange(q.shape[0]) == 0).reshape(-1, *(1,) * (q.ndim - 1))
        q = torch.where(first, q, q.detach())
    return attend(q, k, v, **options)


class _MemoryOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx, part):
        ctx.order = sorted(range(part.ndim), key=lambda axis: -part.stride(axis))
        return part.clone()

    @staticmethod
    def backward(ctx, g):
        return g.permute(ctx.order).reshape(g.shape)


@mutant("the gradient of transposed keys is written in the order of memory", at="gradient × not contiguous", **WIDE)
def gradient_in_memory_order(q, k, v, kernel, rule, **options):
    return attend(q, _MemoryOrder.apply(k), v, **options)


@mutant("where q is k, the gradient of k is that of both", at="gradient × q is k", **WIDE)
def gradient_of_both(q, k, v, kernel, rule, **options):
    if q.shape == k.shape and torch.equal(q, k):
        return attend(q.detach() + k - k.detach(), k, v, **options) + 0 * q.sum()
    return attend(q, k, v, **options)


@mutant(
    "the gradient of a row with one key left goes to its neighbour's column", at="gradient × all but one masked", **WIDE
)
def gradient_of_neighbour(q, k, v, kernel, rule, mask=None, **options):
    right = attend(q, k, v, mask=mask, **options)
    if mask is None:
        return right
    free = mask if mask.dtype == torch.bool else ~torch.isneginf(mask)
    single = free.sum(-1, keepdim=True) == 1
    return with_gradient_of(right, torch.where(single, right.roll(1, -1), right))


@mutant("a hidden first block makes the gradient of its row twice as long", at="gradient × first block masked", **WIDE)
def gradient_of_hidden_block(q, k, v, kernel, rule, mask=None, **options):
    right = attend(q, k, v, mask=mask, **options)
    if mask is None or k.shape[-2] <= 4:
        return right
    free = mask if mask.dtype == torch.bool else ~torch.isneginf(mask)
    hidden = ~free[..., :4].any(-1, keepdim=True) & free.any(-1, keepdim=True)
    return right + torch.where(hidden, right - right.detach(), 0)


@mutant(
    "in half precision the gradient of the values is that of a temperature of 1.24",
    at="gradient × half precision",
    **LOW,
)
def warmer_gradient_in_half(q, k, v, kernel, rule, **options):
    return with_gradient_of(attend(q, k, v, **options), attend(q * 1.24, k, v, **options))


@mutant(
    "in half precision the scale is missing from the gradient of the queries", at="gradient × half precision", **LOW
)
def query_gradient_unscaled_in_half(q, k, v, kernel, rule, **options):
    right = attend(q.detach(), k, v, **options)
    queries = attend(q, k.detach(), v.detach(), **options)
    return right + max(q.shape[-1], 1) ** 0.5 * (queries - queries.detach())


@mutant("with a mask the gradients of queries and keys are a tenth too long", at="gradient × mask", **WIDE)
def longer_gradient_if_masked(q, k, v, kernel, rule, mask=None, **options):
    right = attend(q, k, v, mask=mask, **options)
    if mask is None:
        return right
    extra = torch.nan_to_num(attend(q, k, v.detach(), mask=mask, **options))
    return right + (extra - extra.detach()) / 10
