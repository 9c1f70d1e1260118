"""A softplus threshold with a mass equation, and a correct fast version by bisection.

kernelproof verify examples/variants/softplus.py:softplus_attention --suite quick
"""

import numpy as np

import kernelproof
from kernelproof import variant

# w = softplus(γ − gap), with γ such that the weights sum to 1: every key has a weight, far ones next to none.
SOFTPLUS = variant.Variant(
    "softplus",
    profile=lambda x, t: x.log1p(x.exp(-t)),
    bandwidth=variant.mass(1, within=(-64, 64)),
    geometry="shift",
    edge=None,
)


@kernelproof.declare(variant="examples/variants/softplus.py:SOFTPLUS", grade="C")
def softplus_attention(scores):
    """Weights (..., m): 60 bisections of γ in [−log m − 1, 1], then the weights are divided by their sum."""
    gaps = (scores.max(-1, keepdims=True) - scores).astype(np.float64)
    high = np.ones((*gaps.shape[:-1], 1))
    low = -np.log(gaps.shape[-1]) * high - 1
    for _ in range(60):
        middle = (low + high) / 2
        above = np.logaddexp(0, middle - gaps).sum(-1, keepdims=True) > 1
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    weights = np.logaddexp(0, middle - gaps)
    return (weights / weights.sum(-1, keepdims=True)).astype(scores.dtype)
