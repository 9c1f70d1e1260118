"""A bandwidth that keeps the effective number of keys at k, a fast version, and one with a bug that `verify` finds.

    kernelproof verify examples/variants/effective_keys.py:effective_keys --suite quick
    kernelproof verify examples/variants/effective_keys.py:effective_keys_with_a_bug --suite quick

The bug: the bracket for the bandwidth assumes that scores are no larger or smaller than normally distributed ones.
"""

import numpy as np

import kernelproof
from kernelproof import variant


def effective(x, terms, k):
    """(Σ K)²/Σ K² − k; its first term rises with γ from the number of keys tied for the best to the number of keys."""
    total = x.total(terms)
    return total * total / x.total([term * term for term in terms]) - k


EFFECTIVE_KEYS = variant.Variant(
    "effective keys",
    profile=lambda x, t: x.exp(-t),
    bandwidth=variant.Root(effective, within=(2.0**-20, 2.0**20)),
    edge=None,
    parameters={"k": 1.5},
)


def _weights(scores, k, low, high):
    gaps = (scores.max(-1, keepdims=True) - scores).astype(np.float64)
    low, high = (np.full((*gaps.shape[:-1], 1), end) for end in (low, high))
    for _ in range(80):
        middle = np.sqrt(low * high)
        terms = np.exp(-gaps / middle)
        above = terms.sum(-1, keepdims=True) ** 2 > k * (terms**2).sum(-1, keepdims=True)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (terms / terms.sum(-1, keepdims=True)).astype(scores.dtype)


@kernelproof.declare(variant="examples/variants/effective_keys.py:EFFECTIVE_KEYS", grade="C")
def effective_keys(scores, k):
    """Weights (..., m)."""
    return _weights(scores, k, 2.0**-20, 2.0**20)


@kernelproof.declare(variant="examples/variants/effective_keys.py:EFFECTIVE_KEYS", grade="C")
def effective_keys_with_a_bug(scores, k):
    """Weights (..., m), wrong where the bandwidth lies outside [1/64, 64]."""
    return _weights(scores, k, 1 / 64, 64.0)
