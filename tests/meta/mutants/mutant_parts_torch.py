"""Softmax, entmax and attention in PyTorch, right in float64 and differentiable, in pieces that a mutant can break."""

from __future__ import annotations

import torch
from mutant_parts import entmax64

OPTIONS = ["mask", "causal", "lengths", "scale", "key_norm_term"]
SOFT = {"op": "attention", "orders": ["inf"], "rule": "adaptive:1", "options": OPTIONS}
"""What softmax attention with every option but that of empty rows declares."""
WIDE = SOFT | {"dtypes": ["float64", "float32"]}
"""The same, asked in two dtypes."""
HALF = ["bfloat16", "float16"]
EIGHT = ["float8_e4m3fn", "float8_e5m2"]


def numbers(z, n):
    """Weights of order n in float64, without a gradient."""
    return torch.from_numpy(entmax64(z.detach().double().numpy(), n))


def pulled(p, n, g):
    """(diag(w) − wwᵀ/W)g with w = p^(1 − 1/n) on the support."""
    w = p if n == float("inf") else torch.where(p > 0, p ** (1 - 1 / n), torch.zeros((), dtype=p.dtype))
    return w * (g - (w * g).sum(-1, keepdim=True) / w.sum(-1, keepdim=True).clamp_min(1e-300))


def differentiated(n, backward=pulled):
    """Entmax of order n whose vector-Jacobian product is ``backward(p, n, g)`` of float64 numbers."""

    class Entmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            p = numbers(z, n)
            ctx.save_for_backward(p)
            return p.to(z.dtype)

        @staticmethod
        def backward(ctx, g):
            (p,) = ctx.saved_tensors
            live = torch.isfinite(p).all(-1, keepdim=True)
            found = backward(torch.nan_to_num(p), n, g.double())
            return torch.where(live, found, torch.zeros_like(found)).to(g.dtype)

    return Entmax.apply


def spread(part, heads):
    """The part of k or v that each of the query heads reads."""
    return part.repeat_interleave(heads // part.shape[-3], -3)


def allowed(shape, mask=None, causal=False, lengths=None, **_):
    """What may be attended to, in the shape of the scores."""
    *_, count, size = shape
    free = torch.ones(shape, dtype=torch.bool)
    if causal:
        free = free & torch.ones(count, size, dtype=torch.bool).tril(size - count)
    if lengths is not None:
        ends = lengths.reshape(*lengths.shape, *(1,) * (len(shape) - lengths.ndim))
        free = free & (torch.arange(size) < ends)
    if mask is not None:
        free = free & (mask if mask.dtype == torch.bool else ~torch.isneginf(mask))
    return free


def bias_of(mask, dtype=torch.float64):
    """The finite part of a mask."""
    if mask is None or mask.dtype == torch.bool:
        return torch.zeros((), dtype=dtype)
    return torch.where(torch.isneginf(mask), torch.zeros_like(mask), mask).to(dtype)


def scores_of(q, k, scale=None, key_norm_term=False, **_):
    """The scores in the dtype of q and k."""
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    k = spread(k, q.shape[-3])
    if key_norm_term:
        # Query by query: all differences of long rows at once would take gigabytes.
        rows = [(row[..., None, :] - k).square().sum(-1) for row in q.unbind(-2)]
        return -factor * torch.stack(rows, -2) / 2 if rows else q @ k.mT
    return factor * (q @ k.mT)


def weigh(scores, free):
    """Softmax over the keys that are free, and 0 in rows that have none."""
    held = torch.where(free, scores, torch.full_like(scores, -torch.inf))
    empty = ~free.any(-1, keepdim=True)
    held = torch.where(empty, torch.zeros_like(held), held)
    return torch.where(free, torch.softmax(held, -1), torch.zeros_like(held))


def mean(p, v):
    """The weighted mean of the values; a value that nobody sees does not matter."""
    unseen = (p == 0).all(-2)[..., None]
    v = spread(v, p.shape[-3])
    return p @ torch.where(unseen, torch.zeros_like(v), v)


def without(k, free):
    """The keys, with 0 for those that no query may attend to, so that NaN in them does not matter."""
    heads = free.any(-2)
    unseen = ~heads.reshape(*heads.shape[:-2], k.shape[-3], -1, heads.shape[-1]).any(-2)
    return torch.where(unseen[..., None], torch.zeros_like(k), k)


def attend(q, k, v, **options):
    """Attention in float64; a row without keys is 0."""
    wide = [part.double() for part in (q, k, v)]
    free = allowed((*q.shape[:-1], k.shape[-2]), **options)
    scores = scores_of(wide[0], without(wide[1], free), **options) + bias_of(options.get("mask"))
    return mean(weigh(scores, free), wide[2]).to(q.dtype)


def with_gradient_of(right, wrong):
    """The numbers of `right` with the gradients of `wrong`, whose own numbers are subtracted again."""
    held = torch.nan_to_num(wrong)
    return right.detach() + (held - held.detach())
