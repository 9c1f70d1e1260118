"""Flags, margins, thresholds and fillings of rows: what is unsure, what is a kink, what an empty row gets."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest


@pytest.mark.parametrize("order", [1, 2, "3/2", 64])
def test_a_tie_of_keys_without_weight_is_no_choice(order: Any) -> None:
    # Nearest(2) of [0, −100, −100]: whichever is kept has no weight.
    found = reference.weights([0.0, -100.0, -100.0], Kernel(order), Nearest(2))
    assert not found.unsure and not found.kink and not found.boundary.any()
    inside = reference.weights([0.0, -0.5, -0.5], Kernel(order), Nearest(2))
    assert inside.unsure and inside.kink
    assert inside.weights.round("float64")[2] == 0.0


def test_a_tie_at_the_threshold_is_a_kink_and_no_choice() -> None:
    # Sparsemax of [1, 0]: the key at 0 is at the threshold, and so is the one left out.
    found = reference.weights([1.0, 0.0, 0.0], Kernel(1), Nearest(2))
    assert not found.unsure and found.kink
    assert found.boundary.tolist() == [False, True, True]
    smooth = reference.weights([2.0, 0.0, 0.0], Kernel(2), Nearest(2))
    assert not smooth.unsure and not smooth.kink and smooth.boundary.tolist() == [False, True, True]


@pytest.mark.parametrize("rule", [Nearest(2, Fixed(2)), Nearest(2, Anchored(1.5))], ids=str)
def test_ties_of_the_other_rules(rule: Nearest) -> None:
    assert not reference.weights([-0.25, -3.0, -3.0], Kernel(1), rule).unsure
    assert reference.weights([-0.25, -1.0, -1.0], Kernel(1), rule).unsure
    # Order 0 and the argmax: every key kept by the one, the first alone by the other.
    assert reference.weights([0.0, -1.0, -1.0], Kernel(0), Nearest(2)).unsure
    assert not reference.weights([0.0, -1.0, -1.0], Kernel("inf"), Nearest(2, Anchored(1))).unsure
    assert reference.weights([0.0, -1.0, -1.0], Kernel("inf"), Nearest(2)).unsure


@pytest.mark.parametrize("order", ["1/2", 1, 2, 64])
@pytest.mark.parametrize("rule", [Fixed(2), Nearest(1, Fixed(2))], ids=str)
def test_a_ball_that_touches_its_nearest_key_is_empty_and_a_kink(order: Any, rule: Any) -> None:
    found = reference.weights([-2.0, -3.0, -2.0], Kernel(order), rule)
    assert found.empty and found.kink and not found.support.any()
    assert found.boundary.tolist() == [True, False, True]
    assert found.margin.tolist() == [0.0, -1.0, 0.0]
    beyond = reference.weights([-2.5, -3.0, -2.5], Kernel(order), rule)
    assert beyond.empty and not beyond.kink and not beyond.boundary.any()
    assert beyond.margin.tolist() == [-0.5, -1.0, -0.5]
    assert np.isnan(beyond.threshold.round("float64"))


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e100])
@pytest.mark.parametrize("order", [0, "1/2", 1, 2, 1000])
@pytest.mark.parametrize("rule", ["fixed", "anchored"])
def test_margins_are_as_accurate_as_they_say(rule: str, order: Any, scale: float) -> None:
    generator = np.random.default_rng(6)
    near = 3.0 * scale * (1 + generator.integers(-8, 8, 8) * 2.0 ** generator.integers(-52, -18, 8))
    scores = -np.concatenate([[scale], scale * generator.uniform(1, 9, 20), near])
    h = Fraction(np.sqrt(6 * scale))
    if rule == "anchored" and order == 0:
        pytest.skip("order 0 is not defined with Anchored")
    chosen: Any = Fixed(h) if rule == "fixed" else Anchored(2 * scale)
    gamma = h * h / 2 - Fraction(scale) if rule == "fixed" else Fraction(2 * scale)
    margin = reference.weights(scores, Kernel(order), chosen).margin
    for score, found in zip(scores.tolist(), margin.tolist(), strict=True):
        exact = gamma + Fraction(score) + Fraction(scale)
        close = abs(exact) <= gamma * Fraction(2) ** -20 or (exact > 0 and order != 0)
        assert abs(Fraction(found) - exact) <= abs(exact) * Fraction(2) ** (-50 if close else -31)


def test_margins_where_no_gamma_is_finite_and_outside_at_order_zero() -> None:
    assert reference.weights([0.0, -9.0, -np.inf], Kernel("inf"), Fixed(2)).margin.tolist() == [np.inf, np.inf, -np.inf]
    assert reference.weights([0.0, -9.0], Kernel(0), Fixed(2)).margin.tolist() == [2.0, -7.0]
    assert reference.weights([0.0, -9.0], Kernel(0), Nearest(1)).margin.tolist() == [np.inf, np.inf]
    # The threshold is 3/β = 11 here, which a ball of β = 3/11 misses by 2^-104.
    assert reference.weights([0.0, -11.0], Kernel(3), Adaptive(Fraction(3, 11))).margin.tolist() == [3.0, 0.0]
    assert reference.entmax([-np.inf, -np.inf], 2).margin.tolist() == [-np.inf, -np.inf]


def test_the_threshold_of_nearest_is_that_of_the_keys_kept() -> None:
    found = reference.weights([0.0, -0.25, -0.25, -0.25], Kernel(1), Nearest(2))
    kept = reference.entmax([0.0, -0.25], 1)
    assert found.threshold.round("float64") == kept.threshold.round("float64")
    # The keys left out are above it, and have no weight.
    assert found.threshold.round("float64") < -0.25 and not found.support[2:].any()
    assert (found.margin[2:] > 0).all()


@pytest.mark.parametrize(
    ("empty", "expected"), [("zeros", 0.0), ("nan", np.nan), ("uniform", np.nan), ("nearest", np.nan)]
)
@pytest.mark.parametrize("rule", [Fixed(2), Adaptive(), Nearest(2, Fixed(2))], ids=str)
def test_a_row_without_a_key_has_nothing_to_share(rule: Any, empty: str, expected: float) -> None:
    found = reference.weights([[-np.inf] * 3, [0.0, -1.0, -1.5]], Kernel(2), rule, empty=empty)
    assert found.empty.tolist() == [True, False]
    rounded = found.weights.round("float64")
    assert np.array_equal(rounded[0], [expected] * 3, equal_nan=True) and np.isfinite(rounded[1]).all()
    y = reference.attention(
        np.ones((1, 1, 1)), np.ones((1, 2, 1)), np.ones((1, 2, 3)), Kernel(2), rule, mask=[False, False], empty=empty
    ).y.round("float64")
    assert np.array_equal(y, np.full((1, 1, 3), expected), equal_nan=True)
    with pytest.raises(DomainError, match="nothing to attend to"):
        reference.weights([-np.inf], Kernel(2), rule, empty="raise")


def test_nearest_keeps_the_filling_of_all_keys() -> None:
    found = reference.weights([-3.0, -2.5, -2.5, -np.inf], Kernel(2), Nearest(1, Fixed(2)), empty="uniform")
    assert found.weights.round("float64").tolist() == [1 / 3, 1 / 3, 1 / 3, 0.0]
    found = reference.weights([-3.0, -2.5, -2.5, -np.inf], Kernel(2), Nearest(1, Fixed(2)), empty="nearest")
    assert found.weights.round("float64").tolist() == [0.0, 0.5, 0.5, 0.0]
