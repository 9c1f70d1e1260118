"""Faults against what is declared: a promise of the contract that is not kept."""

import numpy as np
from mutant_parts import entmax64, softmax64
from mutant_parts_attention import WIDE, attend, hide, scores64
from mutant_parts_torch import SOFT as TORCH_SOFT
from mutant_parts_torch import attend as torch_attend
from mutant_registry import mutant

PLAIN = {"options": ["mask", "causal"]}
_NOISE = np.random.default_rng(0)


@mutant("declares (batch, tokens, heads, width) and gives (batch, heads, tokens, width)", layout="bthd", **TORCH_SOFT)
def heads_before_tokens_after_all(q, k, v, kernel, rule, **options):
    return torch_attend(*(part.transpose(-2, -3) for part in (q, k, v)), **options)


@mutant("declares no layout and takes axis −2 for the heads", **(TORCH_SOFT | {"options": []}))
def tokens_for_heads(q, k, v, kernel, rule):
    if q.shape[-2] % max(k.shape[-2], 1):
        msg = "the number of query heads must be a multiple of that of key heads"
        raise ValueError(msg)
    return torch_attend(*(part.transpose(-2, -3) for part in (q, k, v))).transpose(-2, -3)


@mutant("declares that what is masked is ignored, and multiplies it by 0", masked_nonfinite="ignored", **(WIDE | PLAIN))
def masked_nan_shows(q, k, v, kernel, rule, **options):
    scores = hide(scores64(q, k), **options)
    with np.errstate(invalid="ignore"):
        weights = np.where(np.isneginf(scores), 0, softmax64(scores))
        return (weights @ np.repeat(v.astype(np.float64), q.shape[-3] // v.shape[-3], axis=-3)).astype(q.dtype)


@mutant("sums in any order are declared, and one in seven calls is 1 % off", deterministic=False, **WIDE)
def wrong_by_chance(q, k, v, kernel, rule, **options):
    y = attend(q, k, v, **options)
    return (y * (1.01 if _NOISE.random() < 1 / 7 else 1.0)).astype(q.dtype)


@mutant("promises the same bits and differs in the last ones", order="inf", same="bits", dtypes=["float64"])
def last_bits_differ(z):
    found = softmax64(z)
    return np.where(_NOISE.random(z.shape) < 0.3, np.nextafter(found, 1), found)


@mutant("declares that the first query sees the first key only, and is aligned at the end", causal="top-left", **WIDE)
def bottom_right_after_all(q, k, v, kernel, rule, **options):
    return attend(q, k, v, **options)


@mutant("promises grade A and keeps 44 bits after the point", order=2, grade="A", dtypes=["float64"])
def grade_of_fewer_digits(z):
    found = entmax64(z, 2)
    return np.round(found * 2.0**44) / 2.0**44


@mutant("promises the limit where there is +∞ and gives NaN", order="inf", posinf="limit")
def infinity_is_nan(z):
    return np.where(np.isposinf(z).any(-1, keepdims=True), np.nan, softmax64(z)).astype(z.dtype)


@mutant("promises zeros in rows without keys and gives the mean of the values", **(WIDE | {"empty_row": "zeros"}))
def mean_of_hidden_values(q, k, v, kernel, rule, empty="zeros", mask=None, **options):
    y = attend(q, k, v, mask=mask, empty=empty, **options)
    if mask is None or empty != "zeros":
        return y
    bias = np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask.astype(np.float64)
    lost = np.isneginf(bias).all(-1, keepdims=True)
    return np.where(lost, attend(np.zeros_like(q), k, v), y).astype(q.dtype)


@mutant(
    "declares differences and computes distances from dot products",
    op="regression",
    rule="fixed:h",
    order="inf",
    scores="differences",
)
def products_for_differences(q, k, v, h):
    wide_q, wide_k = q.astype(np.float64), k.astype(np.float64)
    narrow = (wide_q @ np.swapaxes(wide_k, -1, -2)).astype(np.float32)
    far = (wide_q**2).sum(-1)[..., :, None] - 2 * narrow + (wide_k**2).sum(-1)[..., None, :]
    return (softmax64(-far / (2 * float(h) ** 2)) @ v.astype(np.float64)).astype(q.dtype)
