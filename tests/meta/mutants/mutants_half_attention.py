"""Faults of softmax attention of narrow formats beyond the roundings of weights and scores, in PyTorch."""

import torch
from mutant_parts_torch import (
    HALF,
    SOFT,
    allowed,
    attend,
    bias_of,
    mean,
    scores_of,
    spread,
    weigh,
    with_gradient_of,
    without,
)
from mutant_registry import mutant

LOW = SOFT | {"dtypes": HALF, "gradients": []}
SINGLE = SOFT | {"dtypes": ["float32"], "gradients": []}


def tempered(temperature, *dtypes):
    """Attention of that many times the scores."""

    @mutant(f"attention of a temperature of {temperature}", **(SOFT | {"dtypes": list(dtypes), "gradients": []}))
    def attention(q, k, v, kernel, rule, scale=None, **options):
        factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
        return attend(q, k, v, scale=temperature * factor, **options)

    return attention


tempered_attention_float32 = tempered(1.002, "float32")
tempered_attention_float16 = tempered(1.002, "float16")
tempered_attention_bfloat16 = tempered(1.014, "bfloat16")
cooled_attention_bfloat16 = tempered(1.24, "bfloat16")


def parts(q, k, v, options):
    """(weights in float32, values of each head in float32) from scores in float32."""
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(q.float(), without(k, free).float(), **options) + bias_of(options.get("mask"), torch.float32)
    return weigh(scores, free), torch.where(free.any(-2)[..., None], spread(v, q.shape[-3]), 0).float()


def summed(p, v, dtype, block=1):
    """P·V whose sum over blocks of keys is stored in a format after each."""
    y = torch.zeros(*p.shape[:-1], v.shape[-1], dtype=dtype)
    for at in range(0, p.shape[-1], block):
        y = (y.float() + p[..., at : at + block] @ v[..., at : at + block, :]).to(dtype)
    return y


@mutant("P·V is summed key by key in half precision", **LOW)
def values_summed_key_by_key(q, k, v, kernel, rule, **options):
    return summed(*parts(q, k, v, options), q.dtype)


@mutant("the sum of the weights is taken in half precision, key by key", **LOW)
def weights_summed_in_half(q, k, v, kernel, rule, **options):
    p, wide = parts(q, k, v, options)
    terms = p / p.amax(-1, keepdim=True).clamp_min(1e-30) if p.shape[-1] else p
    total = summed(terms, torch.ones(p.shape[-1], 1), q.dtype).float()
    return (terms @ wide / total.clamp_min(1e-30)).to(q.dtype)


@mutant("the weights go through float8 before P·V", **LOW)
def weights_in_float8(q, k, v, kernel, rule, **options):
    p, wide = parts(q, k, v, options)
    return (p.to(torch.float8_e4m3fn).float() @ wide).to(q.dtype)


@mutant("the values go through float8 before P·V", **LOW)
def values_in_float8(q, k, v, kernel, rule, **options):
    return attend(q, k, v.to(torch.float8_e5m2).to(v.dtype), **options)


@mutant("queries and keys go through float8", **LOW)
def products_in_float8(q, k, v, kernel, rule, **options):
    q, k = (part.to(torch.float8_e4m3fn).to(part.dtype) for part in (q, k))
    return attend(q, k, v, **options)


@mutant("the products q·k are summed column by column in bfloat16", **(LOW | {"dtypes": ["bfloat16"]}))
def products_summed_in_half(q, k, v, kernel, rule, **options):
    scale, mask = options.pop("scale", None), options.get("mask")
    if options.pop("key_norm_term", False):
        return attend(q, k, v, scale=scale, key_norm_term=True, **options)
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    wide = spread(without(k, free), q.shape[-3])
    scores = torch.zeros(free.shape, dtype=q.dtype)
    for column in range(q.shape[-1]):
        scores = scores + q[..., :, None, column] * wide[..., None, :, column]
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    p = weigh(scores.double() * factor + bias_of(mask), free)
    return mean(p, v.double()).to(q.dtype)


@mutant("the weights are cut to three bits", **LOW)
def weights_cut_to_three_bits(q, k, v, kernel, rule, **options):
    p, wide = parts(q, k, v, options)
    bits = 20
    cut = ((p.view(torch.int32) >> bits) << bits).view(torch.float32)
    return (cut @ wide).to(q.dtype)


@mutant("weights below a fiftieth are left out", **LOW)
def small_weights_left_out(q, k, v, kernel, rule, **options):
    p, wide = parts(q, k, v, options)
    kept = torch.where(p < 0.02, torch.zeros_like(p), p)
    return (kept @ wide).to(q.dtype)


@mutant("float32 attention stores its weights in bfloat16", **SINGLE)
def single_with_half_weights(q, k, v, kernel, rule, **options):
    p, wide = parts(q, k, v, options)
    return (p.bfloat16().float() @ wide).to(q.dtype)


@mutant("float32 attention multiplies in TF32: ten bits of queries and keys", **SINGLE)
def single_with_tensor_cores(q, k, v, kernel, rule, **options):
    q, k = ((part.contiguous().view(torch.int32) & -8192).view(torch.float32) for part in (q, k))
    return attend(q, k, v, **options)


@mutant("float32 attention rounds its scores to float16", **SINGLE)
def single_with_half_scores(q, k, v, kernel, rule, **options):
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(q, without(k, free), **options).half().double() + bias_of(options.get("mask"))
    return mean(weigh(scores, free), v.double()).to(q.dtype)


@mutant("attention of float8 sums its values in float8", **(SOFT | {"dtypes": ["float8_e5m2"], "gradients": []}))
def values_summed_in_float8(q, k, v, kernel, rule, **options):
    wide = [part.float() for part in (q, k, v)]
    return summed(*parts(*wide, options), q.dtype)


@mutant(
    "attention of float8 with the scale of twice the width", **(SOFT | {"dtypes": ["float8_e4m3fn"], "gradients": []})
)
def scale_of_twice_the_width(q, k, v, kernel, rule, scale=None, **options):
    factor = max(2 * q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    return attend(*(part.float() for part in (q, k, v)), scale=factor, **options).to(q.dtype)


GRADIENTS = SOFT | {"dtypes": HALF}


@mutant("the gradient of the keys is a tenth too long", **GRADIENTS)
def key_gradient_too_long_in_half(q, k, v, kernel, rule, **options):
    right = attend(q, k.detach(), v, **options)
    keys = attend(q.detach(), k, v.detach(), **options)
    return right + 1.1 * (keys - keys.detach())


@mutant("the sum D = Σ g·y of the backward pass is left out", **GRADIENTS)
def softmax_not_centred(q, k, v, kernel, rule, **options):
    right = attend(q, k, v, **options)
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(q.double(), without(k, free).double(), **options) + bias_of(options.get("mask"))
    p = weigh(scores, free)
    held = torch.where(free, scores, 0)
    wrong = mean(p.detach() * (1 + held - held.detach()), v.double()).to(q.dtype)
    return with_gradient_of(right, wrong)


@mutant("the gradient of the values comes from weights that were kept in float8", **GRADIENTS)
def values_from_float8_weights(q, k, v, kernel, rule, **options):
    right = attend(q, k, v.detach(), **options)
    p, _ = parts(q.detach(), k.detach(), v, options)
    wrong = mean(p.to(torch.float8_e4m3fn).double(), v.double()).to(q.dtype)
    return right + (wrong - wrong.detach())


@mutant("the backward pass sees no value below 1/8", **GRADIENTS)
def small_values_without_effect(q, k, v, kernel, rule, **options):
    right = attend(q, k, v, **options)
    large = torch.where(v.abs() < 0.125, torch.zeros_like(v), v)
    return with_gradient_of(right, attend(q, k, large + v - v.detach() - (large - large.detach()), **options))
