"""Correct implementations in different styles and precisions: calling one of them wrong is a false alarm."""

import numpy as np
import torch
from mutant_parts import entmax64, gaps_of, powers, softmax64, sparsemax_sorted
from mutant_registry import correct
from mutants_mixed import attended, regressed, ruled


@correct(orders=["1..inf"])
def by_bisection(z, order):
    """Bisection to the last bit, one division at the end."""
    return entmax64(z, order).astype(z.dtype)


@correct(order=1)
def by_sorting(z):
    """Sparsemax by sorting."""
    return sparsemax_sorted(z).astype(z.dtype)


@correct(orders=["1..64"])
def by_newton(z, order):
    """Newton on ‖u‖_n − 1, which falls to the root from the right."""
    n = float(order)
    gaps = gaps_of(z.astype(np.float64))
    held = np.where(np.isnan(gaps), np.inf, gaps)
    gamma = np.full((*z.shape[:-1], 1), n)
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(60):
            u = np.maximum((gamma - held) / n, 0)
            mass = (u**n).sum(-1, keepdims=True)
            slope = np.where(u > 0, u ** (n - 1), 0).sum(-1, keepdims=True)
            step = n * mass * (1 - mass ** (-1 / n)) / slope
            gamma = gamma - np.where(np.isfinite(step), step, 0)
        weights = powers(gaps, gamma, n)
        return (weights / weights.sum(-1, keepdims=True)).astype(z.dtype)


@correct(order="inf")
def streamed_softmax(z):
    """Softmax in one pass over blocks of keys, with a running maximum and a running sum, as fused kernels do."""
    top = np.full((*z.shape[:-1], 1), -np.inf)
    total = np.zeros((*z.shape[:-1], 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, z.shape[-1], 16):
            block = z[..., start : start + 16].astype(np.float64)
            new = np.maximum(top, block.max(-1, keepdims=True))
            kept = np.where(np.isneginf(top), 0, np.exp(top - new))
            total = total * kept + np.where(np.isneginf(new), 0, np.exp(block - new)).sum(-1, keepdims=True)
            top = new
        return (np.exp(z - top) / total).astype(z.dtype)


@correct(order="inf", dtypes=["float64", "float32", "float16", "bfloat16"])
def torch_softmax(z):
    """PyTorch's own."""
    return torch.softmax(z, -1)


@correct(order="inf", dtypes=["bfloat16", "float16"])
def half_with_single_inside(z):
    """Half precision outside, float32 inside."""
    return torch.softmax(z.float(), -1).to(z.dtype)


@correct(order=1)
def torch_sparsemax(z):
    """Sparsemax by sorting, differentiated by PyTorch through the threshold alone; NaN rows stay NaN."""
    if not z.shape[-1]:
        return z.clone()
    wide = z.double()
    top = wide.amax(-1, keepdim=True)
    live = torch.isfinite(top)
    shifted = torch.where(torch.isneginf(wide), torch.full_like(wide, -torch.inf), wide - torch.where(live, top, 0))
    ordered = shifted.detach().sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    counts = torch.arange(1, z.shape[-1] + 1, dtype=torch.float64)
    size = ((1 + counts * ordered > sums) & torch.isfinite(ordered)).sum(-1, keepdim=True).clamp_min(1)
    edge = ordered.gather(-1, size - 1)
    inside = shifted >= edge
    tau = (torch.where(inside, shifted, 0).sum(-1, keepdim=True) - 1) / inside.sum(-1, keepdim=True)
    weights = torch.where(inside, (shifted - tau).clamp_min(0), 0)
    return torch.where(live, weights, torch.nan).to(z.dtype)


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        p = torch.from_numpy(entmax64(z.detach().double().numpy(), 2))
        ctx.save_for_backward(p)
        return p.to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        w = torch.nan_to_num(p).sqrt()
        mean = (w * g.double()).sum(-1, keepdim=True) / w.sum(-1, keepdim=True).clamp_min(1e-300)
        return (w * (g.double() - mean)).to(g.dtype)


@correct(order=2)
def torch_entmax15(z):
    """entmax15 with the backward pass of the definition."""
    return _Entmax15.apply(z)


@correct(op="weights", orders=["1..8", "inf"], scores="differences")
def any_rule(scores, kernel, rule):
    """Every rule at orders 1 to 8 and ∞."""
    return ruled(scores, kernel, rule).astype(scores.dtype)


@correct(op="regression", orders=["1..8", "inf"], rule="adaptive", scores="differences")
def regression_from_differences(q, k, v, kernel, rule):
    """Kernel regression."""
    return regressed(q, k, v, kernel, rule).astype(q.dtype)


@correct(op="attention", orders=["1..8", "inf"], rule="adaptive")
def dense_attention(q, k, v, kernel, rule, **options):
    """Attention, every option of it."""
    return attended(q, k, v, kernel, rule, **options)


@correct(op="attention", order="inf", rule="adaptive:1", least_rank=3)
def streamed_attention(q, k, v, causal=False):
    """Softmax attention over blocks of keys, with a running maximum, as fused kernels do."""
    group = q.shape[-3] // k.shape[-3]
    wide_q, wide_k, wide_v = (part.astype(np.float64) for part in (q, np.repeat(k, group, -3), np.repeat(v, group, -3)))
    top = np.full((*q.shape[:-1], 1), -np.inf)
    total, y = np.zeros_like(top), np.zeros((*q.shape[:-1], v.shape[-1]))
    seen = np.arange(q.shape[-2])[:, None] + k.shape[-2] - q.shape[-2]
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, k.shape[-2], 16):
            block = wide_q @ np.swapaxes(wide_k[..., start : start + 16, :], -1, -2) / np.sqrt(max(q.shape[-1], 1))
            if causal:
                block = np.where(start + np.arange(block.shape[-1]) <= seen, block, -np.inf)
            new = np.maximum(top, block.max(-1, keepdims=True))
            kept = np.where(np.isneginf(top), 0, np.exp(top - new))
            terms = np.where(np.isneginf(block), 0, np.exp(block - new))
            total = total * kept + terms.sum(-1, keepdims=True)
            y = y * kept + terms @ wide_v[..., start : start + 16, :]
            top = new
        return (y / total).astype(q.dtype)


@correct(op="attention", order="inf", rule="adaptive:1", least_rank=3)
def scaled_dot_product(query, key, value):
    """PyTorch's own attention, with a key head for each query head."""
    group = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(group, -3), value.repeat_interleave(group, -3)
    return torch.nn.functional.scaled_dot_product_attention(query, key, value)


@correct(order="inf", dtypes=["float64", "float32"])
def softmax_of_numpy(z):
    """The usual three lines, in the dtype that came."""
    if not z.shape[-1]:
        return z.copy()
    with np.errstate(invalid="ignore"):
        terms = np.exp(z - z.max(-1, keepdims=True))
        return terms / terms.sum(-1, keepdims=True)


@correct(orders=["1..8", "inf"])
def rows_one_by_one(z, order):
    """A loop over rows with fsum-like care."""
    out = np.empty_like(z)
    for place in np.ndindex(*z.shape[:-1]):
        row = z[place].astype(np.float64)
        out[place] = (softmax64(row) if order == np.inf else entmax64(row, order)).astype(z.dtype)
    return out
