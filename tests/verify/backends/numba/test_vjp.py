"""The fast vector-Jacobian products of the Numba core against its careful solver and the NumPy backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.backends._arrays.core import Array, DirectVjpCore, Law
from kernelproof.verify.backends.numba import BACKEND as FAST
from kernelproof.verify.backends.numba.core import CORE
from kernelproof.verify.backends.numpy import BACKEND as PLAIN

ORDERS = (0.5, 1, 1.5, 2, 2.7, 3, 8, 64, 1e6, float("inf"), -1e6, -64, -2, -1.5)
DTYPES = ("float32", "float64")
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def rows(count: int, size: int, dtype: str) -> tuple[Array, Array]:
    random = np.random.default_rng(size)
    return random.normal(0, 2, (count, size)).astype(dtype), random.normal(0, 1, (count, size)).astype(dtype)


def assert_same(z: Any, g: Any, order: float) -> None:
    a, b = (backend.vjp("entmax", g, z, order=order) for backend in (FAST, PLAIN))
    assert a["z"].dtype == b["z"].dtype == z.dtype
    np.testing.assert_array_equal(np.isnan(a["z"]), np.isnan(b["z"]))
    # Both are within κ ≤ 4 of their units of slopes; next to the edge below order 2 those move by 1/u of the inputs'
    # rounding, and no key of these rows has u below 2^-8.
    steep = 2.0**8 if order < 2 else 1 + 20.0
    largest = np.abs(np.nan_to_num(b["z"])).max(initial=0)
    np.testing.assert_allclose(a["z"], b["z"], rtol=0, atol=8 * steep * UNIT[z.dtype.name] * largest, equal_nan=True)
    # The order has one number for all rows; the rows' own are the scale of its error, and cancel within a row by less
    # than 2^8 here.
    each = [abs(PLAIN.vjp("entmax", g[i : i + 1], z[i : i + 1], order=order)["order"]) for i in range(len(z))]
    slack = 8 * 2.0**8 * UNIT[z.dtype.name] * sum(each)
    np.testing.assert_allclose(a["order"], b["order"], rtol=0, atol=slack, equal_nan=True)


def test_the_numba_backend_has_a_fast_path() -> None:
    assert isinstance(FAST.core, DirectVjpCore)
    assert not isinstance(PLAIN.core, DirectVjpCore)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000, 3000])
def test_random_rows(dtype: str, order: float, size: int) -> None:
    assert_same(*rows(3, size, dtype), order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_masks_and_spoiled_rows(dtype: str, order: float) -> None:
    z, g = rows(6, 200, dtype)
    z[0, ::3], z[1], z[1, 77], z[2] = -np.inf, -np.inf, 2.5, -np.inf
    assert_same(z[:3], g[:3], order)
    g[0, ::3] = np.nan
    assert_same(z[:3], g[:3], order)
    z[3, 190], z[4, 10], z[4, 195] = np.nan, np.inf, -np.inf
    z[5, 0] = np.copysign(np.nan, -1)
    assert_same(z, g, order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_sizes_of_the_cotangent(dtype: str, size: float) -> None:
    z, g = rows(3, 100, dtype)
    assert_same(z, g * z.dtype.type(size), 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [1, 2, 2.7, 64, float("inf")])
def test_ordinary_rows_are_done_and_do_not_depend_on_the_batch(dtype: str, order: float) -> None:
    z, g = rows(5, 300, dtype)
    law = Law("adaptive", float(order), 1.0)
    gradient, alpha, left = CORE.direct_vjp(z, g, law, wanted=True)
    assert not left.any()
    alone = [CORE.direct_vjp(z[i : i + 1], g[i : i + 1], law, wanted=True) for i in range(5)]
    assert np.array_equal(gradient, np.concatenate([each[0] for each in alone]))
    assert np.array_equal(alpha, np.concatenate([each[1] for each in alone]))
    assert not CORE.direct_vjp(z, g, law, wanted=False)[1].any()


@pytest.mark.parametrize("order", [0.5, 1, 2, 3])
def test_what_is_left_undone(order: float) -> None:
    z, g = rows(4, 50, "float64")
    z[0, 3], z[1], g[2, 7] = np.nan, -np.inf, np.inf
    # As a float, as a backend gives it: for an int everything would be compiled anew.
    left = CORE.direct_vjp(z, g, Law("adaptive", float(order), 1.0), wanted=True)[2]
    assert left.tolist() == [True, True, True, order < 1]


def test_a_key_at_the_edge_is_left_to_the_exact_test() -> None:
    # Order 1: 3 − 2 = 1, so the key at 2 is just outside and its share is 0 or 1.
    z = np.array([[3.0, 2.0], [3.0, 2.5]])
    assert CORE.direct_vjp(z, z, Law("adaptive", 1.0, 1.0), wanted=False)[2].tolist() == [True, False]


def test_dtypes_that_differ_go_the_careful_way() -> None:
    z, g = rows(3, 40, "float32")
    wide = FAST.vjp("entmax", g.astype(np.float64), z, order=2)
    np.testing.assert_allclose(wide["z"], FAST.vjp("entmax", g, z, order=2)["z"], rtol=0, atol=2.0**-20)


@pytest.mark.parametrize("backend", [FAST, PLAIN], ids=lambda each: each.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gaps_whose_square_overflows_have_no_part_in_the_order(backend: Any, dtype: str) -> None:
    z = np.array([[0, -1, -1e30, -1e38]]).astype(dtype) * (1 if dtype == "float32" else 1e250)
    for order in (1, 2, float("inf")):
        found = backend.vjp("entmax", np.ones_like(z) * np.arange(4, dtype=dtype), z, order=order)
        assert np.isfinite(found["order"])
        assert np.isfinite(found["z"]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backend", [FAST, PLAIN], ids=lambda each: each.name)
def test_a_part_of_the_gradients_has_the_bits_of_all(backend: Any, order: float, dtype: str) -> None:
    z, g = rows(7, 100, dtype)
    both = backend.vjp("entmax", g, z, order=order)
    for wrt in (("z",), ("order",), ["order", "z"]):
        found = backend.vjp("entmax", g, z, order=order, wrt=wrt)
        assert list(found) == list(wrt)
        for name in wrt:
            np.testing.assert_array_equal(found[name], both[name])


def test_parts_of_other_ops_and_names_that_they_do_not_have() -> None:
    z, g = rows(3, 5, "float32")
    kernel, rule = Kernel(2), Adaptive()
    for backend in (FAST, PLAIN):
        both = backend.vjp("regression", g, z, z, z, kernel, rule)
        found = backend.vjp("regression", g, z, z, z, kernel, rule, wrt=["v", "beta"])
        assert list(found) == ["v", "beta"]
        for name, part in found.items():
            np.testing.assert_array_equal(part, both[name])
    for backend in (FAST, PLAIN):
        for wrt in (("q",), ("alpha",), "z"):  # α was not given, and a string is no collection of names
            with pytest.raises(DomainError, match="wrt must be a collection of names out of z, order"):
                backend.vjp("entmax", g, z, order=2, wrt=wrt)
