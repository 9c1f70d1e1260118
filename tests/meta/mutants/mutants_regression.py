"""Faults of kernel regression, in NumPy and PyTorch."""

import numpy as np
import torch
from mutant_parts import share, softmax64
from mutant_parts_torch import HALF, with_gradient_of
from mutant_registry import mutant
from mutants_mixed import regressed

GAUSS = {"op": "regression", "order": "inf", "rule": "fixed:h"}
EVERY = {"op": "regression", "orders": ["1..8", "inf"], "rule": "adaptive"}


def squares(q, k):
    """Squared distances in float64, from differences."""
    return ((q.astype(np.float64)[..., :, None, :] - k.astype(np.float64)[..., None, :, :]) ** 2).sum(-1)


def gaussian(q, k, v, h, factor=1.0):
    """Gaussian regression with a bandwidth."""
    return softmax64(-factor * squares(q, k) / (2 * float(h) ** 2)) @ v.astype(np.float64)


@mutant("exp(−D/2h²) without a shift: 0/0 far from all keys", **GAUSS)
def no_shift_far_away(q, k, v, h):
    with np.errstate(all="ignore"):
        return (share(np.exp(-squares(q, k) / (2 * float(h) ** 2))) @ v.astype(np.float64)).astype(q.dtype)


@mutant("far from all keys the result is 0", **GAUSS)
def zero_far_away(q, k, v, h):
    with np.errstate(all="ignore"):
        terms = np.exp(-squares(q, k) / (2 * float(h) ** 2))
        total = terms.sum(-1, keepdims=True)
        return np.where(total > 0, terms @ v.astype(np.float64) / total, 0).astype(q.dtype)


@mutant("1e-8 is added to the sum of the weights", dtypes=["float64"], **GAUSS)
def epsilon_in_sum(q, k, v, h):
    terms = np.exp(-squares(q, k) / (2 * float(h) ** 2))
    return terms @ v / (terms.sum(-1, keepdims=True) + 1e-8)


@mutant("the distance is not squared", **GAUSS)
def laplacian(q, k, v, h):
    return (softmax64(-np.sqrt(squares(q, k)) / (2 * float(h) ** 2)) @ v.astype(np.float64)).astype(q.dtype)


@mutant("h for h²", **GAUSS)
def bandwidth_for_square(q, k, v, h):
    return (softmax64(-squares(q, k) / (2 * float(h))) @ v.astype(np.float64)).astype(q.dtype)


@mutant("the width divides the squared distances", **GAUSS)
def mean_square(q, k, v, h):
    return gaussian(q, k, v, h, 1 / max(q.shape[-1], 1)).astype(q.dtype)


@mutant("keys of one column: distances without their square", **GAUSS)
def one_column_not_squared(q, k, v, h):
    if q.shape[-1] != 1:
        return gaussian(q, k, v, h).astype(q.dtype)
    return (softmax64(-np.sqrt(squares(q, k)) / (2 * float(h) ** 2)) @ v.astype(np.float64)).astype(q.dtype)


@mutant("columns beyond the first four do not count in distances", **GAUSS)
def four_columns(q, k, v, h):
    return gaussian(q[..., :4], k[..., :4], v, h).astype(q.dtype)


@mutant("the last key is left out of odd numbers of keys", **GAUSS)
def even_number_of_keys(q, k, v, h):
    size = k.shape[-2] - (k.shape[-2] % 2 if k.shape[-2] > 1 else 0)
    return gaussian(q, k[..., :size, :], v[..., :size, :], h).astype(q.dtype)


@mutant("queries beyond 32 are those of the first block", **EVERY)
def queries_of_first_block(q, k, v, kernel, rule):
    picked = np.arange(q.shape[-2]) % 32
    return regressed(q[..., picked, :], k, v, kernel, rule).astype(q.dtype)


@mutant("the last of an odd number of columns of values repeats the one before", **EVERY)
def columns_in_pairs(q, k, v, kernel, rule):
    if v.shape[-1] > 1 and v.shape[-1] % 2:
        v = np.concatenate([v[..., :-1], v[..., -2:-1]], axis=-1)
    return regressed(q, k, v, kernel, rule).astype(q.dtype)


@mutant("the leave-one-out estimate: keys at distance 0 are left out", **GAUSS)
def leaves_itself_out(q, k, v, h):
    far = squares(q, k)
    held = np.where((far == 0) & (far > 0).any(-1, keepdims=True), np.inf, far)
    return (softmax64(-held / (2 * float(h) ** 2)) @ v.astype(np.float64)).astype(q.dtype)


@mutant("the nearest k by dot product and not by distance", op="regression", order="inf", rule="nearest:*:fixed:3")
def nearest_by_product(q, k, v, kernel, rule):
    order = np.argsort(-(q.astype(np.float64) @ np.swapaxes(k, -1, -2).astype(np.float64)), axis=-1, kind="stable")
    ranked = np.argsort(order, axis=-1, kind="stable")
    held = np.where(ranked < rule.k, squares(q, k), np.inf)
    return (softmax64(-held / 18) @ v.astype(np.float64)).astype(q.dtype)


@mutant("the batch reads the keys of its first entry", **EVERY)
def keys_of_first_entry(q, k, v, kernel, rule):
    if q.ndim > 2:
        k = np.broadcast_to(k[:1], k.shape)
    return regressed(q, k, v, kernel, rule).astype(q.dtype)


def torch_squares(q, k):
    """Squared distances in float64, from differences."""
    return (q.double()[..., :, None, :] - k.double()[..., None, :, :]).square().sum(-1)


def torch_gaussian(q, k, v, h):
    """Gaussian regression in float64."""
    return torch.softmax(-torch_squares(q, k) / (2 * h * h), -1) @ v.double()


LOW = GAUSS | {"dtypes": HALF, "gradients": []}
SMOOTH = GAUSS | {"gradients": ["q", "k", "v", "h"], "dtypes": ["float64", "float32"], "scores": "differences"}


@mutant("scores are rounded to half, which no regression declares", **(LOW | {"scores": "differences"}))
def scores_in_half(q, k, v, h):
    scores = (-torch_squares(q, k) / (2 * float(h) ** 2)).to(q.dtype).double()
    return (torch.softmax(scores, -1) @ v.double()).to(q.dtype)


@mutant("Gaussian regression of half precision with a bandwidth 1 % too small", **LOW)
def narrower_in_half(q, k, v, h):
    return torch_gaussian(q, k, v, 0.99 * float(h)).to(q.dtype)


@mutant("weighted values are summed one by one in half", **LOW)
def values_summed_in_half(q, k, v, h):
    p = torch.softmax(-torch_squares(q, k) / (2 * float(h) ** 2), -1).to(q.dtype)
    y = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    for at in range(k.shape[-2]):
        y = y + p[..., at : at + 1] * v[..., at : at + 1, :]
    return y


@mutant("the gradient of the keys is a tenth too long", **SMOOTH)
def key_gradient_too_long(q, k, v, h):
    right = torch_gaussian(q, k.detach(), v, h)
    keys = torch_gaussian(q.detach(), k, v.detach(), h)
    return (right + 1.1 * (keys - keys.detach())).to(q.dtype)


@mutant("the distance is detached: only the values have a gradient", **SMOOTH)
def distances_detached(q, k, v, h):
    return with_gradient_of(torch_gaussian(q, k, v, h), torch_gaussian(q.detach(), k.detach(), v, h)).to(q.dtype)


@mutant("d/dh has the opposite sign", **SMOOTH)
def bandwidth_the_other_way(q, k, v, h):
    other = 2 * h.detach() - h if isinstance(h, torch.Tensor) else h
    return torch_gaussian(q, k, v, other).to(q.dtype)
