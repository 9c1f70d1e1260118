"""The filter against arb: enclosures that hold the exact weight, roundings that are arb's, on rows made to break it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb
from tests.reference.bulk.hard_rows import FAMILIES, ORDERS, Floats, float32_normal

from kernelproof import reference
from kernelproof.reference import bulk
from kernelproof.reference.bulk import batches
from kernelproof.reference.bulk.row_certificate import DECIDED
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Mechanism, Nearest, Rule

ADAPTIVE = Adaptive()
GIVEN_UP = {"kinks": 0.95, "small_last_weight": 0.5, "huge_gaps": 0.3, "grid": 0.2}
"""Most rows of a family that the filter may give up; 5 % of any other."""


def order_called(text: str) -> Fraction | float:
    return math.inf if text == "inf" else Fraction(text)


def violations(z: Floats, order: Fraction | float, rule: Rule = ADAPTIVE) -> tuple[list[Any], float]:
    """(what the filter says that arb with 160 bits disproves, the share of rows given up)."""
    solve = batches.filter_of(Mechanism(Kernel(order), rule))
    assert solve is not None
    ((_, found),) = batches.chunks(z, solve, 1)
    kept = found.status == DECIDED
    wrong: list[Any] = []
    if kept.any():
        weights = reference.weights(z[kept], Kernel(order), rule, precision=160).weights
        exact = weights.round("float64")
        lo, hi, near = found.lo[kept], found.hi[kept], found.near[kept]
        wrong += [("nearest", tuple(i)) for i in np.argwhere((near != exact) & ~np.isnan(near))]
        for i, ball in np.ndenumerate(weights.values()):
            middle = ball.mid() if isinstance(ball, arb) and not ball.contains_integer() else ball
            if middle < lo[i] or middle > hi[i]:
                wrong.append(("enclosure", i, z[kept][i[0]].tolist()))
    return wrong, 1.0 - float(kept.mean())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("text", ORDERS)
def test_nothing_that_the_filter_says_is_disproved(family: Any, text: str) -> None:
    order = order_called(text)
    z = family(np.random.default_rng(7), float(order), 20, 24)
    if family.__name__ == "huge_gaps":
        z = z[(z > -np.inf).any(axis=1)]
    wrong, given_up = violations(z, order)
    assert wrong == []
    assert given_up <= GIVEN_UP.get(family.__name__, 0.05)


GIVEN: dict[str, tuple[Rule, float]] = {
    "anchored": (Anchored(1.5), 0.0),
    "anchored at the float before 3": (Anchored(3.0 - 2.0**-51), 0.0),
    "fixed": (Fixed(1.75), 1.53125),
    "fixed, h² above its float": (Fixed(1.7), 1.7**2 / 2),
    "fixed, h² below its float": (Fixed(1.3), 1.3**2 / 2),
}
"""Rules, and about where the keys reach below 0."""


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("text", ["1/16", "9/10", "1", "2", "27/10", "64", "10000"])
def test_nothing_that_the_filter_says_of_a_given_bandwidth_is_disproved(text: str, name: str) -> None:
    rule, reach = GIVEN[name]
    rng = np.random.default_rng(11)
    order = order_called(text)
    z = np.concatenate([family(rng, min(float(order), 4.0), 4, 16) for family in FAMILIES])
    z -= (
        np.where(z > -np.inf, np.maximum(z.max(axis=1, keepdims=True), -1e300), 0.0) if isinstance(rule, Fixed) else 0.0
    )
    # Keys at the edge of the ball, and some units in the last place beside it.
    edge = z.max(axis=1) - (reach or float(rule.exact if isinstance(rule, Anchored) else 0.0))
    z[::2, -1] = (edge + rng.integers(-1, 2, len(z)) * np.spacing(edge))[::2]
    z = z[(z > -1e30).any(axis=1)]
    wrong, given_up = violations(z, order, rule)
    assert wrong == []
    assert given_up <= 0.15


@pytest.mark.parametrize("rule", [Anchored(1.5), Fixed(1.75), Fixed("13/10"), Adaptive(2), Nearest(3), Anchored(1e60)])
@pytest.mark.parametrize("order", [1, 2, 2.7, 10**7, "inf"])
def test_any_mechanism_is_that_of_arb(order: Any, rule: Rule) -> None:
    z = np.random.default_rng(12).normal(-1, 1, (12, 16))
    z[3] = -np.inf
    found = bulk.round_weights(z, Kernel(order), rule, "float32", small=0)
    np.testing.assert_array_equal(found.values, reference.weights(z, Kernel(order), rule).weights.round("float32"))


@pytest.mark.nightly
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("text", ORDERS)
def test_nothing_that_the_filter_says_is_disproved_on_ten_million_weights(family: Any, text: str) -> None:
    order = order_called(text)
    # 13 families, 13 orders, 5 seeds, 190 rows of 64: 10.3 million.
    for seed in range(5):
        assert violations(family(np.random.default_rng(seed), float(order), 190, 64), order)[0] == []


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("text", ["1/2", "1", "2", "27/10", "8", "inf"])
def test_roundings_are_those_of_arb(text: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    z = np.concatenate([family(rng, float(order_called(text)), 4, 16) for family in FAMILIES])
    z[5, :] = -np.inf
    found = bulk.round_entmax(z, text, dtype, small=0)
    truth = reference.entmax(z, order=text).weights.round(dtype)
    assert found.values.dtype == truth.dtype
    np.testing.assert_array_equal(found.values.astype(np.float64), truth.astype(np.float64))
    assert found.statistics.elements == z.size and 0 < found.statistics.arb_rows < len(z) / 2


@pytest.mark.parametrize("text", ["1", "2", "27/10", "inf"])
def test_enclosures_are_tight(text: str) -> None:
    z = np.concatenate([family(np.random.default_rng(4), float(order_called(text)), 4, 16) for family in FAMILIES])
    z = z[(z > -np.inf).any(axis=1)]
    found = bulk.enclose_entmax(z, text, small=0)
    # 2^-50 is up to four units in the last place; in the subnormals those are the least float.
    assert np.all(found.hi - found.lo <= 2.0**-50 * found.lo + 2 * 5e-324)
    weights = reference.entmax(z, order=text, precision=200).weights
    assert np.all(found.lo <= weights.hi) and np.all(weights.lo <= found.hi)


def test_sparsemax_midpoints_need_no_arb() -> None:
    """On this grid a quarter of the weights and more lies halfway between two floats of float16, exactly."""
    z = np.random.default_rng(5).integers(0, 2**11, (400, 8)) * 2.0**-13
    found = bulk.round_entmax(z, 1, "float16", small=0)
    lo, hi = bulk.entmax_enclosed(z, 1)
    exact = (lo == hi) & (lo > 0)
    half = exact & (np.abs(found.values.astype(np.float64) - lo) == np.spacing(found.values).astype(np.float64) / 2)
    assert half.sum() > 50 and found.statistics.arb_rows == 0
    np.testing.assert_array_equal(found.values, reference.entmax(z, order=1).weights.round("float16"))


@pytest.mark.parametrize("text", ["1", "2", "27/10", "64", "inf"])
def test_arb_is_hardly_needed_for_rounding_to_float32(text: str) -> None:
    z = float32_normal(np.random.default_rng(6), 0.0, 64, 1024)
    statistics = bulk.round_entmax(z, text, "float32").statistics
    assert statistics.arb_rows == 0 and statistics.rows == 64 and statistics.reasons == {}


def test_any_axis_and_any_number_of_threads() -> None:
    z = np.random.default_rng(8).normal(0, 1, (3, 7, 11))
    one = bulk.round_entmax(z, 2, dim=1, small=0, workers=1).values
    batches_of_one = bulk.round_entmax(np.moveaxis(z, 1, -1).reshape(-1, 7), 2, small=0).values
    np.testing.assert_array_equal(np.moveaxis(one, 1, -1).reshape(-1, 7), batches_of_one)
    many = np.random.default_rng(9).normal(0, 1, (3000, 64))
    np.testing.assert_array_equal(
        bulk.round_entmax(many, 2, workers=3).values, bulk.round_entmax(many, 2, workers=1).values
    )


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_inputs(shape: tuple[int, ...]) -> None:
    assert bulk.entmax_rounded(np.zeros(shape), 2).shape == shape
    assert bulk.entmax_enclosed(np.zeros(shape), 2)[0].shape == shape


@pytest.mark.parametrize("wrong", [{"order": 0}, {"dtype": "float128"}, {"order": 2, "alpha": 2}, {"dim": 2}])
def test_what_is_outside_the_domain(wrong: dict[str, Any]) -> None:
    with pytest.raises(reference.DomainError):
        bulk.entmax_rounded(np.zeros((2, 3)), **wrong)
    with pytest.raises(reference.DomainError, match="finite"):
        bulk.round_entmax(np.array([[0.0, np.nan]]), 2, small=0)


def test_orders_beyond_the_filter_go_to_arb() -> None:
    z = np.array([[0.0, 0.5, 1.0]])
    found = bulk.round_entmax(z, "1/2000", small=0)
    assert found.statistics.arb_rows == 1
    np.testing.assert_array_equal(found.values, reference.entmax(z, order="1/2000").weights.round("float32"))
