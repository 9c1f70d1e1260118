"""Correct softmax, sparsemax and entmax in narrow formats and in other forms."""

import numpy as np
import torch
from mutant_parts import gaps_of, share
from mutant_parts_torch import EIGHT, HALF, differentiated, numbers, with_gradient_of
from mutant_registry import correct

INF = float("inf")
NARROW = {"dtypes": [*HALF, *EIGHT], "gradients": []}


@correct(order="inf", **NARROW)
def softmax_by_way_of_single(z):
    """float32 inside, whatever narrow format comes."""
    return torch.softmax(z.float(), -1).to(z.dtype)


@correct(order=2, **NARROW)
def entmax15_by_way_of_single(z):
    """float64 inside, then float32, then the narrow format."""
    return numbers(z, 2).float().to(z.dtype)


@correct(order=1, **NARROW)
def sparsemax_by_way_of_double(z):
    """float64 inside."""
    return numbers(z, 1).to(z.dtype)


@correct(alpha=1.25, dtypes=HALF)
def entmax_of_alpha_in_half(z):
    """Order 4 with the backward pass of the definition."""
    return differentiated(4.0)(z)


@correct(order="inf", dtypes=["float64", "float32"])
def exp_of_log_softmax(z):
    """By way of logarithms."""
    return torch.log_softmax(z, -1).exp()


@correct(order="inf", dtypes=["float64", "float32"], gradients=[])
def powers_of_two(z):
    """The gaps come first, and then the factor log₂e."""
    if not z.shape[-1]:
        return z.clone()
    terms = torch.exp2((z - z.amax(-1, keepdim=True)) * np.log2(np.e))
    return terms / terms.sum(-1, keepdim=True)


@correct(order="inf", dtypes=["float64", "float32", "bfloat16", "float16"])
def softmax_of_detached_maximum(z):
    """The shift carries no gradient, which changes nothing."""
    if not z.shape[-1]:
        return z.clone()
    wide = z.float() if z.dtype in {torch.bfloat16, torch.float16} else z
    terms = torch.exp(wide - wide.detach().amax(-1, keepdim=True))
    return (terms / terms.sum(-1, keepdim=True)).to(z.dtype)


@correct(order="inf")
def sum_from_the_smallest(z):
    """Exponentials summed from the smallest, in the dtype that came, but not in half."""
    wide = z if z.dtype.itemsize > 2 else z.astype(np.float32)
    if not z.shape[-1]:
        return z.copy()
    with np.errstate(invalid="ignore"):
        terms = np.exp(wide - wide.max(-1, keepdims=True))
        return (terms / np.sort(terms, axis=-1).sum(-1, keepdims=True)).astype(z.dtype)


@correct(order="inf", dtypes=["float32", "float64"])
def compensated_sum(z):
    """Kahan's sum, key by key."""
    terms = np.exp(-gaps_of(z))
    total, lost = np.zeros((*z.shape[:-1], 1), terms.dtype), np.zeros((*z.shape[:-1], 1), terms.dtype)
    for at in range(min(z.shape[-1], 5000)):
        step = terms[..., at : at + 1] - lost
        new = total + step
        lost, total = (new - total) - step, new
    if z.shape[-1] > 5000:
        total = terms.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (terms / total).astype(z.dtype)


@correct(order=2, dtypes=["float64", "float32"])
def entmax15_by_sorting(z):
    """The closed form: the mean and the variance of the k largest decide τ, k from the largest that is consistent."""
    gaps = gaps_of(z.astype(np.float64))
    if not z.shape[-1]:
        return gaps.astype(z.dtype)
    half = np.sort(np.where(np.isnan(gaps), np.inf, gaps), axis=-1) / 2
    counts = np.arange(1, z.shape[-1] + 1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.cumsum(half, axis=-1) / counts
        spread = np.cumsum(half**2, axis=-1) - counts * mean**2
        tau = mean + np.sqrt(np.maximum((1 - spread) / counts, 0))
        fits = np.isfinite(half) & (half < tau) & (spread < 1)
        size = np.maximum(z.shape[-1] - np.argmax(fits[..., ::-1], axis=-1), 1)[..., None]
        edge = np.take_along_axis(tau, size - 1, axis=-1)
        root = np.maximum(edge - gaps / 2, 0)
    # One step of Newton on the sum makes up for what the variance lost to cancellation.
    with np.errstate(invalid="ignore", divide="ignore"):
        move = (1 - (root**2).sum(-1, keepdims=True)) / (2 * root.sum(-1, keepdims=True))
        weights = np.where(root > 0, np.maximum(root + move, 0), 0) ** 2
    lost = np.isnan(gaps).any(-1, keepdims=True) | np.isposinf(gaps).all(-1, keepdims=True)
    return np.where(lost, np.nan, share(weights)).astype(z.dtype)


@correct(order="inf", dtypes=["float32"], flush_to_zero=True)
def softmax_that_flushes(z):
    """Subnormal weights are 0, and that is declared."""
    with np.errstate(invalid="ignore"):
        weights = share(np.exp(-gaps_of(z.astype(np.float64))))
    return np.where(weights < np.finfo(np.float32).tiny, 0 * weights, weights).astype(z.dtype)


class _Stored(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        p = torch.softmax(z.float(), -1).to(z.dtype)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        p, g = torch.nan_to_num(p.float()), g.float()
        return (p * (g - (p * g).sum(-1, keepdim=True))).to(ctx.saved_tensors[0].dtype)


@correct(order="inf", dtypes=HALF)
def backward_from_stored_weights(z):
    """Softmax whose backward pass reads the weights in the format in which they were returned, and sums in float32."""
    return _Stored.apply(z)


@correct(order="inf", dtypes=["float32"])
def gradient_by_hand(z):
    """Its derivative p(g − Σpg) comes from a formula of its own."""
    return with_gradient_of(torch.softmax(z, -1), differentiated(INF)(z))
