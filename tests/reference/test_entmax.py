"""entmax: against mpmath bisection at two precisions, exact supports, ties, extreme orders and scales."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from kernelproof import reference
from kernelproof.reference import DomainError

ORDERS = [
    "-1e6",
    "-64",
    "-2",
    "-3/2",
    "-4503599627370497/4503599627370496",
    "1/16",
    "1/2",
    "1",
    "3/2",
    "2",
    "2.7",
    "3",
    "8",
    "64",
    "1e4",
    "1e8",
    "1e12",
    "inf",
]


def bisected(z: list[float], order: Fraction | float, bits: int) -> list[Any]:
    """α-entmax from its definition: ``Σ [z_j/n − τ]₊^n = 1`` by bisection, softmax at n = ∞; mpmath only.

    For n < 0 every base is positive: that of the largest z is at least 1, and at most m^(−1/n) as in a row of ties.
    """
    with mpmath.workprec(bits):
        if not isinstance(order, Fraction):
            top = max(z)
            terms = [mpmath.exp(mpmath.mpf(x) - top) for x in z]
            return [term / mpmath.fsum(terms) for term in terms]
        n = mpmath.mpf(order.numerator) / order.denominator
        scaled = [mpmath.mpf(x) / n for x in z]
        if n < 0:
            low, high = min(scaled) - mpmath.mpf(len(z)) ** (-1 / n), min(scaled) - 1
            for _ in range(bits + 32):
                tau = (low + high) / 2
                low, high = (low, tau) if mpmath.fsum((x - tau) ** n for x in scaled) > 1 else (tau, high)
            return [(x - low) ** n for x in scaled]
        low, high = max(scaled) - 1, max(scaled)
        for _ in range(bits):
            tau = (low + high) / 2
            if mpmath.fsum((x - tau) ** n for x in scaled if x > tau) >= 1:
                low = tau
            else:
                high = tau
        return [(x - low) ** n if x > low else mpmath.mpf(0) for x in scaled]


def ball(value: Any) -> arb:
    return arb(value.numerator) / value.denominator if isinstance(value, Fraction) else value


@pytest.mark.parametrize("bits", [120, 200])
@pytest.mark.parametrize("order", ORDERS)
def test_mpmath_lies_inside_the_enclosure(order: str, bits: int) -> None:
    generator = np.random.default_rng(7)
    z = generator.normal(0, 2, (4, 24)).astype(np.float32)
    z[1, :5] = z[1].max()
    z[2] = np.float32(0.1) + generator.integers(0, 3, 24).astype(np.float32) * np.float32(1e-6)
    result = reference.entmax(z, order=order, precision=64)
    n = reference.Kernel(order).order
    scale = max(1.0, float(1 / n)) if n else 1.0
    loss = int(mpmath.log(abs(n), 2)) + 1 if isinstance(n, Fraction) and abs(n) > 1 else 1
    for row, balls in zip(z, result.weights.values(), strict=True):
        expected = bisected([float(x) for x in row], n, int(bits * scale))
        # A bisected weight is off by at most n·2^-bits (n ≥ 1), or (2^(-bits/n))^n = 2^-bits (n < 1).
        with mpmath.workprec(bits), ctx.workprec(2 * bits):
            for value, found in zip(expected, balls, strict=True):
                width = arb(0, arb(2) ** (loss + 4 - bits))
                assert (ball(found) + width).overlaps(arb(mpmath.nstr(value, bits // 3)) + width)


@pytest.mark.parametrize("order", ORDERS)
def test_the_public_mpmath_arithmetic_agrees(order: str) -> None:
    z = np.random.default_rng(3).normal(0, 2, (2, 9))
    ours = reference.entmax(z, order=order)
    second = reference.entmax(z, order=order, arithmetic="mpmath")
    assert ours.weights.certified and not second.weights.certified
    for a, b in zip(ours.weights.values().ravel(), second.weights.values().ravel(), strict=True):
        assert ball(a).overlaps(ball(b))
    assert np.array_equal(ours.support, second.support)


def test_a_support_is_decided_at_an_exact_tie() -> None:
    result = reference.entmax([1.0, 0.0], order=1)
    assert result.support.tolist() == [True, False]
    assert result.boundary.tolist() == [False, True]
    nudged = reference.entmax([1.0, 2.0**-1074], order=1)
    assert nudged.support.tolist() == [True, True]


@pytest.mark.parametrize(
    ("order", "gaps"),
    [("1/2", [0, 0.5]), ("2", [0, 0, 0, 0, 1.0]), ("1e8", [0, 1e8]), ("1e12", [0, 1e12]), ("1/16", [0, 1 / 16])],
)
def test_exact_kinks_of_other_orders(order: str, gaps: list[float]) -> None:
    z = [-gap for gap in gaps]
    at = reference.entmax(z, order=order)
    assert at.boundary[-1] and not at.support[-1]
    inside = reference.entmax([*z[:-1], np.nextafter(z[-1], 0.0)], order=order)
    assert inside.support[-1] and not inside.boundary[-1]
    outside = reference.entmax([*z[:-1], np.nextafter(z[-1], -np.inf)], order=order)
    assert not outside.support[-1] and not outside.boundary[-1]


@pytest.mark.parametrize("order", ORDERS)
def test_extreme_logits(order: str) -> None:
    z = [1e30, -1e30, 1e30, -np.inf, 5e-324, 1e30 * (1 - 2**-52)]
    weights = reference.entmax(z, order=order).weights.round("float64")
    assert weights[0] == weights[2]
    assert weights[3] == 0.0
    n = reference.Kernel(order).order
    # A heavy tail reaches as far as 1e30: (1e30/|n|)^n.
    far = float(1e30 / -n) ** float(n) if n < 0 else 0.0
    assert weights[1] <= weights[4] <= far * (1 + 1e-9)
    assert far < 1e-300 or weights[4] >= far / 2
    assert weights.sum() == pytest.approx(1.0, rel=0 if far < 1e-17 else 1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_ties_share_equally(order: str, count: int) -> None:
    weights = reference.entmax([0.25] * count, order=order).weights.round("float64")
    assert weights.tolist() == [1.0 / count] * count


@pytest.mark.parametrize("order", ["1", "1/16", "64", "inf"])
def test_a_row_of_a_hundred_thousand_keys(order: str) -> None:
    z = np.random.default_rng(1).normal(0, 0.01, 100_000)
    result = reference.entmax(z, order=order, precision=64)
    lo, hi = result.weights.lo, result.weights.hi
    assert lo.sum() <= 1 <= hi.sum()
    assert result.support.any()


def test_midpoints_round_to_even() -> None:
    # All tied: 1/1024 is half the smallest float8_e4m3fn subnormal, and ties go to even, which is 0.
    for order in ["1", "2", "3/2", "inf"]:
        weights = reference.entmax([0.0] * 1024, order=order).weights.round("float8_e4m3fn")
        assert float(weights[0]) == 0.0
    # 9/16 lies halfway between 1/2 and 5/8 of float8_e5m2; the order-2 row (3, 2, 1, 1, 1)/4 has that square.
    z = [1.5, 1.0, 0.5, 0.5, 0.5]
    assert float(reference.entmax(z, order=2).weights.round("float8_e5m2")[0]) == 0.5
    # 0.375 + 2^-26 is not a float32, and halfway between two of them.
    assert float(reference.entmax([0.0, 2.0**-25], order=1).weights.round("float32")[0]) == 0.5


@given(st.lists(st.floats(-6, 6, width=16), min_size=1, max_size=12), st.sampled_from(["1/2", "1", "2", "5/2", "inf"]))
def test_rounding_is_within_the_enclosure_for_every_format(z: list[float], order: str) -> None:
    result = reference.entmax(z, order=order)
    lo, hi = result.weights.lo, result.weights.hi
    for name in ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]:
        target = reference.formats.FORMATS[name]
        rounded = result.weights.round(name).astype(np.float64)
        assert np.all(target.round_floats(lo) <= rounded)
        assert np.all(rounded <= target.round_floats(hi))


def test_alpha_is_the_exact_number_it_is() -> None:
    third = np.float32(4) / np.float32(3)
    kernel = reference.Kernel.from_alpha(third)
    assert kernel.order == 1 / (Fraction(float(third)) - 1) != 3
    a = reference.entmax([0.0, 1.0], alpha=third).weights.lo
    b = reference.entmax([0.0, 1.0], order=3).weights.hi
    assert 0 < abs(a - b).max() < 1e-6


def test_axis_is_another_name_for_dim() -> None:
    z = np.random.default_rng(0).normal(size=(2, 3))
    for dim in (0, 1, -1, -2):
        spellings: list[dict[str, Any]] = [{"axis": dim}, {"axis": dim, "dim": dim}, {"axis": dim, "dim": dim % 2}]
        for named in spellings:
            found, along = reference.entmax(z, order=2, **named), reference.entmax(z, order=2, dim=dim)
            np.testing.assert_array_equal(found.weights.lo, along.weights.lo)
            one, other = (
                reference.entmax_vjp(z, z, order=2, **where)["z"].round("float64") for where in (named, {"dim": dim})
            )
            np.testing.assert_array_equal(one, other)
    for call in (lambda: reference.entmax(z, dim=0, axis=1), lambda: reference.entmax_vjp(z, z, dim=0, axis=-1)):
        with pytest.raises(DomainError, match="dim and axis name one axis; pass one of them"):
            call()
    with pytest.raises(DomainError, match="axis must be an int from -2 to 1; got 2"):
        reference.entmax(z, axis=2)


def test_dim_and_leading_axes() -> None:
    z = np.random.default_rng(0).normal(size=(3, 5, 2))
    along = reference.entmax(z, order=2, dim=1)
    for i in range(3):
        for j in range(2):
            alone = reference.entmax(z[i, :, j], order=2)
            assert np.array_equal(along.weights.round("float64")[i, :, j], alone.weights.round("float64"))
            assert np.array_equal(along.support[i, :, j], alone.support)


def test_masked_and_empty_rows() -> None:
    result = reference.entmax([[0.0, -np.inf], [-np.inf, -np.inf]], order=2)
    assert result.empty.tolist() == [False, True]
    rounded = result.weights.round("float32")
    assert rounded[0].tolist() == [1.0, 0.0] and np.isnan(rounded[1]).all()
    assert reference.entmax(np.empty((2, 0)), order=1).weights.round("float64").shape == (2, 0)


@pytest.mark.parametrize(
    ("z", "options", "words"),
    [
        ([0.0, float("nan")], {}, "index (1,)"),
        ([[0.0], [float("inf")]], {}, "index (1, 0)"),
        (1.0, {}, "scalar"),
        ([0.0], {"order": -1}, "below -1 or above 0"),
        ([0.0], {"order": -0.5}, "got order -1/2"),
        ([0.0], {"order": -np.inf}, "-inf"),
        ([0.0], {"order": 0}, "order 0"),
        ([0.0], {"order": "two"}, "two"),
        ([0.0], {"order": float("nan")}, "nan"),
        ([0.0], {"alpha": 0.0}, "(0, inf]"),
        ([0.0], {"alpha": -0.5}, "-0.5"),
        ([0.0], {"order": 1, "alpha": 2}, "not both"),
        ([0.0], {"order": 1, "dim": 3}, "dim"),
        ([0.0], {"order": 2, "arithmetic": "float"}, "float"),
        (["a"], {}, "got <U1"),
        ([1j], {}, "complex"),
    ],
)
def test_bad_input_says_what_came(z: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DomainError) as caught:
        reference.entmax(z, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inputs_of_every_float_dtype_are_exact() -> None:
    for dtype in [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn, np.float32]:
        z = np.array([0.5, 1.0, -2.0]).astype(dtype)
        expected = reference.entmax([0.5, 1.0, -2.0], order="3/2").weights.round("float64")
        assert np.array_equal(reference.entmax(z, order="3/2").weights.round("float64"), expected)
