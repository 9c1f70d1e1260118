"""The fast path of the Numba core against the NumPy backend, which shares no arithmetic with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.backends._arrays.core import DirectCore, Law
from kernelproof.verify.backends.numba import BACKEND as FAST
from kernelproof.verify.backends.numba.core import CORE
from kernelproof.verify.backends.numpy import BACKEND as PLAIN

ORDERS = (0.5, 1, 1.5, 2, 3, 5, 8, 10.3, 64, 1e6, float("inf"), -1e6, -64, -2, -1.5, -1 - 2.0**-52)
DTYPES = ("float32", "float64")
# Both are backward stable (κ ≤ 4 each) and gaps reach 40: relative 2·4·u·(1 + 2·40·p^(−1/n)) on weights above 1e-6.
SLACK = {"float32": 1.2e-7, "float64": 8 * 2.0**-53}


def assert_same(z: Any, order: float, beta: float = 1.0) -> None:
    a, b = (backend.weights(z, Kernel(order), Adaptive(beta)) for backend in (FAST, PLAIN))
    assert a.dtype == b.dtype == z.dtype
    np.testing.assert_array_equal(a > 0, b > 0)
    floor = 1e-6 * np.nan_to_num(b).max(axis=-1, keepdims=True, initial=1e-300)
    steepest = 1.0 if z.dtype == np.float32 else 1 + 80 * (1.0 if order == np.inf else 1e-6 ** (-1 / order))
    close = np.isclose(a, b, rtol=SLACK[z.dtype.name] * steepest, atol=0, equal_nan=True)
    assert np.all(close | (b < floor))


def test_the_numba_backend_has_a_fast_path() -> None:
    assert isinstance(FAST.core, DirectCore)
    assert not isinstance(PLAIN.core, DirectCore)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 31, 63, 64, 65, 1000, 5000])
def test_random_rows(dtype: str, order: float, size: int) -> None:
    assert_same(np.random.default_rng(size).normal(0, 2, (3, size)).astype(dtype), order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_masks_and_spoiled_rows(dtype: str, order: float) -> None:
    z = np.random.default_rng(0).normal(0, 2, (6, 200)).astype(dtype)
    z[0, ::3], z[1], z[1, 77], z[2] = -np.inf, -np.inf, 2.5, -np.inf
    z[3, 190], z[4, 10], z[4, 195] = np.nan, np.inf, -np.inf
    z[5, 0] = np.copysign(np.nan, -1)
    assert_same(z, order)
    assert np.isnan(FAST.entmax(z, order=order)).all(axis=1).tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_key_at_the_edge_of_the_support_is_decided_exactly(dtype: str) -> None:
    # 1.5³ + 2³ + 2.5³ = 3³: the key at 0 has no weight, and has some as soon as a key above comes nearer.
    nearer = 1.5 - (2.0**-22 if dtype == "float32" else 2.0**-40)
    z = np.array([[2.5, 2, 1.5, 0], [2.5, 2, nearer, 0]], dtype)
    assert [int((row > 0).sum()) for row in FAST.entmax(z, order=3)] == [3, 4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-30, 1e20, 3e38])
def test_extreme_scores(dtype: str, scale: float) -> None:
    limits = np.finfo(dtype)
    z = np.clip(np.random.default_rng(1).normal(0, 1, (4, 100)) * scale, limits.min, limits.max).astype(dtype)
    z[0, :2] = limits.max, limits.min
    for order in ORDERS:
        assert_same(z, order)
        assert_same(z, order, beta=1.0 / scale)


def test_a_tiny_float64_weight_is_not_lost() -> None:
    z = np.array([[0.0, -740.0, -np.inf]])
    assert_same(z, float("inf"))
    assert 0 < FAST.entmax(z, order="inf")[0, 1] < 1e-300


def test_no_input_is_changed_and_layouts_are_taken() -> None:
    z = np.random.default_rng(2).normal(0, 2, (40, 6)).astype(np.float32)
    z.flags.writeable = False
    before = z.copy()
    np.testing.assert_array_equal(FAST.entmax(z.T, order=2), FAST.entmax(np.ascontiguousarray(z.T), order=2))
    np.testing.assert_array_equal(z, before)
    assert CORE.direct(z, Law("adaptive", 2.0, 1.0)).flags.owndata


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [-1 - 2.0**-52, -1.5, -2, -64, -1e6])
def test_far_keys_of_heavy_tails(dtype: str, order: float) -> None:
    # Samples that mislead: all weight on one key or on few, ties, and gaps to the end of the range.
    largest = float(np.finfo(dtype).max)
    far = [10, 100, 1e6, largest / 4]
    rows = [np.where(np.arange(600) == 7, 0.0, -gap * (1 + np.arange(600) / 600)) for gap in far]
    rows += [np.zeros(600), np.repeat(np.arange(10.0), 60), np.where(np.arange(600) < 3, largest, -largest)]
    assert_same(np.stack(rows).astype(dtype), order)


def test_a_row_of_heavy_tails_does_not_depend_on_the_batch() -> None:
    z = np.random.default_rng(3).normal(0, 2, (7, 700)).astype(np.float32)
    together = FAST.entmax(z, order=-2)
    np.testing.assert_array_equal(together, np.concatenate([FAST.entmax(row[None], order=-2) for row in z]))
