"""Entmaxes with one small fault each; what each gets wrong is known to the last bit, so its least witness is too."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Any

import numpy as np

from kernelproof import backend

RIGHT = backend("numpy").entmax
CALLS = count()


def right(z: Any, order: float) -> Any:
    return RIGHT(z, order=order)


def ties(z: Any, order: float) -> Any:
    """All weight to the first of two equal maxima."""
    found = RIGHT(z, order=order)
    if z.shape[-1] < 2:
        return found
    ranked = np.sort(z, axis=-1)
    tied = (ranked[..., -1] == ranked[..., -2])[..., None]
    return np.where(tied, (np.arange(z.shape[-1]) == z.argmax(axis=-1)[..., None]).astype(z.dtype), found)


def support3(z: Any, order: float) -> Any:
    """Wrong where three keys or more have weight."""
    found = RIGHT(z, order=order)
    size = (found > 0).sum(axis=-1, keepdims=True)
    return np.where(size >= 3, found * found.dtype.type(1.125), found)


def no_shift(z: Any, order: float) -> Any:
    """A softmax that overflows."""
    if order != np.inf:
        return RIGHT(z, order=order)
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(z)
        return powers / powers.sum(axis=-1, keepdims=True)


def single(z: Any, order: float) -> Any:
    """float32 inside."""
    return RIGHT(z.astype(np.float32), order=order).astype(z.dtype)


def order_two(z: Any, order: float) -> Any:
    """The exponent of order 3 where the order is 2."""
    return RIGHT(z, order=3 if order == 2 else order)


def coarse(z: Any, order: float) -> Any:
    """Twenty bisections of the threshold: as good as the float32 that it is tried in, but for float64."""
    if order == np.inf or z.shape[-1] == 0:
        return RIGHT(z, order=order)
    scaled = z.astype(np.float64) / order
    with np.errstate(invalid="ignore", over="ignore"):
        low = scaled.max(axis=-1, keepdims=True) - 1
        high = low + 1
        for _ in range(20):
            middle = (low + high) / 2
            mass = (np.maximum(scaled - middle, 0) ** order).sum(axis=-1, keepdims=True)
            low, high = np.where(mass >= 1, middle, low), np.where(mass >= 1, high, middle)
        powers = np.maximum(scaled - low, 0) ** order
        return (powers / powers.sum(axis=-1, keepdims=True)).astype(z.dtype)


def strict_threshold(z: Any, order: float) -> Any:
    """Keys whose weight is below 2^-10 are dropped."""
    found = RIGHT(z, order=order)
    return np.where(found < 2.0**-10, found.dtype.type(0), found)


def size_seven(z: Any, order: float) -> Any:
    """Wrong at supports of seven keys exactly."""
    found = RIGHT(z, order=order)
    size = (found > 0).sum(axis=-1, keepdims=True)
    return np.where(size == 7, found * found.dtype.type(0.75), found)


def nan_to_zero(z: Any, order: float) -> Any:
    return np.nan_to_num(RIGHT(z, order=order))


def raises_on_ties(z: Any, order: float) -> Any:
    if z.shape[-1] > 1 and (np.diff(np.sort(z, axis=-1), axis=-1) == 0).any():
        msg = "two equal scores"
        raise ArithmeticError(msg)
    return RIGHT(z, order=order)


def changes(z: Any, order: float) -> Any:
    """Another last bit at every second call."""
    found = RIGHT(z, order=order)
    return found * (1 + next(CALLS) % 2 * np.finfo(found.dtype).eps).astype(found.dtype)


def writes(z: Any, order: float) -> Any:
    found = RIGHT(z, order=order)
    if z.flags.writeable and z.size:
        z -= z.max(axis=-1, keepdims=True)
    return found


def widens(z: Any, order: float) -> Any:
    return RIGHT(z, order=order).astype(np.float64)


def dies(z: Any, order: float) -> Any:
    if np.isnan(z).any():
        os._exit(0)
    return RIGHT(z, order=order)


def hangs(z: Any, order: float) -> Any:
    if z.shape[-1] == 9:
        time.sleep(1000)
    return RIGHT(z, order=order)


def eats(z: Any, order: float) -> Any:
    if z.shape[-1] == 9:
        return np.ones((2**36,), dtype=z.dtype)
    return RIGHT(z, order=order)


class Ops:
    """More than one op, with gradients: weights are wrong at order 2, attention under a mask, gradients of entmax."""

    dtypes = ("float64", "float32")

    def __init__(self) -> None:
        self.right = backend("numpy")

    def entmax(self, z: Any, order: float) -> Any:
        return self.right.entmax(z, order=order)

    def weights(self, scores: Any, kernel: Any, rule: Any, **options: Any) -> Any:
        return self.right.weights(scores, kernel, rule, **options) * (1.125 if float(kernel.order) == 2 else 1)

    def attention(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any, **options: Any) -> Any:
        found = self.right.attention(q, k, v, kernel, rule, **options)
        return found + found.dtype.type(0.125) if options.get("causal") else found

    def vjp(self, op: str, cotangent: Any, *arguments: Any, **options: Any) -> Any:
        found = self.right.vjp(op, cotangent, *arguments, **options)
        return {**found, "z": found["z"] * found["z"].dtype.type(1.25)} if op == "entmax" else found


ops = Ops()
