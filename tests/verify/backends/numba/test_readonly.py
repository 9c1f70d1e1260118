"""Read-only memory goes to compiled code as it lies, and comes back as it was."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from kernelproof.verify.backends.numba import BACKEND
from kernelproof.verify.backends.numba.readonly import as_writable_view


def test_only_what_is_not_contiguous_is_copied() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert as_writable_view(array) is array
    array.setflags(write=False)
    found = as_writable_view(array)
    assert found.flags.writeable
    assert found.__array_interface__["data"][0] == array.__array_interface__["data"][0]
    assert not np.shares_memory(as_writable_view(array.T), array)
    np.testing.assert_array_equal(as_writable_view(array.T), array.T)


def test_what_is_lent_keeps_its_memory() -> None:
    found = [as_writable_view(np.frombuffer(bytes([at] * 4096), np.uint8)) for at in range(64)]
    gc.collect()
    assert all((array == at).all() for at, array in enumerate(found))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_read_only_scores_give_the_same_bits_and_stay(dtype: str) -> None:
    random = np.random.default_rng(0)
    z, g = (random.normal(0, 2, (9, 100)).astype(dtype) for _ in range(2))
    kept = z.copy(), g.copy()
    weights, products = BACKEND.entmax(z, order=2), BACKEND.vjp("entmax", g, z, order=2)
    for array in (z, g):
        array.setflags(write=False)
    np.testing.assert_array_equal(BACKEND.entmax(z, order=2), weights)
    np.testing.assert_array_equal(BACKEND.vjp("entmax", g, z, order=2)["z"], products["z"])
    np.testing.assert_array_equal((z, g), kept)
