"""More planted faults: at kinks, of JAX, of large arrays, of equal bits, and those that depend on the calls before."""

from __future__ import annotations

from tests.verify.witness.planted_faults import RANDOM, Fault, entmax_case, weighed

JAX = """
import jax
import jax.numpy as jnp

@jax.custom_vjp
def scaled(z, factor):
    return jax.nn.softmax(z, -1)

def _pull(held, g):
    p, factor = held
    return factor * p * (g - (p * g).sum(-1, keepdims=True)), None

scaled.defvjp(lambda z, factor: (scaled(z, factor), (scaled(z, factor), factor)), _pull)

class Right:
    KERNELPROOF = {"order": "inf", "array_library": "jax"}

    def entmax(self, z):
        return scaled(z, 1.0)

class Fixed(Right):
    KERNELPROOF = {
        "op": "regression", "order": 1, "array_library": "jax", "gradients": ["q", "k", "v", "h"],
        "empty_row": "zeros", "scores": "differences",
    }
    entmax = None

    def width(self, h):
        return h

    def regression(self, q, k, v, h):
        squares = ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(axis=-1)
        weights = jnp.maximum(1 - squares / self.width(h) ** 2, 0)
        total = weights.sum(axis=-1, keepdims=True)
        return (weights @ v) / jnp.where(total == 0, 1, total)
"""


def _at_kink(title: str, order: str, lines: str) -> Fault:
    """A fault in the gradient `found` of rows with keys at the threshold, which are the `edge`; `s` is the support."""
    body = f"""
def vjp(self, op, g, z, order, dim=-1):
    p, found = self.weights_of(z, order), super().vjp(op, g, z, order)["z"]
    s = p > 1e-9
    top = p.max(-1, keepdims=True, initial=0)
    edge = np.abs(self.gaps(z) - order * top ** (1 / order)) < 1e-9
    mean = (s * g).sum(-1, keepdims=True) / s.sum(-1, keepdims=True)
    {lines}
    return {{"z": found}}
"""
    return Fault("gradients", title, body, entmax_case(order, "kink", "4x8", "0"))


KINK_FAULTS = (
    _at_kink("beyond the hull", "1", "found = np.where(edge, g + 1, found)"),
    # Every entry is one of a right gradient, and their sum is not 0.
    _at_kink("sum beyond the hull", "1", "found = np.where(s, g - mean, np.where(edge, (g - mean) / 4, 0))"),
    _at_kink("beyond the box", "3/2", "found = np.where(edge, 0.1, found)"),
    _at_kink("beyond all limits", "2", "found = np.where(edge, np.nan, found)"),
)
"""Faults where more than one gradient is right."""
COUNTED = "self.calls = getattr(self, 'calls', 0) + 1\n"
SAME = 'KERNELPROOF = {**Right.KERNELPROOF, "same": "bits"}\n'
BITS_FAULTS = (
    Fault("batch", "bits", SAME + weighed("return p if len(p) == 1 else p * (1 + 2.0**-50)"), RANDOM),
    Fault(
        "layout",
        "bits",
        SAME
        + "def entmax(self, z, order):\n    return super().entmax(z, order) * (1 + 2.0**-50 * z.flags.c_contiguous)",
        entmax_case("2", "layouts", "4x11", "transposed"),
    ),
)
"""Faults that only a promise of the same bits makes faults."""
HISTORY_FAULTS = (
    Fault(
        "accuracy",
        "every third call",
        weighed(COUNTED + "return self.shares(p ** (1 if self.calls % 3 else 1.01))"),
        RANDOM,
    ),
    Fault(
        "accuracy",
        "after some calls",
        weighed(COUNTED + "return self.shares(p ** (1 if self.calls < 5 else 1.01))"),
        RANDOM,
    ),
    Fault(
        "global_state",
        "every fifth call",
        weighed(COUNTED + "self.calls % 5 or np.random.seed()\nreturn p"),
        RANDOM,
    ),
    Fault(
        "accuracy",
        "raises after some calls",
        weighed(COUNTED + "assert self.calls < 9\nreturn p"),
        RANDOM,
    ),
)
"""Faults that depend on the calls before."""
THIRD_CALL = Fault(
    "input_untouched",
    "every third call",
    "def entmax(self, z, order):\n    found = super().entmax(z, order)\n    "
    + COUNTED
    + "    if self.calls % 3 == 0: z -= 1\n    return found",
    RANDOM,
)
"""One that no check of the first calls sees."""
LARGE_FAULT = Fault(
    "accuracy",
    "large",
    weighed("return p if z.size < 4500 else self.shares(p**1.01)"),
    entmax_case("2", "random", "3x1600", "1"),
)
"""A fault of arrays of more numbers than are written out as literals."""


def _jax(check: str, title: str, body: str) -> Fault:
    case = "entmax order=inf rule=adaptive:1 dtype=float32 family=random shape=3x8 feature=1 seed=0"
    return Fault(check, title, f"def entmax(self, z):\n    {body}", case, right=JAX)


JAX_FAULTS = (
    Fault(
        "gradients",
        "jax number",
        "def width(self, h):\n    return jax.lax.stop_gradient(h) ** 0.5 * h**0.5",
        "regression order=1 rule=fixed:3 dtype=float32 family=random shape=5x8x3x2 feature=1 seed=0",
        "Fixed",
        JAX,
    ),
    _jax("gradients", "jax factor", "return scaled(z, 1.5)"),
    _jax("gradients", "jax raises", "return scaled(z, 1.0) * (1 + jax.grad(jnp.sin)(z))"),
    _jax("accuracy", "jax power", "return scaled(1.01 * z, 1.0)"),
    _jax("accuracy", "jax list", "return scaled(z, 1.0).tolist()"),
    _jax("determinism", "jax noise", "import time; return scaled(z, 1.0) * (1 + time.time() % 1)"),
)


ATTENTION = "attention order=inf rule=adaptive:1 dtype=float64 family=random shape=2x2x2x3x5x4x2 feature=1 seed=0"
LAYOUT = """
import torch

class Right:
    KERNELPROOF = {"order": "inf", "op": "attention", "array_library": "torch", "layout": "bthd", "least_rank": 4}

    def attention(self, q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return self.made(torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v).transpose(1, 2)

    def made(self, y):
        return y

class Double(torch.autograd.Function):
    @staticmethod
    def forward(context, y):
        return y.clone()

    @staticmethod
    def backward(context, g):
        return 2 * g
"""
LAYOUT_FAULTS = (
    Fault("accuracy", "tokens first", "def made(self, y):\n    return 1.01 * y", ATTENTION, right=LAYOUT),
    Fault("gradients", "tokens first", "def made(self, y):\n    return Double.apply(y)", ATTENTION, right=LAYOUT),
)
"""Faults of a target whose arrays are (batch, tokens, heads, width)."""
