"""Reproducible random numbers and values of a dtype.

Random numbers are made from the raw 64-bit words of Philox with integer arithmetic and sums only, so that a recipe
gives the same bytes on every machine and with every version of NumPy: distributions of `numpy.random` may change
between versions, and a logarithm differs between C libraries.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.records import Array, Floats


def words(generator: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """(count,) raw words of the bit generator, whose stream NumPy promises never to change."""
    raw: Any = generator.bit_generator.random_raw(count)
    return np.asarray(raw, dtype=np.uint64).reshape(count)


def uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Uniform multiples of 2^−53 in [0, 1)."""
    return (words(generator, prod(shape)) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def integers(generator: np.random.Generator, bound: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers in [0, bound), uniform except for a bias of bound·2^−64."""
    return (words(generator, prod(shape)) % np.uint64(max(bound, 1))).astype(np.int64).reshape(shape)


def normals(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Nearly normal numbers of mean 0 and variance 1: sums of twelve 16-bit uniforms, and bits down to 2^−50.

    They are exact in float64 and use its full precision, so that a target that computes in float32 loses some of it.
    """
    raw = words(generator, 3 * prod(shape)).reshape(-1, 3)
    low = (words(generator, prod(shape)) >> np.uint64(31)).astype(np.float64) * 2.0**-50
    parts = raw[:, :, None] >> (np.uint64(16) * np.arange(4, dtype=np.uint64)) & np.uint64(0xFFFF)
    total = parts.astype(np.int64).sum(axis=(1, 2)) * 2 + 12  # each part stands for the middle of its cell
    return np.asarray((total - 12 * 2**16) * 2.0**-17 + (low - 2.0**-18), dtype=np.float64).reshape(shape)


def shuffled(generator: np.random.Generator, count: int) -> NDArray[np.intp]:
    """A permutation of range(count)."""
    return np.argsort(words(generator, count), kind="stable")


def shuffle_rows(generator: np.random.Generator, rows: Floats) -> Floats:
    """(R, m) `rows`, each shuffled independently."""
    return np.array([row[shuffled(generator, row.size)] for row in rows]).reshape(rows.shape)


def cast(values: Floats, dtype: str) -> Array:
    """Round `values` once to `dtype`; finite values stay finite, because they saturate at the largest number."""
    target = FORMATS[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.clip(values, -target.largest, target.largest)
        rounded = target.round_floats(np.where(np.isfinite(values), finite, values))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return rounded.astype(target.dtype)


def on_grid(values: Floats, dtype: str) -> Floats:
    """`cast` as float64."""
    return cast(values, dtype).astype(np.float64)


def step(values: Floats, ulps: int, dtype: str) -> Floats:
    """Move `values`, which are numbers of `dtype`, up by `ulps` of its ulps (down if negative), but not to infinity."""
    array = cast(values, dtype)
    bits = array.itemsize * 8
    raw = array.view(f"u{array.itemsize}").astype(object)
    sign = 1 << (bits - 1)
    top = int(np.asarray(FORMATS[dtype].largest, dtype=array.dtype).view(f"u{array.itemsize}"))
    ordered = np.clip(np.where(raw >= sign, sign - raw, raw) + ulps, -top, top)
    back = np.where(ordered < 0, sign - ordered, ordered)
    return np.asarray(back.astype(f"u{array.itemsize}").view(array.dtype), dtype=np.float64).reshape(np.shape(values))
