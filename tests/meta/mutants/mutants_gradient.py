"""Faults of the backward pass, and of half precision, in PyTorch; the forward pass of the first is right."""

import numpy as np
import torch
from mutant_parts import entmax64
from mutant_registry import mutant


def _numbers(z, n):
    return torch.from_numpy(entmax64(z.detach().double().numpy(), n))


def _product(p, n, upstream):
    """(diag(w) − wwᵀ/W)g with w = p^(1 − 1/n) on the support, in float64."""
    w = torch.where(p > 0, p ** (1 - 1 / n), torch.zeros(()).double()) if n != np.inf else p
    mean = (w * upstream).sum(-1, keepdim=True) / w.sum(-1, keepdim=True).clamp_min(1e-300)
    return w * (upstream - mean)


def _function(n, backward):
    """entmax of order n whose vector-Jacobian product is ``backward(p, z, g)``, p and g in float64."""

    class Entmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            p = _numbers(z, n)
            ctx.save_for_backward(p, z)
            return p.to(z.dtype)

        @staticmethod
        def backward(ctx, g):
            p, z = ctx.saved_tensors
            live = torch.isfinite(p).all(-1, keepdim=True)
            pulled = backward(torch.nan_to_num(p), z, g.double())
            return torch.where(live, pulled, torch.zeros(()).double()).to(z.dtype)

    return Entmax.apply


_SPARSEMAX_WITH_SOFTMAX = _function(1, lambda p, z, g: p * (g - (p * g).sum(-1, keepdim=True)))


@mutant("sparsemax with the Jacobian of softmax", order=1)
def softmax_jacobian(z):
    return _SPARSEMAX_WITH_SOFTMAX(z)


def _mean_over_all(p, z, g):
    inside = (p > 0).double()
    return inside * (g - (inside * g).sum(-1, keepdim=True) / max(p.shape[-1], 1))


_MEAN_OVER_ALL = _function(1, _mean_over_all)


@mutant("the mean is taken over all keys instead of the support", order=1)
def mean_over_all_keys(z):
    return _MEAN_OVER_ALL(z)


_NOT_CENTRED = _function(2, lambda p, z, g: p.sqrt() * g)


@mutant("the gradient of entmax15 without its centre", order=2)
def gradient_not_centred(z):
    return _NOT_CENTRED(z)


_SINGLE = _function(np.inf, lambda p, z, g: _product(p.float(), np.inf, g.float()).double())


@mutant("the backward pass of float64 in float32", order="inf", dtypes=["float64"], plausible=True)
def backward_in_float32(z):
    return _SINGLE(z)


_SCALED = _function(2, lambda p, z, g: _product(p, 2, g) * (1 + 2e-4))


@mutant("the gradient is two ten-thousandths too long", order=2, plausible=True)
def gradient_too_long(z):
    return _SCALED(z)


_FLOORED = _function(2, lambda p, z, g: _product(p.clamp_min(1e-18), 2, g))


@mutant("√p with a floor of 1e-9: keys off the support move", order=2, plausible=True, dtypes=["float64"])
def floor_under_root(z):
    return _FLOORED(z)


_NEVER_ZERO = _function(1, lambda p, z, g: _product(p, 1, g) + 1e-9)


@mutant("where nothing comes from above 1e-9 goes down", order=1)
def zero_upstream_is_not_zero(z):
    return _NEVER_ZERO(z)


def _poisoned(p, z, g):
    masked = torch.isneginf(z).any(-1, keepdim=True)
    return torch.where(masked, torch.full((), torch.nan).double(), _product(p, np.inf, g))


_POISONED = _function(np.inf, _poisoned)


@mutant("a masked key makes the gradient of its row NaN", order="inf", plausible=True)
def mask_poisons_gradient(z):
    return _POISONED(z)


def _summed_twice(p, z, g):
    pulled = _product(p, np.inf, g)
    top = z == z.amax(-1, keepdim=True)
    return torch.where(top & (top.sum(-1, keepdim=True) > 1), 2 * pulled, pulled)


_TIES_TWICE = _function(np.inf, _summed_twice)


@mutant("tied maxima receive twice their gradient", order="inf", plausible=True)
def ties_twice(z):
    return _TIES_TWICE(z)


_BATCH_CENTRE = _function(np.inf, lambda p, z, g: p * (g - (p * g).sum(-1, keepdim=True).mean()))


@mutant("the centre is that of the whole batch", order="inf")
def centre_of_batch(z):
    return _BATCH_CENTRE(z)


class _Remembered(torch.autograd.Function):
    kept = {}  # noqa: RUF012 (that all calls share it is the fault)

    @staticmethod
    def forward(ctx, z):
        p = _numbers(z, 2)
        _Remembered.kept.setdefault(p.shape, p)
        return p.to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        pulled = _product(torch.nan_to_num(_Remembered.kept[g.shape]), 2, g.double())
        return pulled.to(g.dtype)


@mutant("the backward pass uses the output of the first call of its shape", order=2)
def backward_of_another_call(z):
    return _Remembered.apply(z)


class _WithAlpha(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, alpha):
        n = np.inf if float(alpha) == 1 else 1 / (float(alpha) - 1)
        p = _numbers(z, n)
        ctx.save_for_backward(p, z)
        ctx.n = n
        ctx.alpha = alpha
        return p.to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        (p, z), n = ctx.saved_tensors, ctx.n
        g64 = torch.where(torch.isfinite(p).all(-1, keepdim=True), g.double(), torch.zeros(()).double())
        p = torch.nan_to_num(p)
        pulled = _product(p, n, g64).to(z.dtype)
        if not isinstance(ctx.alpha, torch.Tensor):
            return pulled, None
        # The textbook form, in the dtype of the scores: two numbers that differ in their last digits are subtracted.
        narrow = p.to(z.dtype)
        w = torch.where(narrow > 0, narrow ** (1 - 1 / n), torch.zeros((), dtype=z.dtype)) if n != np.inf else narrow
        skew = w / w.sum(-1, keepdim=True)
        log = torch.where(narrow > 0, narrow * narrow.clamp_min(1e-37).log(), torch.zeros((), dtype=z.dtype))
        step = 1 / n if n != np.inf else 1e-8
        by_alpha = (narrow - skew) / step**2 - (log - skew * log.sum(-1, keepdim=True)) / step
        return pulled, (by_alpha * g64.to(z.dtype)).sum().to(ctx.alpha.dtype)


@mutant(
    "the gradient in α by the textbook form in float32",
    dtypes=["float32"],
    gradients=["z", "alpha"],
    orders=["1..inf"],
)
def textbook_gradient_in_alpha(z, alpha):
    return _WithAlpha.apply(z, alpha)


@mutant("half precision is summed in half precision", order="inf", dtypes=["bfloat16", "float16"], gradients=[])
def sums_in_half(z):
    top = z.amax(-1, keepdim=True) if z.shape[-1] else z.sum(-1, keepdim=True)
    terms = torch.exp(z - top)
    total = torch.zeros_like(terms[..., :1])
    for at in range(z.shape[-1]):
        total = total + terms[..., at : at + 1]
    return terms / total


@mutant("sparsemax of bfloat16 with its cumulative sums in bfloat16", order=1, dtypes=["bfloat16"], gradients=[])
def cumulative_sums_in_half(z):
    if not z.shape[-1]:
        return z.clone()
    ordered = z.sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    counts = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    inside = 1 + counts * ordered > sums
    size = inside.sum(-1, keepdim=True).clamp_min(1)
    tau = (sums.gather(-1, size - 1) - 1) / size.to(z.dtype)
    return (z - tau).clamp_min(0)


@mutant("scores of float32 are cut to the ten bits of TF32", order="inf", dtypes=["float32"], gradients=[])
def tensor_float(z):
    cut = (z.view(torch.int32) & -8192).view(torch.float32)
    return torch.from_numpy(entmax64(cut.double().numpy(), np.inf)).float()
