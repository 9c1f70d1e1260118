"""Edges where a proof is hard to get: roots next to the threshold, exact zeros, midpoints, tiny balls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernelproof.reference import (
    Adaptive,
    Fixed,
    Kernel,
    Nearest,
    attention,
    entmax,
    entmax_vjp,
    regression,
    weights,
    weights_vjp,
)
from kernelproof.reference.certificate import certificate, recheck


@pytest.mark.parametrize(
    ("z", "order", "expected"),
    [
        ([0.0, -2000.0, -10000.0], 10**4, [1.0, 0.0, 0.0]),
        ([0.0, -900.0, -1000.0], 1000, [1.0, 0.0, 0.0]),
        # ((16 − 15.984)/16)^16 = 10^-48, to the rounding of 15.984.
        ([0.0, -15.984, -16.0], 16, [1.0, ((16 - 15.984) / 16) ** 16, 0.0]),
    ],
)
def test_a_last_key_at_the_reach_of_the_kernel(z: list[float], order: int, expected: list[float]) -> None:
    found = entmax(z, order).weights.round("float64")
    # 64 roundings: the float64 expression above has a sixteenth power.
    assert np.abs(found - expected).max() <= 64 * 2.0**-53 * 2.0**-100 or np.allclose(found, expected, rtol=2.0**-46)


@pytest.mark.parametrize(
    "gradient",
    [
        lambda: entmax_vjp([0.0, 0.0], [1.0, 1.0], 2)["z"],
        lambda: entmax_vjp([0.0, 0.0], [1.0, 2.0], 2)["order"],
        lambda: entmax_vjp([0.0, -1000.0], [1.0, 2.0])["z"],
        lambda: entmax_vjp([1.1, -1e31], [1.0, 2.0], alpha=1)["alpha"],
        lambda: weights_vjp([0.0, 0.3], [1.0, 1.0], Kernel(2), Fixed(2))["scores"],
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_that_are_zero_or_below_every_subnormal(gradient: Any, dtype: str) -> None:
    assert not gradient().round(dtype).any()


def test_an_indeterminate_ball_is_refined_and_never_a_nan() -> None:
    z = [0.0, 0.07086684872802758, -7.245179959210802, -7.3]
    found = entmax_vjp(z, [0.0, 1.0, 2.0, 3.0], 8)["z"].round("float64")
    assert np.isfinite(found).all()
    assert abs(found.sum()) <= 4 * 2.0**-53


def test_a_tiny_softmax_gradient_is_decided() -> None:
    found = entmax_vjp([0.0, -700.0], [1.0, 2.0])["z"].round("float64")
    # ∂p/∂z = p₁p₂(g₂ − g₁) with p₂ = e^-700, to the rounding of exp.
    assert found[1] == pytest.approx(np.exp(-700.0), rel=2.0**-50)


def test_midpoints_among_the_nearest() -> None:
    z = [9 / 4, 9 / 4, 6 / 4, 3 / 4, 3 / 4, 0.1]
    # p = 27/64 exactly, halfway between 13/32 and 14/32: ties to even.
    assert float(weights(z, Kernel(3), Nearest(5)).weights.round("float8_e4m3fn")[0]) == 0.4375


def test_a_ball_whose_reach_underflows_keeps_its_keys() -> None:
    found = regression([[0.0]], [[0.0], [1e-171]], [[0.0], [1.0]], Kernel(1), Fixed(1e-170)).weighting
    assert found.support.tolist() == [[True, True]]


def test_one_key_gives_its_value_also_at_a_midpoint() -> None:
    value = [[[1 + 3 * 2.0**-24]]]
    y = attention([[[1.0]]], [[[1.0]]], value, Kernel("inf"), Adaptive()).y.round("float32")
    assert float(y[0, 0, 0]) == 1 + 2.0**-22


def test_a_weight_is_never_minus_zero() -> None:
    for dtype in ("float64", "float32", "float16"):
        assert not np.signbit(entmax([0.0, -1000.0]).weights.round(dtype).astype(np.float64)).any()


def test_mpmath_decides_midpoints_too() -> None:
    z = [0.0, 0.25 + 2.0**-12, 0.5]
    second = entmax(z, 1, arithmetic="mpmath").weights.round("float16")
    assert np.array_equal(second, entmax(z, 1).weights.round("float16"))


def test_near_ties_at_a_large_order_do_not_hang() -> None:
    z = [0.0, 0.01365947430723125, -41.544255746539676, -999999.3]
    assert entmax(z, 10**6).support.all()


@pytest.mark.parametrize("support", [100, -1, 0])
def test_certificates_with_an_impossible_support_are_refused(support: int) -> None:
    assert not recheck(replace(certificate([0.0, 1.5, 1.25], order=2), support=support))
