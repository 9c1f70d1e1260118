"""What the filter says of rows against arb: weights, supports, margins, kinks, gradients, on rows made to break it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.reference.bulk.hard_rows import FAMILIES, ORDERS, Floats

from kernelproof import reference
from kernelproof.reference.bulk.bulk_rows import Balls, certify
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest, Rule

BITS = 256
RULES: dict[str, Rule] = {
    "adaptive": Adaptive(1),
    "adaptive 3/10": Adaptive(0.3),
    "adaptive 2": Adaptive(2),
    "fixed": Fixed(1.75),
    "anchored": Anchored(1.5),
    "nearest": Nearest(5, Adaptive(0.75)),
    "nearest fixed": Nearest(3, Fixed(2.5)),
}
HALF_GIVEN_UP = {"kinks", "small_last_weight", "huge_gaps", "grid"}
WITHOUT_DIGITS = {"subnormal_weights", "float64_scales", "scaled_by_order"}
"""Families made of rows that the filter gives up: near kinks, and where weights of large orders are below e^-650."""


def order_called(text: str) -> Fraction | float:
    return math.inf if text == "inf" else Fraction(text)


def numbers(enclosure: Any) -> Balls:
    return Balls(*enclosure.split())


def apart(found: Balls, truth: Balls) -> Floats:
    """How far `found` is beyond both radii, in units of 2^-1074 or of the rounding of this very subtraction."""
    distance = np.abs((found.head - truth.head) + (found.tail - truth.tail))
    # Heads and tails are subtracted to a rounding of each difference.
    rounding = 2.0**-104 * np.abs(truth.head) + 2 * 5e-324
    same = (found.head == truth.head) | (np.isnan(found.head) & np.isnan(truth.head))
    with np.errstate(invalid="ignore"):
        beyond = distance - found.radius - truth.radius - rounding
    # What arb itself has no bounds for disproves nothing.
    return np.where(np.isnan(distance), np.where(same | np.isinf(truth.radius), 0.0, np.inf), beyond)


def disproved(z: Floats, order: Fraction | float, rule: Rule, cotangent: Floats | None = None) -> tuple[list[str], int]:
    """(what of the description arb disproves, how many rows were given up)."""
    kernel = Kernel(order)
    found = certify(z, kernel, rule, cotangent, workers=1)
    truth = reference.weights(z, kernel, rule, precision=BITS)
    wrong = [
        name
        for name in ("support", "boundary", "empty", "unsure", "kink")
        if not np.array_equal(getattr(found, name), getattr(truth, name))
    ]
    if (apart(found.weights, numbers(truth.weights)) > 0).any():
        wrong.append("weights")
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(found.margin / truth.margin - 1)
    # `Weighting.margin` says how well both are known: this far off where |γ − d| is 2^-20·γ or more off the support.
    near = truth.support | (np.abs(truth.margin) <= 2.0**-20 * truth.margin.max(axis=1, keepdims=True))
    fine = (found.margin == truth.margin) | (off <= np.where(near, 2.0**-49, 2.0**-30))
    if not fine.all():
        wrong.append("margin")
    given_up = found.arb_rows
    if cotangent is not None:
        exact = reference.weights_vjp(z, cotangent, kernel, rule, precision=BITS)
        assert found.gradients is not None and set(found.gradients) == set(exact)
        wrong += [name for name, each in found.gradients.items() if (apart(each, numbers(exact[name])) > 0).any()]
        given_up = certify(z, kernel, rule, cotangent).arb_rows
    return wrong, given_up


def rows_of(family: Any, rule: Rule, order: Fraction | float, seed: int, shape: tuple[int, int]) -> Floats:
    rng = np.random.default_rng(seed)
    z: Floats = family(rng, float(order) if isinstance(rule, Adaptive) else min(float(order), 4.0), *shape)
    inner = rule.then if isinstance(rule, Nearest) else rule
    if isinstance(inner, Fixed):
        # The ball reaches as far as −h²/2; a row far from 0 has all keys in it or none.
        with np.errstate(invalid="ignore"):
            z = np.where(z > -np.inf, z - np.maximum(z.max(axis=1, keepdims=True), -1e300), z)
    return np.asarray(z[(z > -1e30).any(axis=1)])


def cotangents(z: Floats, seed: int) -> Floats:
    """Normals, some of them zero, tiny, or almost alike, so that they cancel."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=z.shape)
    g = np.where(rng.random(z.shape) < 0.1, 0.0, g)
    g[::3] = 1.0 + rng.integers(-3, 4, g[::3].shape) * 2.0**-52
    g[1::5] *= 2.0 ** rng.integers(-40, 40, g[1::5].shape)
    return np.asarray(g)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("text", ORDERS)
def test_nothing_that_is_said_of_rows_is_disproved(family: Any, text: str) -> None:
    order = order_called(text)
    for seed, (name, rule) in enumerate(RULES.items()):
        z = rows_of(family, rule, order, seed, (5, 12))
        wrong, given_up = disproved(z, order, rule, cotangents(z, seed))
        assert wrong == [], name
        left = HALF_GIVEN_UP | (WITHOUT_DIGITS if order >= 64 else set())
        # `Nearest` leaves ties to arb, and a bandwidth held constant makes weights of large orders too small.
        if isinstance(rule, Adaptive) and family.__name__ not in left:
            assert given_up <= 0.35 * len(z), name


@pytest.mark.parametrize("text", ["1/16", "1", "3/2", "2", "64", "100000000", "inf"])
def test_gradients_of_single_rows_are_not_disproved(text: str) -> None:
    """The scalars of one row: in a sum over rows the error of one may hide."""
    order = order_called(text)
    for family in FAMILIES:
        for seed, rule in enumerate(RULES.values()):
            z = rows_of(family, rule, order, seed, (2, 9))
            for row, g in zip(z, cotangents(z, seed + 1), strict=True):
                assert disproved(row[None], order, rule, g[None])[0] == []


@pytest.mark.nightly
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("text", ORDERS)
def test_nothing_that_is_said_of_a_million_weights_is_disproved(family: Any, text: str) -> None:
    order = order_called(text)
    # 13 families, 13 orders, 7 rules, 24 rows of 48: 1.36 million.
    for seed, rule in enumerate(RULES.values()):
        z = rows_of(family, rule, order, 100 + seed, (24, 48))
        assert disproved(z, order, rule, cotangents(z, seed))[0] == []


def test_rows_that_are_given_up_are_those_of_arb() -> None:
    z = np.array([[0.0, 0.0, -np.inf], [-np.inf] * 3, [0.0, -1.0, -2.0]])
    for rule in (Adaptive(1), Fixed(2), Nearest(1, Adaptive(1)), Anchored(1)):
        for order in (Fraction(1), Fraction(2)):
            assert disproved(z, order, rule, np.ones((3, 3)))[0] == []
    assert certify(z, Kernel(0), Nearest(2)).arb_rows == 3


def test_no_row_and_no_cotangent() -> None:
    found = certify(np.empty((0, 4)), Kernel(2), Adaptive())
    assert found.weights.head.shape == (0, 4) and found.gradients is None and found.arb_rows == 0


def test_threads_change_nothing() -> None:
    z = np.random.default_rng(0).normal(size=(2000, 40))
    one, many = (certify(z, Kernel(2), Adaptive(), z[:, ::-1], workers=count) for count in (1, 3))
    assert one.gradients is not None and many.gradients is not None
    for a, b in [(one.weights, many.weights), *((one.gradients[name], many.gradients[name]) for name in one.gradients)]:
        for part in ("head", "tail", "radius"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))


@pytest.mark.parametrize(
    ("order", "rule", "name", "upstream"),
    [
        (math.inf, Fixed(1e-10), "h", [0.3, 0.3 * (1 + 1e-9)]),
        (math.inf, Fixed(1e-5), "h", [0.3, 0.3 * (1 + 1e-9)]),
        (2, Adaptive(1), "beta", [0.3, 0.7]),
    ],
)
def test_what_underflows_is_in_the_radius(order: float, rule: Rule, name: str, upstream: list[float]) -> None:
    z, g = np.array([[5e-324, 0.0]]), np.array([upstream])
    found = []
    for filtered in (True, False):
        gradients = certify(z, Kernel(order), rule, g, filtered=filtered, workers=1).gradients
        assert gradients is not None
        found.append([Fraction(float(part)) for part in (gradients[name].head, gradients[name].radius)])
    (fast, radius), (exact, more) = found
    assert abs(fast - exact) <= radius + more
    assert radius > 0
