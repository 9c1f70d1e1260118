"""Faults of weights under bandwidth rules, in NumPy, and of their derivatives, in PyTorch."""

import numpy as np
import torch
from mutant_parts import gaps_of, powers, reach, share, softmax64
from mutant_registry import mutant
from mutants_mixed import ruled

from kernelproof import Adaptive, Anchored, Fixed

TOP = {"op": "weights", "rule": "nearest:k:adaptive:1"}


def kept(scores, k, strict=True):
    """The k largest scores of each row: with ties by index, or every key that ties with the k-th."""
    wide = scores.astype(np.float64)
    if strict:
        ranked = np.argsort(np.argsort(-wide, axis=-1, kind="stable"), axis=-1, kind="stable")
        return np.where((ranked < k) | np.isnan(wide), wide, -np.inf)
    edge = np.sort(wide, axis=-1)[..., -min(k, wide.shape[-1]) :][..., :1] if wide.shape[-1] else wide
    return np.where((wide >= edge) | np.isnan(wide), wide, -np.inf)


@mutant("top-k keeps every key that ties with the k-th", order="inf", **TOP)
def more_than_k_at_a_tie(scores, k):
    return softmax64(kept(scores, k, strict=False)).astype(scores.dtype)


@mutant("top-k uniform keeps every key that ties with the k-th", op="weights", rule="nearest:k:fixed:h", order=0)
def more_than_k_uniform(scores, k, h):
    held = kept(scores, k, strict=False)
    return share(np.where(np.isnan(held), np.nan, (-2 * held < float(h) ** 2).astype(float))).astype(scores.dtype)


@mutant("where the k-th key is tied, none of the tied keys is kept", order="inf", **TOP)
def fewer_than_k_at_a_tie(scores, k):
    wide = scores.astype(np.float64)
    strict, loose = kept(scores, k), kept(scores, k, strict=False)
    tied = (np.isfinite(loose).sum(-1, keepdims=True) > k) & np.isfinite(wide)
    edge = np.where(np.isfinite(strict), strict, np.inf).min(-1, keepdims=True, initial=np.inf)
    without = np.where(tied & (wide == edge), -np.inf, strict)
    return softmax64(np.where(np.isneginf(without).all(-1, keepdims=True), strict, without)).astype(scores.dtype)


@mutant("top-k of softmax without a new sum: the weights do not add up to 1", order="inf", **TOP)
def not_normalized_after_selection(scores, k):
    weights = softmax64(scores)
    return np.where(np.isneginf(kept(scores, k)) & ~np.isnan(weights), 0, weights).astype(scores.dtype)


@mutant("the k smallest scores", order="inf", **TOP)
def farthest_keys(scores, k):
    wide = scores.astype(np.float64)
    shown = np.where(np.isneginf(wide), np.inf, wide)
    held = kept(-shown, k)
    return softmax64(np.where(np.isneginf(held), -np.inf, wide)).astype(scores.dtype)


@mutant("masked keys count among the k", order=2, **TOP)
def masked_keys_are_counted(scores, k):
    wide = scores.astype(np.float64)
    gone = np.isneginf(wide).sum(-1, keepdims=True)
    ranked = np.argsort(np.argsort(-wide, axis=-1, kind="stable"), axis=-1, kind="stable")
    held = np.where((ranked < np.maximum(k - gone, 1)) | np.isnan(wide), wide, -np.inf)
    gaps = gaps_of(held)
    return share(powers(gaps, reach(gaps, 2), 2)).astype(scores.dtype)


@mutant("normalized ReLU adds 1e-6 to its sum", op="weights", rule="fixed:h", orders=["1..8"], dtypes=["float64"])
def epsilon_in_relu(scores, kernel, h):
    wide = scores.astype(np.float64)
    terms = np.maximum(1 + 2 * wide / float(h) ** 2, 0) ** float(kernel.order)
    total = terms.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, terms / (total + 1e-6), np.nan)


@mutant("Gaussian weights exp(s/h²) without a shift: 0/0 far from all keys", op="weights", rule="fixed:h", order="inf")
def gaussian_without_shift(scores, h):
    with np.errstate(all="ignore"):
        return share(np.exp(scores.astype(np.float64) / float(h) ** 2)).astype(scores.dtype)


@mutant("Gaussian weights with 2h² for h²", op="weights", rule="fixed:h", order="inf")
def gaussian_twice_as_wide(scores, h):
    return softmax64(scores.astype(np.float64) / (2 * float(h) ** 2)).astype(scores.dtype)


@mutant("β is rounded to a whole number", op="weights", rule="adaptive:beta", orders=["1..8", "inf"])
def whole_beta(scores, kernel, beta):
    return ruled(scores, kernel, Adaptive(max(round(float(beta)), 1))).astype(scores.dtype)


@mutant("ReLUmax with γ/n for γ", op="weights", rule="anchored:gamma", orders=["2..8"])
def anchor_divided_by_order(scores, kernel, gamma):
    return ruled(scores, kernel, Anchored(float(gamma) / float(kernel.order))).astype(scores.dtype)


@mutant("ReLUmax gives 1e-6 to keys just beyond γ", op="weights", rule="anchored:gamma", order=1, dtypes=["float64"])
def keys_beyond_the_anchor(scores, gamma):
    gaps = gaps_of(scores.astype(np.float64))
    terms = powers(gaps, float(gamma), 1)
    return share(np.where((gaps < np.inf) & (np.abs(gaps - float(gamma)) < 0.25) & (terms == 0), 1e-6, terms))


@mutant(
    "the k nearest are selected after the weights are found, and divided by their sum",
    op="weights",
    rule="nearest:k:adaptive:1",
    orders=["1..8", "inf"],
)
def selection_after_normalization(scores, kernel, k):
    order = float(kernel.order)
    gaps = gaps_of(scores.astype(np.float64))
    weights = softmax64(scores) if order == np.inf else share(powers(gaps, reach(gaps, order), order))
    return share(np.where(np.isneginf(kept(scores, k)) & ~np.isnan(weights), 0, weights)).astype(scores.dtype)


@mutant("the number of keys kept is at most 3", order="inf", **TOP)
def at_most_three(scores, k):
    return softmax64(kept(scores, min(k, 3))).astype(scores.dtype)


@mutant(
    "h of a fixed ball is taken in float16", op="weights", rule="fixed:h", orders=["1..8", "inf"], dtypes=["float32"]
)
def bandwidth_in_half(scores, kernel, h):
    return ruled(scores, kernel, Fixed(float(np.float16(float(h) * 1.001)))).astype(scores.dtype)


def torch_softmax(s):
    """Softmax in float64."""
    return torch.softmax(s.double(), -1)


BETA = {"op": "weights", "order": "inf", "rule": "adaptive:beta", "gradients": ["scores", "beta"]}
BAND = {"op": "weights", "order": "inf", "rule": "fixed:h", "gradients": ["scores", "h"]}


@mutant("d/dβ is 0", dtypes=["float64", "float32"], **BETA)
def beta_without_gradient(scores, beta):
    held = beta.detach() + 0 * beta if isinstance(beta, torch.Tensor) else beta
    return torch_softmax(scores.double() * held).to(scores.dtype)


@mutant("d/dβ has the opposite sign", dtypes=["float64", "float32"], **BETA)
def beta_the_other_way(scores, beta):
    held = 2 * beta.detach() - beta if isinstance(beta, torch.Tensor) else beta
    return torch_softmax(scores.double() * held).to(scores.dtype)


@mutant("a masked score times β makes d/dβ NaN", dtypes=["float64", "float32"], **BETA)
def masked_keys_poison_beta(scores, beta):
    top = scores.detach().double().amax(-1, keepdim=True) if scores.shape[-1] else 0
    return torch_softmax((scores.double() - top) * beta).to(scores.dtype)


@mutant("d/ds without β", dtypes=["float64", "float32"], **BETA)
def scores_without_beta(scores, beta):
    factor = beta.detach() if isinstance(beta, torch.Tensor) else float(beta)
    held = scores.double() * beta
    free = torch.where(torch.isfinite(scores), scores.double(), 0)
    return torch_softmax(held + (1 - factor) * (free - free.detach())).to(scores.dtype)


@mutant("d/dh as if the square were not there: it is half as long", dtypes=["float64", "float32"], **BAND)
def bandwidth_gradient_halved(scores, h):
    held = h * h.detach() if isinstance(h, torch.Tensor) else h * h
    return torch_softmax(scores.double() / held).to(scores.dtype)


@mutant("d/dh is 0 in half precision", dtypes=["bfloat16", "float16"], **BAND)
def bandwidth_without_gradient(scores, h):
    held = h.detach().double() + 0 * h if isinstance(h, torch.Tensor) else h
    return torch_softmax(scores.double() / held**2).to(scores.dtype)


@mutant(
    "d/dγ of ReLUmax without what the sum moves",
    op="weights",
    order=2,
    rule="anchored:gamma",
    gradients=["scores", "gamma"],
)
def anchor_gradient_without_sum(scores, gamma):
    if not scores.shape[-1]:
        return scores.clone()
    wide = scores.double()
    gaps = wide.amax(-1, keepdim=True) - wide
    terms = torch.where(torch.isposinf(gaps), torch.zeros_like(gaps), (1 - gaps / gamma).clamp_min(0) ** 2)
    return (terms / terms.detach().sum(-1, keepdim=True)).to(scores.dtype)
