"""For each check a target with one fault that it is there to find: NumPy alone, and right but for that.

`text_of` gives the file of a target, faulty or mended; `FAULTS` says which fault is planted for which check, and on
which case that is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

RIGHT = '''
import os, signal
import numpy as np

class Right:
    """Orders from 1 on by bisection, and attention at order inf, in float64 inside."""
    KERNELPROOF = {"rule": "adaptive:1", "gradients": ["z"], "empty_row": "nan", "array_library": "numpy"}
    odd = False

    def gaps(self, z):
        wide = z.astype(np.float64)
        top = wide.max(-1, keepdims=True, initial=-np.inf)
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(wide), np.inf, np.where(np.isfinite(top), top, np.nan) - wide)

    def shares(self, terms):
        with np.errstate(invalid="ignore", divide="ignore"):
            return terms / terms.sum(-1, keepdims=True)

    def powers(self, gaps, n):
        if n == np.inf:
            return np.exp(-gaps)
        held = np.where(np.isnan(gaps), np.inf, gaps)
        low, high = np.zeros((*gaps.shape[:-1], 1)), np.full((*gaps.shape[:-1], 1), float(n))
        for _ in range(100):
            middle = (low + high) / 2
            mass = (np.maximum((middle - held) / n, 0) ** n).sum(-1, keepdims=True)
            low, high = np.where(mass < 1, middle, low), np.where(mass < 1, high, middle)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = np.exp(n * np.log1p(-np.minimum(gaps / high, 1)))
        return np.where(gaps < high, inside, np.where(np.isnan(gaps), np.nan, 0))

    def weights_of(self, z, n):
        return self.shares(self.powers(self.gaps(z), n))

    def entmax(self, z, order, dim=-1):
        rows = np.moveaxis(z, dim, -1)
        return np.moveaxis(self.weights_of(rows, order).astype(z.dtype), -1, dim)

    def vjp(self, op, cotangent, z, order, dim=-1):
        p, g = self.weights_of(z, order), cotangent.astype(np.float64)
        w = np.where(p > 0, p ** (1 - 1 / order), 0 * p)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (w * g).sum(-1, keepdims=True) / w.sum(-1, keepdims=True)
            return {"z": (w * (g - mean)).astype(z.dtype)}

class Weights(Right):
    """Order 2, and what the caller asks for in a row without keys."""
    KERNELPROOF = {"rule": "adaptive:1", "order": 2, "op": "weights", "array_library": "numpy"}
    entmax = vjp = None

    def weights(self, scores, empty="nan"):
        lost = np.isneginf(scores).all(-1, keepdims=True)
        if empty == "raise" and lost.any():
            raise ValueError("an empty row")
        filled = np.where(lost, {"zeros": 0}.get(empty, np.nan), self.weights_of(scores, 2))
        return filled.astype(scores.dtype)

class Attention(Right):
    KERNELPROOF = {"rule": "adaptive:1", "order": "inf", "op": "attention", "array_library": "numpy"}
    entmax = vjp = None

    def attention(self, q, k, v, mask=None):
        group = q.shape[-3] // k.shape[-3]
        wide = [part.astype(np.float64) for part in (q, np.repeat(k, group, -3), np.repeat(v, group, -3))]
        with np.errstate(invalid="ignore", over="ignore"):
            scores = wide[0] @ np.swapaxes(wide[1], -1, -2) / np.sqrt(q.shape[-1])
        scores = scores if mask is None else np.where(mask, scores, -np.inf)
        return self.mixed(self.weights_of(scores, np.inf), wide[2], mask).astype(q.dtype)

    def mixed(self, weights, values, mask):
        kept = values if mask is None else np.where(mask.any(-2)[..., None], values, 0)
        return weights @ kept
'''
TORCH = """
import torch

NOISE = torch.Generator()

class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context, z, factor):
        p = torch.softmax(z.double(), -1)
        context.save_for_backward(p)
        context.factor = factor
        return p.to(z.dtype)

    @staticmethod
    def backward(context, g):
        (p,) = context.saved_tensors
        return (context.factor * p * (g - (p * g).sum(-1, keepdim=True))).to(g.dtype), None

class Right:
    KERNELPROOF = {"order": "inf", "array_library": "torch"}

    def entmax(self, z):
        return Scaled.apply(z, 1.0)
"""
PLANTED = "planted"
MENDED = "\n\n{planted} = {parent}()\n"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        check: the one that it is planted for.
        title: what is wrong, in a word.
        body: lines of a class `Planted`.
        case: where it is seen.
        parent: what the class is right by.
        right: the code of that.
    """

    check: str
    title: str
    body: str
    case: str
    parent: str = "Right"
    right: str = RIGHT

    def __str__(self) -> str:
        return f"{self.check}-{self.title}"


def text_of(fault: Fault, *, mended: bool) -> str:
    """The file with the target `PLANTED`."""
    lines = "\n".join(f"    {line}" for line in fault.body.strip("\n").split("\n"))
    planted = f"\nclass Planted({fault.parent}):\n{lines}\n\n{PLANTED} = Planted()\n"
    return fault.right + planted + (MENDED.format(planted=PLANTED, parent=fault.parent) if mended else "")


def entmax_case(order: str, family: str, shape: str, feature: str) -> str:
    return f"entmax order={order} rule=adaptive:1 dtype=float64 family={family} shape={shape} feature={feature} seed=0"


RANDOM = entmax_case("2", "random", "3x8", "1")
LARGE = entmax_case("64", "random", "3x8", "1")
SWEEP = entmax_case("2", "two_keys", "33x2", "wide")
SPECIAL = entmax_case("2", "special", "4x7", "nan")
POLICY = "weights order=2 rule=adaptive:1 dtype=float64 family=masks shape=3x10 feature=all seed=0"
PADDING = "attention order=inf rule=adaptive:1 dtype=float64 family=padding shape=2x1x3x8x4x2 feature=mask seed=0"


def weighed(lines: str) -> str:
    """A fault in the weights `p` of rows `z`."""
    body = "\n".join(f"    {line}" for line in lines.strip("\n").split("\n"))
    return f"def weights_of(self, z, n):\n    p = super().weights_of(z, n)\n{body}"


def returned(change: str) -> str:
    """A change of what a call without an axis returns."""
    return f"def entmax(self, z, order):\n    return super().entmax(z, order){change}"


def _gradient(lines: str) -> str:
    """A fault in the gradient `found` for the upstream `g`."""
    body = "\n".join(f"    {line}" for line in lines.strip("\n").split("\n"))
    return (
        "def vjp(self, op, g, z, order, dim=-1):\n"
        f"    found = super().vjp(op, g, z, order)['z']\n{body}\n"
        "    return {'z': found}"
    )


FAULTS = (
    Fault("accuracy", "power", weighed("return self.shares(p**1.01)"), RANDOM),
    Fault("accuracy", "raises", weighed("raise ValueError('no such luck')"), RANDOM),
    Fault("accuracy", "list", returned(".tolist()"), RANDOM),
    Fault("accuracy", "complex", returned(" + 0j"), RANDOM),
    Fault("accuracy", "shape", returned("[..., 1:]"), RANDOM),
    Fault(
        "axis",
        "ignored",
        "def entmax(self, z, order, dim=-1):\n    return super().entmax(z, order)",
        entmax_case("2", "random", "2x2x16", "4"),
    ),
    Fault("batch", "leak", weighed("return p if len(p) == 1 else p * 0.9 + p.mean(0) * 0.1"), RANDOM),
    Fault("convergence", "early", weighed("return p if n < 64 else super().weights_of(z, np.inf)"), LARGE),
    Fault("curve", "jagged", weighed("p[::3, 0] -= 0.25 * p[::3, 0] * p[::3, 1]\nreturn p"), SWEEP),
    Fault(
        "determinism",
        "raises",
        weighed("self.odd = not self.odd\nassert self.odd\nreturn p"),
        RANDOM,
    ),
    Fault("determinism", "random", weighed("return p * (1 + 1e-12 * np.random.default_rng().random())"), RANDOM),
    Fault("dtype_kept", "short", returned("[..., :3]"), RANDOM),
    Fault("dtype_kept", "narrow", returned(".astype('f4')"), RANDOM),
    Fault("dtype_kept", "flat", returned(".reshape(-1)"), RANDOM),
    Fault("dtype_kept", "odd name", "def vjp(self, *args, **options):\n    return {1: args[2]}", RANDOM),
    Fault("dtype_kept", "gradient", _gradient("found = found[..., :3]"), RANDOM),
    Fault("dtype_kept", "gradient dtype", _gradient("found = found.astype('f4')"), RANDOM),
    Fault(
        "empty_rows",
        "spread",
        weighed("return p * np.where(np.isnan(p).any(), np.nan, 1)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "zeros",
        weighed("return np.nan_to_num(p)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "returns",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('raise', 'nan'))",
        POLICY,
        "Weights",
    ),
    Fault(
        "empty_rows",
        "zeros for all",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('nan', 'zeros'))",
        POLICY,
        "Weights",
    ),
    Fault(
        "garbage",
        "product",
        "def mixed(self, weights, values, mask):\n    return weights @ values",
        PADDING,
        "Attention",
    ),
    Fault("global_state", "variable", weighed("os.environ['PLANTED'] = '1'\nreturn p"), RANDOM),
    Fault("global_state", "raises too", weighed("os.environ['PLANTED'] = '1'\nraise ValueError"), RANDOM),
    Fault("global_state", "errors", weighed("np.seterr(all='raise')\nreturn p"), RANDOM),
    Fault("global_state", "handler", weighed("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreturn p"), RANDOM),
    Fault("global_state", "seed", weighed("np.random.seed(0)\nreturn p"), RANDOM),
    Fault("gradients", "factor", _gradient("found = found * 1.5"), RANDOM),
    Fault("gradients", "none", _gradient("return {}"), RANDOM),
    Fault("gradients", "nothing", _gradient("found = None"), RANDOM),
    Fault("gradients", "short", _gradient("found = found[..., :3]"), RANDOM),
    Fault(
        "input_untouched",
        "shifted",
        "def entmax(self, z, order):\n    found = super().entmax(z, order)\n    z -= 1\n    return found",
        RANDOM,
    ),
    Fault("input_untouched", "cotangent", _gradient("g[:] = 0"), RANDOM),
    Fault("kkt", "power", weighed("return self.shares(p**1.01)"), RANDOM),
    Fault(
        "layout",
        "memory",
        "def entmax(self, z, order):\n    return super().entmax(z.ravel(order='K').reshape(z.shape), order)",
        entmax_case("2", "layouts", "4x11", "transposed"),
    ),
    Fault("monotone", "swapped", weighed("return p[..., ::-1]"), RANDOM),
    Fault(
        "permutation",
        "position",
        weighed("return self.shares(p * (1 + 0.1 * (np.arange(p.shape[-1]) == 0)))"),
        RANDOM,
    ),
    Fault("poison", "sum", _gradient("found = found + 0 * found.sum()"), SPECIAL),
    Fault("renormalized", "power", weighed("return self.shares(p**1.01)"), RANDOM),
    Fault("simplex", "sum", weighed("return p * 1.01"), RANDOM),
    Fault("special_values", "hidden", weighed("return np.nan_to_num(p)"), SPECIAL),
    Fault("support", "short", weighed("return self.shares(np.where(p < p.max(-1, keepdims=True), 0, p))"), RANDOM),
    Fault("support", "negative", weighed("return np.where(p == 0, -1e-300, p)"), RANDOM),
    Fault(
        "translation",
        "offset",
        weighed("return self.shares(p ** (1 + 0.01 * np.tanh(z.max(-1, keepdims=True))))"),
        RANDOM,
    ),
    Fault("zero_upstream", "noise", _gradient("found = found + (0 if g.any() else 1e-300)"), RANDOM),
)


def _torch(check: str, title: str, body: str) -> Fault:
    case = "entmax order=inf rule=adaptive:1 dtype=float32 family=random shape=3x8 feature=1 seed=0"
    return Fault(check, title, f"def entmax(self, z):\n    {body}", case, right=TORCH)


TORCH_FAULTS = (
    _torch("gradients", "torch factor", "return Scaled.apply(z, 1.5)"),
    _torch("gradients", "torch detached", "return super().entmax(z.detach())"),
    _torch("accuracy", "torch array", "return super().entmax(z).detach().numpy()"),
    _torch("dtype_kept", "torch double", "return super().entmax(z).double()"),
    _torch("dtype_kept", "torch short", "return super().entmax(z)[..., 1:]"),
    _torch("determinism", "torch noise", "return super().entmax(z) * (1 + torch.rand((), generator=NOISE))"),
    _torch("global_state", "torch seed", "torch.manual_seed(0); return super().entmax(z)"),
)
