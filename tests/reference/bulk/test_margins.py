"""Margins and flags are said only where they are proved: each test fails if its guard is taken out."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest

from kernelproof.reference.bulk import row_kernel
from kernelproof.reference.bulk.batches import order_of
from kernelproof.reference.bulk.mass_terms import LEAST, TINY
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    DECIDED,
    FOUND,
    HEAD,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    ROOT,
    TAIL,
    TOP,
    ZERO,
)

Z = np.array([0.0, -0.25, -0.5, -3.0, -np.inf])


def found(
    point: float, radius: float, zero: float, scale: F = F(1), z: np.ndarray = Z
) -> tuple[int, np.ndarray, np.ndarray]:
    """`margins` of z with γ = point from the largest key on."""
    order = order_of(F(2), scale)
    assert order is not None
    root = np.zeros(ROOT)
    root[TOP] = root[ANCHOR] = Z[0]
    root[POINT], root[RADIUS], root[ZERO] = point, radius, zero
    margin, state = np.empty(len(z)), np.empty(len(z), dtype=np.uint8)
    return row_kernel.margins(order, Z, z, root, margin, state), margin, state


def test_margins_of_a_root_known_well() -> None:
    status, margin, state = found(0.75, 2.0**-90, -1.0)
    assert status == DECIDED
    assert margin.tolist() == [0.75, 0.5, 0.25, -2.25, -np.inf] and state.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("off", [0.0, 2.0**-60, -(2.0**-60), 2.0**-45])
def test_a_margin_without_its_digits_is_not_said(off: float) -> None:
    # The third key is `off` inside the ball, and γ is known within 2^-90: too little for 53 bits of 2^-45 and less.
    assert found(0.5 + off, 2.0**-90, -1.0)[0] != DECIDED or abs(off) > 2.0**-39
    assert found(0.5 + 2.0**-30, 2.0**-90, -1.0)[0] == DECIDED


def test_the_product_with_a_scale_counts() -> None:
    # 3/10 of a gap is known within 2^-103 of it, and the second key is 2^-54 inside: 49 bits are not 51.
    near = float(F(3, 10) * F(1, 4))
    assert found(near, 0.0, -1.0, F(3, 10))[0] != DECIDED
    assert found(near + 2.0**-40, 0.0, -1.0, F(3, 10))[0] == DECIDED


def test_a_key_at_the_threshold_of_an_exact_root_is_an_edge() -> None:
    status, margin, state = found(0.5, 0.0, 0.0)
    assert status == DECIDED and margin[2] == 0.0
    assert state.tolist() == [row_kernel.INSIDE, row_kernel.INSIDE, row_kernel.EDGE, 0, 0]


def test_keys_left_out_have_a_margin_and_no_place() -> None:
    kept = np.where(np.arange(5) < 2, Z, -np.inf)
    status, margin, state = found(0.75, 0.0, 0.0, z=kept)
    assert status == DECIDED and margin[2] == 0.25 and state.tolist() == [1, 1, 0, 0, 0]


def test_a_weight_without_digits_is_not_published() -> None:
    state = np.array([1, 1, 0], dtype=np.uint8)
    for head, tail, relative, said in (
        (0.25, 0.0, 2.0**-80, True),
        (0.25, 0.0, 2.0**-60, False),
        (0.25, 0.0, np.nan, False),
        (0.0, LEAST, 0.0, True),
        (0.0, TINY, 0.0, False),
    ):
        rows = np.zeros((FOUND, 3))
        rows[HEAD, :2], rows[TAIL, :2], rows[RELATIVE, :2] = (0.75, head), (0.0, tail), (2.0**-80, relative)
        out = [np.empty(3) for _ in range(3)]
        assert (row_kernel.publish(2, np.arange(3), rows, state, *out) == DECIDED) is said
        if said:
            assert out[2][1] >= (head * relative if head else LEAST) and out[2][2] == 0.0


def test_kinks_are_ties_of_the_anchor_and_edges_up_to_order_one() -> None:
    z, edge = np.array([0.0, 0.0, -1.0]), np.array([1, 1, 2], dtype=np.uint8)
    inside = np.array([1, 1, 1], dtype=np.uint8)
    for order, anchored, state, kink in (
        (F(1), False, edge, True),
        (F(1, 2), False, edge, True),
        (F(1) + F(1, 2**80), False, edge, False),
        (F(2), False, edge, False),
        (F(2), True, inside, True),
        (F(1), False, inside, False),
    ):
        form = order_of(order)
        assert form is not None
        assert row_kernel.has_kink(form, anchored, z, 0.0, state) == kink


def test_the_point_of_large_orders_is_counted_from_n() -> None:
    form = order_of(F(10**8))
    assert form is not None
    root = np.zeros(ROOT)
    root[POINT], root[POINT_TAIL] = 3.5, 2.0**-60
    h, g = row_kernel.point_of(form, root)
    assert abs(F(h) + F(g) - (10**8 - F(7, 2) - F(1, 2**60))) <= F(10**8) / 2**104
