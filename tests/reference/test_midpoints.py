"""Roundings at exact midpoints: rational weights, outputs, thresholds and gradients of integer orders are decided."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, Enclosure, Fixed, Kernel, Nearest
from kernelproof.reference.arithmetic.rational import IRRATIONAL, RATIONAL
from kernelproof.reference.formats import FORMATS

UP = 1 + 2.0**-52
"""The float64 after 1: the mean of 1 and this is a midpoint, and goes to 1."""
FULL = 1 + 3 * 2.0**-53
"""Halfway between UP and the next: goes up, to the even one."""


def decided(found: Enclosure, expected: list[Any], dtype: str = "float64") -> None:
    """Every value is rounded as the exact `expected` is, and none is ambiguous."""
    rounding = found.rounding(dtype)
    assert not rounding.ambiguous.any()
    target = FORMATS[dtype]
    exact = [target.round_fraction(Fraction(value)) for value in expected]
    assert rounding.values.astype(np.float64).ravel().tolist() == exact


@pytest.mark.parametrize("rule", [Fixed(2), Anchored(2), Nearest(2, Anchored(2)), Nearest(2, Fixed(2))], ids=str)
@pytest.mark.parametrize("order", [2, 3, 5, 10])
def test_every_number_of_a_rational_rule(rule: Any, order: int) -> None:
    # Gaps 0 and 1 with γ = 2: bases 1 and 1/2, weights (2^n, 1)/(2^n + 1).
    q, k, kernel = [[0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]], Kernel(order)
    whole, middle = 2**order + 1, Fraction(2**24 + 1, 2**24)
    decided(reference.regression(q, k, [[0.0], [float(whole * middle)]], kernel, rule).y, [middle], "float32")
    found = reference.regression_vjp(q, k, [[1.0], [1.0]], [[float(whole * middle)]], kernel, rule)
    decided(found["v"], [2**order * middle, middle], "float32")
    # ∂L/∂s_1 = (n/γ)·w_1/u_1·(g − w_1 g) = (n/2)·2^n/whole²·g under Fixed, and ∂L/∂s_2 = −2·that.
    g = float(whole**2 * middle)
    pulled = reference.weights_vjp([0.0, -1.0], [g, 0.0], kernel, rule)["scores"]
    second = -order * 2**order * middle
    inner = rule.then if isinstance(rule, Nearest) else rule
    # The anchor, which moves with the largest score, takes back what the two have in common.
    first = -second / 2 if isinstance(inner, Fixed) else -second
    decided(pulled, [first, second], "float32")


def test_every_number_at_a_rational_root_of_the_mass_equation() -> None:
    # 3³ + 4³ + 5³ = 6³: at order 3 the logits (2, 1, 0)/2 have the bases (5, 4, 3)/6, and τ = −1/2.
    middle = Fraction(2**24 + 1, 2**24)
    kernel, rule = Kernel(3), Adaptive(Fraction(1, 2))
    z = [1.0, 0.5, 0.0]
    shift = 4.5 + 3 * 2.0**-24
    decided(reference.entmax([x + shift for x in z], 3).threshold, [middle], "float32")
    values = [[[0.0], [float(27 * middle / 8)], [0.0]]]
    y = reference.attention([[[1.0]]], [[[2.0], [1.0], [0.0]]], values, kernel, rule, scale=1).y
    decided(y, [middle], "float32")
    # Slopes u² = (25, 16, 9)/36; for g = (g, 0, 0) the centre is g/2.
    g = [float(8 * middle), 0.0, 0.0]
    decided(
        reference.entmax_vjp(z, g, 3)["z"], [Fraction(25, 9) * middle, -Fraction(16, 9) * middle, -middle], "float32"
    )
    # ∂L/∂β = Σ c_i s_i with s = (2, 1, 0), c = (25/72, −16/72, −9/72)·g: 34/72·g.
    beta = reference.weights_vjp([2.0, 1.0, 0.0], [float(36 * middle), 0.0, 0.0], kernel, rule)["beta"]
    decided(beta, [17 * middle], "float32")
    # p = (9, 4, 1, 1, 1)/16 at order 2: 9/16 is a midpoint of three digits.
    weights = reference.entmax([1.5, 1.0, 0.5, 0.5, 0.5], order=2).weights
    decided(weights, [Fraction(x * x, 16) for x in (3, 2, 1, 1, 1)], "float8_e5m2")


@pytest.mark.parametrize("order", [2, 3])
def test_tied_keys_whose_number_is_a_power_have_rational_gradients(order: int) -> None:
    # m = 3^n: u = 1/3 and p/u = 3^(1−n), so that ∂L/∂z = 3^(1−n)·(g − mean g).
    count, middle = 3**order, Fraction(2**24 + 1, 2**24)
    g = [0.0] * (count - 1) + [float(count * 3 ** (order - 1) * middle)]
    expected = [-middle] * (count - 1) + [(count - 1) * middle]
    decided(reference.entmax_vjp([0.1] * count, g, order)["z"], expected, "float32")


@pytest.mark.parametrize("order", [2, 3, 64, "5/2", "1/2", "inf"])
@pytest.mark.parametrize("op", ["regression", "attention"])
def test_the_mean_of_tied_keys_and_of_equal_values(order: Any, op: str) -> None:
    q, v = np.ones((1, 1, 1)), np.array([[[1.0, FULL - 2.0**-53 * 3], [UP, 1.0]]])
    options: dict[str, Any] = {"scale": 1} if op == "attention" else {}
    tied = getattr(reference, op)(q, np.ones((1, 2, 1)), v, Kernel(order), Adaptive(), **options).y
    decided(tied, [(Fraction(1) + Fraction(UP)) / 2, 1])
    middle = 1 + 2.0**-24
    one_value = np.full((1, 3, 1), middle)
    keys = np.array([[[1.0], [0.75], [0.5]]])
    decided(getattr(reference, op)(q, keys, one_value, Kernel(order), Adaptive(), **options).y, [middle], "float32")


def test_what_is_irrational_is_not_called_rational() -> None:
    row = reference.rows.float_row(np.array([0.0, -0.3]))
    root = RATIONAL.adaptive(row.gaps(2), row.guide, Fraction(2))
    assert root.gamma is IRRATIONAL and root.size == 2
    assert IRRATIONAL * 0 == 0 and 0 * IRRATIONAL == 0 and (IRRATIONAL + 1) is IRRATIONAL
    assert RATIONAL.log(Fraction(2)) is IRRATIONAL and RATIONAL.exp(Fraction(0)) == 1
    # The gradients in the order have logarithms; they are not 0.
    found = reference.weights_vjp([0.0, -0.5], [1.0, 0.0], Kernel(2), Anchored(2))["order"]
    assert not found.rounding("float64").ambiguous.any() and found.round("float64") != 0
    compare = found.blocks[0].compare
    assert compare is not None and compare(0, Fraction(0)) is None


def test_many_ties_and_a_far_key() -> None:
    # 1024 ties would have 1/1024, a midpoint that goes to 0; the far key, at 5·10^-5 of the threshold, makes p less,
    # and one that is 2^-1074 away from the ties makes that 1/1025.
    far = -64 * (2.0 ** (-10 / 64) - 1e-9)
    for key in (far, -50.0, -57.0):
        weights = reference.entmax([0.0] * 1024 + [key], order=64).weights
        assert set(weights.round("float8_e4m3fn").astype(np.float64).tolist()) == {0.0}
    # 512 ties: 1/512 is the smallest number; 1.5/512 is a midpoint that goes to 2/512: 341 ties are above, 342 below.
    for count, units in ((341, 2), (342, 1)):
        found = reference.entmax([0.0] * count + [-57.9], order=64).weights.round("float8_e4m3fn").astype(np.float64)
        assert found[0] == units / 512


def test_a_ball_of_infinite_ends_is_no_pair_of_neighbours() -> None:
    assert not FORMATS["float64"].adjacent(-np.inf, np.inf)
    assert FORMATS["float64"].adjacent(FORMATS["float64"].largest, np.inf)


def test_roundings_of_a_rational_rule_agree_with_its_balls() -> None:
    z = np.random.default_rng(8).normal(0, 1, 12)
    for order in (2, 7):
        found = reference.weights(z, Kernel(order), Anchored(2)).weights
        row = reference.rows.float_row(z)
        mechanism = reference.Mechanism(Kernel(order), Anchored(2))
        exact = reference.solver.Solver(mechanism, RATIONAL).solve(row, 0)
        with ctx.workprec(200):
            for key, weight in zip(exact.keys, exact.weights, strict=True):
                assert found.values()[key].overlaps(arb(weight.numerator) / weight.denominator)
