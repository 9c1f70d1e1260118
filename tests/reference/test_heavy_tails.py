"""Negative orders: kernels ``(1 + t)^−|n|``, entmax of α < 1, and where their weights do not exist."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest
from kernelproof.reference.model import Student, mechanism

ORDERS = [Fraction(-1, 3), -1, Fraction(-3, 2), -4, -100]
RULES = [Fixed(2.5), Anchored(1.5), Nearest(3, Anchored(2)), Nearest(3, Fixed(3)), Adaptive(2), Nearest(4, Adaptive())]


def takes(order: Any, rule: Any) -> bool:
    inner = rule.then if isinstance(rule, Nearest) else rule
    return order < -1 or not isinstance(inner, Adaptive)


EPS = 2.0**-52
STEP = Fraction(1, 2**40)
"""Of central differences at 256 bits: what they leave out is (n·STEP/γ)²/6 ≤ 2^-60 of a derivative."""
POINTS = [(order, rule) for order in ORDERS for rule in RULES if takes(order, rule)]


def scores(size: int = 6) -> Any:
    """Of ten bits after the point, so that they are float64 after a step too."""
    return -np.round(np.random.default_rng(5).random(size) * 3 * 2**10) / 2**10


def kept(z: Any, rule: Any) -> Any:
    return np.sort(np.argsort(-z)[: rule.k]) if isinstance(rule, Nearest) else np.arange(len(z))


GIVEN = [(n, r) for n, r in POINTS if not isinstance(r.then if isinstance(r, Nearest) else r, Adaptive)]


@pytest.mark.parametrize(("order", "rule"), GIVEN)
def test_weights_of_a_given_bandwidth_are_a_power_of_its_distance(order: Any, rule: Any) -> None:
    z = scores()
    inner: Any = rule.then if isinstance(rule, Nearest) else rule
    inside = kept(z, rule)
    kernel = inner.h**2 - 2 * z if isinstance(inner, Fixed) else inner.gamma + z.max() - z
    expected = np.zeros(len(z))
    expected[inside] = kernel[inside] ** float(order) / (kernel[inside] ** float(order)).sum()
    found = reference.weights(z, Kernel(order), rule)
    # Of a distance three roundings, which the power multiplies; its own, and those of the sum and the quotient.
    np.testing.assert_allclose(found.weights.round("float64"), expected, rtol=(3 * abs(float(order)) + 8) * EPS)
    assert found.support.tolist() == (expected > 0).tolist()
    assert not found.boundary.any() and not found.kink.any()
    assert (found.margin == np.inf).all()


@pytest.mark.parametrize(("order", "rule"), POINTS)
def test_gradients_are_those_of_the_second_opinion_and_of_differences(order: Any, rule: Any) -> None:
    z, g = scores(), np.random.default_rng(6).normal(size=6)
    found = {name: each.round("float64") for name, each in reference.weights_vjp(z, g, Kernel(order), rule).items()}
    second = reference.weights_vjp(z, g, Kernel(order), rule, arithmetic="mpmath")
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, second[name].round("float64"), rtol=EPS, err_msg=name)

    def loss(z: Any, order: Any, rule: Any) -> arb:
        values = reference.weights(z, Kernel(order), rule, precision=256).weights.values()
        return sum((ball(value) * arb(weight) for value, weight in zip(values, g.tolist(), strict=True)), arb(0))

    def slope(move: Callable[[Fraction], arb]) -> float:
        with ctx.workprec(256):
            return float((move(STEP) - move(-STEP)) / ball(2 * STEP))

    def near(name: str, expected: Any) -> None:
        np.testing.assert_allclose(found[name], expected, rtol=EPS, atol=2.0**-60, err_msg=name)

    near("scores", [slope(partial(lambda i, e: loss(z + float(e) * np.eye(6)[i], order, rule), i)) for i in range(6)])
    near("order", slope(lambda e: loss(z, Fraction(order) + e, rule)))
    inner = rule.then if isinstance(rule, Nearest) else rule

    def moved(e: Fraction) -> Any:
        there = type(inner)(inner.exact + e)
        return Nearest(rule.k, there) if isinstance(rule, Nearest) else there

    near({Fixed: "h", Anchored: "gamma", Adaptive: "beta"}[type(inner)], slope(lambda e: loss(z, order, moved(e))))


def ball(value: Any) -> arb:
    return arb(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def test_both_sides_meet_at_softmax_with_a_slope_in_one_over_n() -> None:
    z = scores()
    limit = reference.entmax(z).weights.round("float64")
    by_alpha = reference.entmax_vjp(z, np.eye(6)[0], alpha=1)["alpha"].round("float64")
    size = 10**6
    above, below = (reference.entmax(z, order=n).weights.round("float64")[0] for n in (size, -size))
    # Terms of even powers of 1/n cancel; what is left is far below the roundings of the weights, times n.
    assert abs((above - below) * size / 2 - by_alpha) <= size * EPS
    assert (above - limit[0]) * (below - limit[0]) < 0
    assert np.sign(by_alpha) != 0


def test_every_key_has_weight_however_far_and_masked_ones_have_none() -> None:
    far = reference.entmax([0.0, -1e300, -np.inf], order=-2)
    weights = far.weights.round("float64")
    assert far.support.tolist() == [True, True, False]
    assert weights[1] == 0.0  # 4e-600 is below every float64, but not 0:
    assert far.weights.values()[1] > 0
    assert weights[2] == 0.0 and weights[0] == 1.0
    assert far.threshold.round("float64") == pytest.approx(-1.0)


def test_a_rational_weight_at_a_midpoint_is_rounded_to_even() -> None:
    # (1 + d)^−1 of the gaps 0 and 1 is 1 : 1/2; and 1/1024 of a tie is half the least number of float8_e4m3fn.
    assert reference.weights([0.0, -1.0], Kernel(-1), Anchored(1)).weights.round("float64").tolist() == [2 / 3, 1 / 3]
    for order in (-2, Fraction(-5, 2)):
        tied = reference.entmax([0.0] * 1024, order=order).weights.round("float8_e4m3fn")
        assert float(tied[0]) == 0.0


def test_no_bandwidth_reaches_scores_that_are_no_distances() -> None:
    # h² − 2s is 1 − 2·0.75 < 0 at the first, and 0 at the second row's first key.
    found = reference.weights([[0.75, 0.0], [0.5, 0.0], [0.25, 0.0]], Kernel(-2), Fixed(1))
    assert found.empty.tolist() == [True, True, False]
    assert found.kink.tolist() == [False, True, False]
    assert found.weights.round("float64")[2].tolist() == [0.8, 0.2]
    with pytest.raises(DomainError, match="empty ball"):
        reference.weights([0.75, 0.0], Kernel(-2), Fixed(1), empty="raise")
    gradient = reference.weights_vjp([0.75, 0.0], [1.0, 0.0], Kernel(-2), Fixed(1))
    assert gradient["scores"].round("float64").tolist() == [0.0, 0.0]


def test_a_tied_maximum_is_a_kink_of_anchored_alone() -> None:
    z = [1.0, 1.0, 0.0]
    assert reference.weights(z, Kernel(-2), Anchored(1)).kink.all()
    for rule in (Adaptive(), Fixed(3)):
        assert not reference.weights(z, Kernel(-2), rule).kink.any()


def test_names_of_the_field() -> None:
    q, k, v = np.zeros((1, 2)), np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]), np.eye(3)
    squares = (k**2).sum(axis=1)
    df, sigma = 3, 1.5
    density = (1 + squares / (df * sigma**2)) ** (-(df + 2) / 2)
    h = np.sqrt(df) * sigma
    found = reference.regression(q, k, v, Student(df), Fixed(h)).y.round("float64")[0]
    # Four roundings of the base, times |n| = 5/2; the power, the sum and the quotient.
    np.testing.assert_allclose(found, density / density.sum(), rtol=16 * EPS)
    assert mechanism("student", df=df, width=2, h=h).kernel.order == Fraction(-5, 2)
    assert mechanism("cauchy", h=1).kernel.order == -1
    assert mechanism("rational_quadratic", power=0.75, h=1).kernel.order == Fraction(-3, 4)
    attended = reference.attention(q[None], k[None], v[None], Student(df), Fixed(h), key_norm_term=True, scale=1)
    np.testing.assert_array_equal(attended.y.round("float64")[0, 0], found)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reference.entmax([0.0], order=-1), "orders below -1 or above 0, alpha above 0; got order -1"),
        (lambda: reference.weights([0.0], Kernel(-0.5), Nearest(2)), "got order -1/2"),
        (lambda: Kernel(-np.inf), r"order must be in \(-inf, inf\]"),
        (lambda: Kernel.from_alpha(0), r"alpha must be in \(0, inf\]; got 0"),
        (lambda: Student(0), "df must be positive and finite"),
        (lambda: reference.weights([0.0], Student(1), Fixed(1)), "depends on the width of keys"),  # type: ignore[arg-type]
        (lambda: mechanism("student", df=1, h=1), "student takes the parameters df, width, h of Fixed"),
        (lambda: mechanism("rational_quadratic", power=-1, h=1), "power must be positive"),
    ],
)
def test_what_has_no_weights_says_so(call: Any, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        call()
