"""Targets with several ops and one small fault each; they promise grade A, as the backend under them keeps it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kernelproof import backend
from kernelproof.reference.model import Adaptive, Fixed, Kernel
from kernelproof.verify.records import Contract


class Right:
    """No fault; an empty row raises."""

    contract = Contract(grade="A", posinf="nan", scores="differences", empty_row="raise", masked_nonfinite="ignored")
    dtypes = ("float64", "float32")

    def __init__(self) -> None:
        self.under = backend("numpy")

    def weights(self, scores: Any, kernel: Any, rule: Any) -> Any:
        return self.under.weights(scores, kernel, rule, empty="raise")

    def regression(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any) -> Any:
        return self.under.regression(q, k, v, kernel, rule, empty="raise")

    def attention(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any) -> Any:
        return self.under.attention(q, k, v, kernel, rule, empty="raise")


class SmallValues(Right):
    """Attention without the components of v that are 2^-12 of the largest of their key and less."""

    def attention(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any) -> Any:
        kept = np.abs(v) > np.abs(v).max(axis=-1, keepdims=True) * 2.0**-12
        return super().attention(q, k, np.where(kept, v, v.dtype.type(0)), kernel, rule)


class Bandwidth(Right):
    """A fixed bandwidth that is a little too large."""

    def weights(self, scores: Any, kernel: Any, rule: Any) -> Any:
        return super().weights(scores, kernel, Fixed(rule.h * (1 + 2.0**-18)) if isinstance(rule, Fixed) else rule)


class Dots(Right):
    """Distances from dot products, which cancel far from 0."""

    def regression(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any) -> Any:
        products = q @ np.swapaxes(k, -1, -2)
        squares = (q * q).sum(-1)[..., :, None] + (k * k).sum(-1)[..., None, :]
        weights = super().weights((products - squares / 2).astype(q.dtype), kernel, rule)
        return (weights @ v).astype(v.dtype)


class Dies(Right):
    """Attention that ends its process."""

    def attention(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any) -> Any:
        os._exit(3)


def narrow(q: Any, k: Any, v: Any) -> Any:
    """Regression of four queries of width 8, at one order and rule."""
    if q.shape != (4, 8) or v.shape != k.shape:
        msg = f"q is (4, 8), and v as wide as k; got {q.shape}, {k.shape}, {v.shape}"
        raise ValueError(msg)
    return backend("numpy").regression(q, k, v, Kernel(1), Fixed(3.0))


def causal(q: Any, k: Any, v: Any, mask: Any, causal: Any) -> Any:
    """Attention that is causal and masked always, at one order and rule."""
    if not causal or mask.dtype != bool:
        msg = f"causal is True and mask of booleans; got {causal!r} and {mask!r}"
        raise ValueError(msg)
    return backend("numpy").attention(q, k, v, Kernel(1), Adaptive(1), causal=True, mask=mask)


right, small_values, bandwidth, dots, dies = Right(), SmallValues(), Bandwidth(), Dots(), Dies()
