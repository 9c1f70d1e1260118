"""``rounding="correct"``: bit for bit what the oracle rounds to, midpoints and near ties included."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference.errors import DomainError
from kernelproof.verify.backends.numba import BACKEND
from kernelproof.verify.backends.numba.proved.multiprecision import LEAST, MultiprecisionRow
from kernelproof.verify.backends.numpy import BACKEND as PLAIN

ORDERS = [Fraction(text) for text in ("1", "2", "3", "8", "10", "64", "3/2", "4/3", "100000000")] + [float("inf")]


def assert_correct(z: Any, order: Any) -> None:
    found = BACKEND.entmax(z, order=order, rounding="correct")
    expected = np.stack([reference.entmax(row, order=order).weights.round("float32") for row in z])
    # The sign as well: a minus is how a weight in doubt is marked.
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_rows_are_rounded_as_the_oracle_rounds(order: Any) -> None:
    generator = np.random.default_rng(0)
    for size, scale in ((2, 0.5), (8, 1e-3), (64, 2.0), (130, 10.0)):
        z = generator.normal(0, scale, (6, size)).astype(np.float32)
        assert_correct(z, order)
        assert_correct(np.round(z * 64) / np.float32(64), order)


def test_orders_below_one_are_decided_by_comparisons() -> None:
    z = np.random.default_rng(1).normal(0, 0.5, (3, 6)).astype(np.float32)
    for order in (Fraction(1, 2), Fraction(9, 10)):
        assert_correct(z, order)


def test_keys_at_the_edge_are_decided() -> None:
    assert_correct(np.array([[2.5, 2, 1.5, 0], [2.5, 2, 1.5 - 2.0**-22, 0]], np.float32), Fraction(3))
    assert_correct(np.array([[0, -1, -1], [0, -2, -2.0]], np.float32), Fraction(2))


def test_a_midpoint_is_told_from_its_neighbours() -> None:
    # Two keys at order 1: p = (1 + d)/2, here exactly between two float32.
    gap = 2.0**-24
    row = MultiprecisionRow([gap, 0.0], Fraction(1))
    middle = (Fraction(1) + Fraction(gap)) / 2
    assert row.side(gap, middle) == 0
    assert row.side(gap, middle - LEAST) == 1
    assert row.side(gap, middle + LEAST) == -1
    # At order 2 as well, where ζ = M^(1/2) is rational: (3/5)² + (4/5)² = 1.
    row = MultiprecisionRow([0.0, 0.0], Fraction(2))
    assert row.side(0.0, Fraction(1, 2)) == 0


def test_special_rows_are_as_in_fast_mode() -> None:
    z = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, -np.inf], [1, -np.inf]], np.float32)
    found = BACKEND.entmax(z, order=2, rounding="correct")
    np.testing.assert_array_equal(found, [[np.nan] * 2, [np.nan] * 2, [np.nan] * 2, [1, 0]])


def test_what_cannot_be_had_is_said() -> None:
    z = np.zeros((1, 2))
    with pytest.raises(DomainError, match="float32 on the numba backend; got float64"):
        BACKEND.entmax(z, order=2, rounding="correct")
    with pytest.raises(DomainError, match="on the numpy backend"):
        PLAIN.entmax(z.astype(np.float32), order=2, rounding="correct")
    with pytest.raises(DomainError, match='rounding="correct" is for orders above 0; got order -2; pass'):
        BACKEND.entmax(z.astype(np.float32), order=-2, rounding="correct")
    with pytest.raises(DomainError, match="rounding must be one of fast, correct"):
        BACKEND.entmax(z, order=2, rounding="up")
