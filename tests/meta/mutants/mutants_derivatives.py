"""Faults of derivatives of softmax and entmax in the scores, the order and α, in PyTorch; the weights are right."""

import torch
from mutant_parts_torch import HALF, differentiated, numbers, pulled, with_gradient_of
from mutant_registry import mutant

INF = float("inf")


def soft(z, temperature=1.0):
    """Softmax in float64 with its derivative, and 0 gradients in rows that are NaN."""
    return differentiated(INF)(z.double() * temperature)


def hotter(temperature, *dtypes):
    """A softmax whose gradient is that of another temperature."""

    @mutant(f"the gradient is that of a temperature of {temperature}", order="inf", dtypes=list(dtypes))
    def softmax(z):
        return with_gradient_of(soft(z), soft(z, temperature)).to(z.dtype)

    return softmax


hotter_gradient_float32 = hotter(1.002, "float32")
hotter_gradient_float16 = hotter(1.02, "float16")
hotter_gradient_bfloat16 = hotter(1.1, "bfloat16")


def other_power(n, power, *dtypes):
    """An entmax of order n whose backward pass takes p to another power."""

    @mutant(f"the gradient of order {n} takes weights to the power {power:.3g}", order=n, dtypes=list(dtypes))
    def entmax(z):
        return backward(z)

    backward = differentiated(n, lambda p, n, g: pulled(p, 1 / (1 - power) if power != 1 else INF, g))
    return entmax


softmax_gradient_of_entmax15 = other_power(2, 1, "float32")
entmax15_gradient_of_order_three = other_power(3, 1 / 2, "float64")
softmax_gradient_of_entmax15_in_half = other_power(2, 1, *HALF)
order_three_gradient_of_entmax15_in_half = other_power(2, 2 / 3, "float16")


@mutant("the sum of softmax is detached", order="inf", dtypes=["float32", "bfloat16"])
def denominator_detached(z):
    if not z.shape[-1]:
        return z.clone()
    terms = torch.exp(z.double() - z.detach().double().amax(-1, keepdim=True))
    return (terms / terms.detach().sum(-1, keepdim=True)).to(z.dtype)


def thresholded(z, n):
    """[z/n − τ]₊ⁿ with a threshold that carries no gradient."""
    p = numbers(z, n)
    root = p ** (1 / n)
    moved = torch.where(p > 0, (root + (z.double() - z.detach().double()) / n).clamp_min(0), torch.zeros_like(p)) ** n
    return torch.where(torch.isfinite(p), moved, p)


@mutant("the threshold of sparsemax is detached", order=1, dtypes=["float32"])
def threshold_detached(z):
    return thresholded(torch.where(torch.isfinite(z), z, z.detach()), 1).to(z.dtype)


_IN_HALF = differentiated(INF, lambda p, n, g: centred_in_half(p, g))


def centred_in_half(p, g):
    """p(g − Σpg) with every sum and product in bfloat16."""
    p, g = p.bfloat16(), g.bfloat16()
    total = torch.zeros_like(p[..., :1])
    for at in range(p.shape[-1]):
        total = total + p[..., at : at + 1] * g[..., at : at + 1]
    return (p * (g - total)).double()


@mutant("Σ p·g of the backward pass is summed in bfloat16", order="inf", dtypes=["bfloat16"])
def backward_sums_in_half(z):
    return _IN_HALF(z)


_STORED_FLOAT8 = differentiated(INF, lambda p, n, g: pulled(p.to(torch.float8_e4m3fn).double(), n, g))


@mutant("the backward pass reads weights that were kept in float8", order="inf", dtypes=HALF)
def weights_kept_in_float8(z):
    return _STORED_FLOAT8(z)


_STORED_HALF = differentiated(2, lambda p, n, g: pulled(p.half().double(), n, g))


@mutant("the backward pass of float32 reads weights that were kept in float16", order=2, dtypes=["float32"])
def weights_kept_in_half(z):
    return _STORED_HALF(z)


_SQUARED = differentiated(INF, lambda p, n, g: p * g - p * p * g)


@mutant("the gradient is the diagonal of the Jacobian alone", order="inf", dtypes=["float32", "float16"])
def diagonal_jacobian(z):
    return _SQUARED(z)


_SUPPORT = differentiated(2, lambda p, n, g: pulled(torch.where(p > 1e-3, p, torch.zeros_like(p)), n, g))


@mutant("keys of weights below a thousandth get no gradient", order=2, dtypes=["float32"])
def small_weights_without_gradient(z):
    return _SUPPORT(z)


def phi(x):
    """log1p(x) − x/(1 + x), by its series where x is small."""
    k = torch.arange(2, 14, dtype=torch.float64)
    series = ((k - 1) / k * (-x[..., None]) ** k).sum(-1)
    return torch.where(x.abs() < 0.03, series, torch.log1p(x) - x / (1 + x))


def slope_in_alpha(p, n, threshold=1):
    """∂p/∂α of entmax of order n, from exact weights; `threshold` is how often what it moves is counted."""
    inside = p > 0
    held = torch.where(inside, p, torch.ones_like(p))
    if n == INF:
        pull, w = held.log() ** 2 / 2, p
    else:
        pull = n**2 * phi(torch.expm1(held.log() / n))
        w = torch.where(inside, held ** (1 - 1 / n), torch.zeros_like(p))
    part = torch.where(inside, p * pull, torch.zeros_like(p))
    return -(part - threshold * w / w.sum(-1, keepdim=True) * part.sum(-1, keepdim=True))


def with_alpha(slope, z_backward=pulled):
    """An entmax whose gradient in α is g · ``slope(p, n)``, summed."""

    class Entmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, alpha):
            ctx.n = INF if float(alpha) == 1 else 1 / (float(alpha) - 1)
            ctx.alpha = alpha
            p = numbers(z, ctx.n)
            ctx.save_for_backward(p)
            return p.to(z.dtype)

        @staticmethod
        def backward(ctx, g):
            (p,) = ctx.saved_tensors
            live = torch.isfinite(p).all(-1, keepdim=True)
            p, g = torch.nan_to_num(p), g.double()
            by_z = torch.where(live, z_backward(p, ctx.n, g), torch.zeros_like(p))
            if not isinstance(ctx.alpha, torch.Tensor):
                return by_z, None
            by_alpha = torch.where(live, g * slope(p, ctx.n), torch.zeros_like(p)).sum()
            return by_z, by_alpha.to(ctx.alpha.dtype)

    def entmax(z, alpha):
        return Entmax.apply(z.double(), alpha).to(z.dtype)

    return entmax


ALPHA = {"gradients": ["z", "alpha"], "orders": ["1..8"]}
_ALPHA_RIGHT = with_alpha(slope_in_alpha)
_NOTHING = with_alpha(lambda p, n: torch.zeros_like(p))
_OTHER_WAY = with_alpha(lambda p, n: -slope_in_alpha(p, n))
_FOR_ORDER = with_alpha(lambda p, n: -slope_in_alpha(p, n) / n**2)
_LONGER = with_alpha(lambda p, n: 1.01 * slope_in_alpha(p, n))
_FROM_HALF = with_alpha(lambda p, n: slope_in_alpha(p.to(torch.float8_e4m3fn).double(), n))


@mutant("d/dα is 0", dtypes=["float64", "float32"], **ALPHA)
def alpha_without_gradient(z, alpha):
    return _NOTHING(z, alpha)


@mutant("d/dα is 0 in bfloat16", dtypes=["bfloat16"], **ALPHA)
def alpha_without_gradient_in_half(z, alpha):
    return _NOTHING(z, alpha)


@mutant("d/dα is 0 at α = 1.5 of float16, where a faster path is taken", dtypes=["float16"], **ALPHA)
def alpha_without_gradient_at_entmax15(z, alpha):
    return _NOTHING(z, alpha) if float(alpha) == 1.5 else _ALPHA_RIGHT(z, alpha)


@mutant("d/dα has the opposite sign", dtypes=["float32", "bfloat16"], **ALPHA)
def alpha_the_other_way(z, alpha):
    return _OTHER_WAY(z, alpha)


@mutant("d/dα is d/dn: the inner derivative is missing", dtypes=["float64"], gradients=["z", "alpha"], orders=["2..8"])
def alpha_for_order(z, alpha):
    return _FOR_ORDER(z, alpha)


@mutant("d/dα is a hundredth too long", dtypes=["float32"], **ALPHA)
def alpha_too_long(z, alpha):
    return _LONGER(z, alpha)


@mutant("d/dα from weights that were kept in float8", dtypes=["bfloat16"], **ALPHA)
def alpha_from_float8(z, alpha):
    return _FROM_HALF(z, alpha)


_NO_THRESHOLD = with_alpha(lambda p, n: slope_in_alpha(p, n, 0))


@mutant("d/dα without what the threshold moves", dtypes=["float32"], **ALPHA)
def alpha_without_threshold(z, alpha):
    return _NO_THRESHOLD(z, alpha)
