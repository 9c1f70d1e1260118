"""Faults of softmax and entmax in narrow formats, in PyTorch: numbers that are off by more than their rounding."""

import numpy as np
import torch
from mutant_parts_torch import HALF, numbers
from mutant_registry import mutant


def tempered(temperature, *dtypes):
    """A softmax of that many times the scores."""

    @mutant(f"a temperature of {temperature}", order="inf", dtypes=list(dtypes), gradients=[])
    def softmax(z):
        return numbers(z.double() * temperature, np.inf).to(z.dtype)

    return softmax


tempered_float32 = tempered(1.002, "float32")
tempered_float16 = tempered(1.002, "float16")
tempered_bfloat16 = tempered(1.002, "bfloat16")
tempered_bfloat16_more = tempered(1.014, "bfloat16")
cooled_bfloat16 = tempered(1.24, "bfloat16")
tempered_e4m3 = tempered(1.05, "float8_e4m3fn")
cooled_e4m3 = tempered(1.24, "float8_e4m3fn")
tempered_e5m2 = tempered(1.1, "float8_e5m2")
cooled_e5m2 = tempered(1.24, "float8_e5m2")


def of_alpha(declared, computed, *dtypes):
    """An entmax that declares one α and computes another."""

    @mutant(f"α = {computed} for α = {declared}", alpha=declared, dtypes=list(dtypes), gradients=[])
    def entmax(z):
        return numbers(z, 1 / (computed - 1)).to(z.dtype)

    return entmax


alpha_above_float32 = of_alpha(1.5, 1.5001, "float32")
alpha_above_bfloat16 = of_alpha(1.5, 1.51, "bfloat16")
alpha_below_float16 = of_alpha(1.5, 1.495, "float16")
alpha_above_e4m3 = of_alpha(1.5, 1.55, "float8_e4m3fn")
alpha_above_e5m2 = of_alpha(1.5, 1.6, "float8_e5m2")
sparsemax_below_bfloat16 = of_alpha(2, 1.98, "bfloat16")
sparsemax_below_e4m3 = of_alpha(2, 1.9, "float8_e4m3fn")
alpha_of_four_fifths = of_alpha(1.25, 1.252, *HALF)


@mutant("α of 1.01 is taken for softmax", order=100, dtypes=["bfloat16", "float32"], gradients=[])
def order_hundred_is_softmax(z):
    return numbers(z, np.inf).to(z.dtype)


def cut(values, dtype):
    """Numbers with the bits beyond the format cut off instead of rounded: from float32, toward 0."""
    held = values.float()
    bits = 16 if dtype == torch.bfloat16 else 13
    return ((held.view(torch.int32) >> bits) << bits).view(torch.float32).to(dtype)


@mutant("weights are cut to bfloat16 and not rounded", order="inf", dtypes=["bfloat16"], gradients=[])
def truncated_softmax(z):
    return cut(numbers(z, np.inf), z.dtype)


@mutant("weights of sparsemax are cut to float16 and not rounded", order=1, dtypes=["float16"], gradients=[])
def truncated_sparsemax(z):
    return cut(numbers(z, 1), z.dtype)


@mutant("weights of entmax15 are rounded up to bfloat16: they lean", order=2, dtypes=["bfloat16"], gradients=[])
def leaning_entmax15(z):
    p = numbers(z, 2)
    low = cut(p, z.dtype)
    return torch.where(low.double() < p, torch.nextafter(low, torch.ones_like(low)), low)


@mutant("weights lean: 0.2 % is added before they are rounded", order="inf", dtypes=["bfloat16"], gradients=[])
def biased_softmax(z):
    return (numbers(z, np.inf) * 1.002).to(z.dtype)


@mutant("float8 by way of float16, whose last bits decide midpoints", order=2, dtypes=["float8_e4m3fn"], gradients=[])
def rounded_twice_e4m3(z):
    return numbers(z, 2).to(torch.bfloat16).to(z.dtype)


@mutant("bfloat16 by way of float16, which has no small numbers", order="inf", dtypes=["bfloat16"], gradients=[])
def rounded_twice_bfloat16(z):
    return numbers(z, np.inf).half().to(z.dtype)


@mutant("weights below the smallest normal number of float16 are 0", order="inf", dtypes=["float16"], gradients=[])
def flushed_float16(z):
    p = numbers(z, np.inf).to(z.dtype)
    return torch.where(p < torch.finfo(z.dtype).tiny, torch.zeros_like(p), p)


@mutant("weights below the smallest normal number of e4m3 are 0", order=3, dtypes=["float8_e4m3fn"], gradients=[])
def flushed_e4m3(z):
    p = numbers(z, 3)
    return torch.where(p < 2.0**-6, torch.zeros_like(p), p).to(z.dtype)


@mutant("the gaps of softmax are rounded to the format", order="inf", dtypes=HALF, gradients=[])
def gaps_in_half(z):
    top = z.amax(-1, keepdim=True) if z.shape[-1] else z
    return torch.softmax((z - top).double(), -1).to(z.dtype)


@mutant("the exponentials of softmax are rounded to the format", order="inf", dtypes=HALF, gradients=[])
def exponentials_in_half(z):
    top = z.amax(-1, keepdim=True) if z.shape[-1] else z
    terms = (z.float() - top.float()).exp().to(z.dtype).float()
    return (terms / terms.sum(-1, keepdim=True)).to(z.dtype)


@mutant("the sum of the exponentials is rounded to the format", order="inf", dtypes=HALF, gradients=[])
def denominator_in_half(z):
    top = z.amax(-1, keepdim=True) if z.shape[-1] else z
    terms = (z.float() - top.float()).exp()
    return (terms / terms.sum(-1, keepdim=True).to(z.dtype).float()).to(z.dtype)


@mutant("the three lines of softmax, each in half precision", order="inf", dtypes=HALF, gradients=[])
def all_in_half(z):
    if not z.shape[-1]:
        return z.clone()
    terms = torch.exp(z - z.amax(-1, keepdim=True))
    return terms / terms.sum(-1, keepdim=True)


@mutant("the threshold of sparsemax is rounded to the format", order=1, dtypes=HALF, gradients=[])
def threshold_in_half(z):
    p = numbers(z, 1)
    if not z.shape[-1]:
        return p.to(z.dtype)
    inside = p > 0
    tau = torch.where(inside, z.double() - p, torch.full_like(p, -torch.inf)).amax(-1, keepdim=True).to(z.dtype)
    found = torch.where(inside, (z.double() - tau.double()).clamp_min(0), p)
    return torch.where(torch.isfinite(p), found, p).to(z.dtype)


@mutant(
    "the square root form of entmax15 in bfloat16: τ and z/2 lose digits", order=2, dtypes=["bfloat16"], gradients=[]
)
def half_of_scores_in_half(z):
    p = numbers(z, 2)
    if not z.shape[-1]:
        return p.to(z.dtype)
    root = p.sqrt()
    shifted = (root * 4).to(torch.bfloat16).double() / 4
    return (shifted**2).to(z.dtype)


@mutant("exp by a table of 256 steps for each octave", order="inf", dtypes=["float32"], gradients=[])
def exponential_by_table(z):
    if not z.shape[-1]:
        return z.clone()
    gaps = (z.double() - z.double().amax(-1, keepdim=True)) * np.log2(np.e)
    terms = torch.exp2(torch.round(gaps * 256) / 256)
    return (terms / terms.sum(-1, keepdim=True)).float()


@mutant(
    "exp by Schraudolph's bits: up to 4 % off, made up for by the sum", order="inf", dtypes=["bfloat16"], gradients=[]
)
def exponential_by_bits(z):
    if not z.shape[-1]:
        return z.clone()
    gaps = (z.float() - z.float().amax(-1, keepdim=True)).clamp_min(-80)
    terms = ((gaps * (1.4426950 * 2**23)).to(torch.int32) + (127 * 2**23 - 366393)).view(torch.float32)
    terms = torch.where(torch.isneginf(z), torch.zeros_like(terms), terms)
    return (terms / terms.sum(-1, keepdim=True)).to(z.dtype)


@mutant("the weights are divided by their rounded sum once more", order=2, dtypes=["bfloat16"], gradients=[])
def renormalized_after_rounding(z):
    p = numbers(z, 2).to(z.dtype)
    return p / p.sum(-1, keepdim=True)


@mutant("scores are clipped to ±88 before exp, as float32 has them", order="inf", dtypes=["bfloat16"], gradients=[])
def clipped_scores(z):
    return numbers(z.double().clamp(-88, 88).where(~torch.isneginf(z), z.double()), np.inf).to(z.dtype)


@mutant("entmax15 of float16 by ten bisections", order=2, dtypes=["float16"], gradients=[])
def few_bisections_in_half(z):
    p = numbers(z, 2)
    step = 2.0**-10
    root = torch.round(p.sqrt() / step) * step
    return torch.where(torch.isfinite(p), root**2 / (root**2).sum(-1, keepdim=True), p).to(z.dtype)


@mutant("the last quarter of a long row is weighted as in float8", order="inf", dtypes=["float16"], gradients=[])
def narrow_tail(z):
    p = numbers(z, np.inf)
    tail = torch.arange(z.shape[-1]) >= max(100, 3 * z.shape[-1] // 4)
    return torch.where(tail, p.to(torch.bfloat16).double(), p).to(z.dtype)
