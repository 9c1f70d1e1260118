"""Correct weights and regressions under every kind of rule."""

import numpy as np
import torch
from mutant_parts import gaps_of, powers, share, softmax64
from mutant_registry import correct
from mutants_regression import squares, torch_squares
from mutants_rules import TOP, kept

GAUSS = {"op": "regression", "order": "inf", "rule": "fixed:h"}


@correct(order="inf", **TOP)
def topk_with_ties_by_index(scores, k):
    """The first of the tied keys are kept."""
    return softmax64(kept(scores, k)).astype(scores.dtype)


@correct(order="inf", array_library="numpy", **TOP)
def topk_with_ties_from_the_end(scores, k):
    """The last of the tied keys are kept, which is as right."""
    return softmax64(kept(scores[..., ::-1], k)[..., ::-1]).astype(scores.dtype)


@correct(order="inf", dtypes=["float64", "float32"], **TOP)
def topk_of_torch(scores, k):
    """Indices of torch.topk, softmax of what they pick, scattered."""
    if not scores.shape[-1]:
        return scores.clone()
    found = torch.topk(scores, min(k, scores.shape[-1]), dim=-1)
    weights = torch.zeros_like(scores).scatter(-1, found.indices, torch.softmax(found.values, -1))
    lost = torch.isnan(scores).any(-1, keepdim=True) | torch.isneginf(scores).all(-1, keepdim=True)
    return torch.where(lost, torch.nan, weights)


@correct(op="weights", rule="nearest:k:fixed:h", order=0)
def topk_uniform(scores, k, h):
    """The mean of at most k keys within the ball."""
    held = kept(scores, k)
    return share(np.where(np.isnan(held), np.nan, (-2 * held < float(h) ** 2).astype(float))).astype(scores.dtype)


@correct(op="weights", rule="fixed:h", order="inf")
def gaussian_weights(scores, h):
    """Softmax of s/h², whose gaps are taken first."""
    return softmax64(-gaps_of(scores.astype(np.float64)) / float(h) ** 2).astype(scores.dtype)


@correct(op="weights", rule="anchored:gamma", orders=["1..8"])
def relumax(scores, kernel, gamma):
    """[1 − d/γ]₊ⁿ over its sum."""
    gaps = gaps_of(scores.astype(np.float64))
    return share(powers(gaps, float(gamma), float(kernel.order))).astype(scores.dtype)


@correct(scores="differences", **GAUSS)
def gaussian_regression(q, k, v, h):
    """Nadaraya and Watson's, shifted by the nearest key."""
    return (softmax64(-squares(q, k) / (2 * float(h) ** 2)) @ v.astype(np.float64)).astype(q.dtype)


@correct(scores="differences", **GAUSS)
def gaussian_regression_one_query_at_a_time(q, k, v, h):
    """A loop over queries."""
    y = np.empty((*q.shape[:-1], v.shape[-1]))
    for t in range(q.shape[-2]):
        far = squares(q[..., t : t + 1, :], k)
        with np.errstate(invalid="ignore"):
            terms = np.exp((far.min(-1, keepdims=True, initial=np.inf) - far) / (2 * float(h) ** 2))
            y[..., t, :] = (terms @ v.astype(np.float64) / terms.sum(-1, keepdims=True))[..., 0, :]
    return y.astype(q.dtype)


@correct(scores="differences", gradients=["q", "k", "v", "h"], dtypes=["float64", "float32"], **GAUSS)
def differentiable_gaussian_regression(q, k, v, h):
    """Differentiated in the bandwidth too."""
    return (torch.softmax(-torch_squares(q, k) / (2 * h * h), -1) @ v.double()).to(q.dtype)


@correct(dtypes=["bfloat16", "float16"], gradients=[], scores="differences", **GAUSS)
def gaussian_regression_in_half(q, k, v, h):
    """Distances and weights in float32; weights are stored in half precision for the sum over values."""
    far = (q.float()[..., :, None, :] - k.float()[..., None, :, :]).square().sum(-1)
    p = torch.softmax(-far / (2 * float(h) ** 2), -1).to(q.dtype)
    return (p.float() @ v.float()).to(q.dtype)
