"""Parameters that differ from row to row: each row is what it is alone, and gradients have the shape of their array."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest

Z = np.random.default_rng(0).normal(size=(2, 4, 5))
G = np.random.default_rng(1).normal(size=Z.shape)
EPS = 2.0**-52
"""Of sums of at most four numbers that are each rounded once, and of what mpmath leaves of 96 bits."""
ORDERS = np.array([1.0, 1.5, np.inf, -2.0])


def numbers(found: Any) -> Any:
    return found.round("float64")


def test_rows_of_every_kind_of_order_are_what_they_are_alone() -> None:
    found = reference.entmax(Z, order=ORDERS[:, None])
    back = reference.entmax_vjp(Z, G, order=ORDERS[:, None])
    for at, order in enumerate(ORDERS):
        alone = reference.entmax(Z[:, at], order=order)
        np.testing.assert_array_equal(numbers(found.weights)[:, at], numbers(alone.weights))
        np.testing.assert_array_equal(numbers(found.threshold)[:, at], numbers(alone.threshold))
        for flag in ("support", "boundary", "margin", "empty", "unsure", "kink"):
            np.testing.assert_array_equal(getattr(found, flag)[:, at], getattr(alone, flag))
        by = reference.entmax_vjp(Z[:, at], G[:, at], order=order)
        np.testing.assert_array_equal(numbers(back["z"])[:, at], numbers(by["z"]))
        # Rows that share a number add to its gradient.
        assert numbers(back["order"])[at, 0] == numbers(by["order"])
    assert back["order"].shape == (4, 1)
    assert found.weights.certified


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_the_array_stands_in_the_place_of_the_keys(dim: int) -> None:
    alphas = np.array([2.0, 1.5, 1.0, 0.5])[None, :, None]
    z, g, alpha = (np.moveaxis(each, 2, dim) for each in (Z, G, alphas))
    found = reference.entmax(z, alpha=alpha, dim=dim)
    plain = reference.entmax(Z, alpha=alphas)
    np.testing.assert_array_equal(np.moveaxis(numbers(found.weights), dim, 2), numbers(plain.weights))
    back = reference.entmax_vjp(z, g, alpha=alpha, dim=dim)["alpha"]
    assert back.shape == alpha.shape
    expected = [numbers(reference.entmax_vjp(Z[:, at], G[:, at], alpha=alphas[0, at, 0])["alpha"]) for at in range(4)]
    np.testing.assert_array_equal(numbers(back).ravel(), expected)


@pytest.mark.parametrize(
    ("name", "rule"), [("beta", Adaptive), ("h", Fixed), ("gamma", Anchored)], ids=["adaptive", "fixed", "anchored"]
)
@pytest.mark.parametrize("kept", [None, 3])
def test_parameters_of_rules_in_arrays_of_any_shape_that_broadcasts(name: str, rule: Any, kept: int | None) -> None:
    values = np.array([[[2.0]], [[2.5]]])
    orders = np.array([2.0, np.inf, -3.0, 0.5])[:, None]

    def made(number: Any) -> Any:
        return rule(number) if kept is None else Nearest(kept, rule(number))

    found = reference.weights(Z, Kernel(orders), made(values))
    back = reference.weights_vjp(Z, G, Kernel(orders), made(values))
    assert back[name].shape == values.shape and back["order"].shape == orders.shape
    each = np.zeros((2, 2, 4))
    for b in range(2):
        for t in range(4):
            point = (Kernel(orders[t, 0]), made(values[b, 0, 0]))
            alone = reference.weights(Z[b, t], *point)
            np.testing.assert_array_equal(numbers(found.weights)[b, t], numbers(alone.weights))
            by = reference.weights_vjp(Z[b, t], G[b, t], *point)
            each[0, b, t], each[1, b, t] = numbers(by[name]), numbers(by["order"])
    # Sums of numbers that are rounded here, and that may cancel.
    for got, terms, axis in ((numbers(back[name])[:, 0, 0], each[0], 1), (numbers(back["order"])[:, 0], each[1], 0)):
        np.testing.assert_allclose(got, terms.sum(axis=axis), rtol=0, atol=4 * EPS * np.abs(terms).max())


def test_numbers_are_exact_and_the_second_opinion_agrees() -> None:
    alphas = np.array([[Fraction(4, 3)], [Fraction(3, 2)], ["5/3"], [1]], dtype=object)
    kernel = Kernel.from_alpha(alphas)
    assert kernel.order.numbers == (3, 2, Fraction(3, 2), np.inf)
    assert kernel.alpha.numbers == (Fraction(4, 3), Fraction(3, 2), Fraction(5, 3), 1)
    ours = reference.entmax_vjp(Z, G, alpha=alphas)
    second = reference.entmax_vjp(Z, G, alpha=alphas, arithmetic="mpmath")
    for name in ("z", "alpha"):
        np.testing.assert_allclose(numbers(ours[name]), numbers(second[name]), rtol=4 * EPS)
    assert not second["z"].certified
    assert reference.entmax(np.empty((0, 3)), order=np.empty((0, 1))).weights.shape == (0, 3)


def test_empty_rows_are_treated_as_the_policy_says() -> None:
    h = np.array([[3.0], [0.1], [3.0], [0.1]])
    found = reference.weights(Z[0] - 4, Kernel(1), Fixed(h), empty="zeros")
    assert found.empty.tolist() == [False, True, False, True]
    assert numbers(found.weights)[1].tolist() == [0.0] * 5
    with pytest.raises(DomainError, match="row 1 has nothing to attend to"):
        reference.weights(Z[0] - 4, Kernel(1), Fixed(np.array([[9.0], [0.1], [9.0], [9.0]])), empty="raise")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reference.entmax(Z, order=np.ones(3)), r"order must be a number or broadcast .*\(2, 4, 1\); got an"),
        (lambda: reference.entmax(Z, alpha=np.ones((4, 5))), r"alpha must be a number or broadcast"),
        (lambda: reference.entmax(Z, alpha=[[1.5], [0.0], [2], [2]]), r"alpha must be in \(0, inf\]; got 0"),
        (lambda: reference.entmax(Z, order=np.array([[1], [np.nan], [1], [2]])), "order must be a number; got nan"),
        (lambda: reference.entmax(Z, order=np.array([[1], [-0.5], [1], [2]])), "got order -1/2"),
        (lambda: reference.weights(Z, Kernel(np.zeros((4, 1))), Adaptive()), "order 0 is defined with Fixed"),
        (lambda: reference.weights(Z, Kernel(1), Fixed(np.zeros((4, 1)))), "h must be positive and finite; got 0.0"),
        (lambda: reference.regression(Z, Z, Z, Kernel(ORDERS), Fixed(1)), "one order holds for all rows here"),
        (lambda: reference.regression(Z, Z, Z, Kernel(1), Fixed([1, 2])), "one parameter of the rule holds"),
    ],
)
def test_what_does_not_broadcast_or_defines_nothing_says_so(call: Any, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        call()
