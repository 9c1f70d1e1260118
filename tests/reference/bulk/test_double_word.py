"""Double-word operations against Fractions, within the constants of the theorems they cite."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F

import numpy as np
import pytest

from kernelproof.reference.bulk import double_word
from kernelproof.reference.bulk.double_word import Word

U = F(1, 2**53)
COUNT = 4000


def value(word: Word) -> F:
    return F(word[0]) + F(word[1])


def some_words(seed: int) -> list[Word]:
    """Normalized double words; tails at and near half a unit, whose errors are the largest, and powers of two."""
    rng = np.random.default_rng(seed)
    heads = rng.choice([-1.0, 1.0], COUNT) * (1.0 + rng.integers(0, 2**52, COUNT) * 2.0**-52)
    heads = np.where(rng.random(COUNT) < 0.2, np.sign(heads), heads) * 2.0 ** rng.integers(-40, 40, COUNT)
    sides = rng.choice([-1.0, 1.0], COUNT)
    tails = np.where(rng.random(COUNT) < 0.3, 0.4999999, 0.5 * rng.random(COUNT)) * np.spacing(np.abs(heads)) * sides
    tails = np.where(rng.random(COUNT) < 0.1, tails * 2.0**-60, tails)
    return [double_word.two_sum(float(h), float(t)) for h, t in zip(heads, tails, strict=True)]


def partners(first: list[Word], seed: int) -> list[Word]:
    """A second operand for each: independent, or nearly the negative of the first, so that sums cancel."""
    rng = np.random.default_rng(seed)
    close = [
        double_word.two_sum(-h * (1.0 + 2.0**-52 * int(rng.integers(-3, 4))), -t * float(rng.random()))
        for h, t in first
    ]
    return [a if rng.random() < 0.5 else b for a, b in zip(some_words(seed), close, strict=True)]


def test_sums_are_exact() -> None:
    for (a, b), (c, d) in zip(some_words(1), partners(some_words(1), 2), strict=True):
        assert value(double_word.two_sum(a, d)) == F(a) + F(d)
        assert value(double_word.two_sum(b, c)) == F(b) + F(c)
        larger, smaller = (a, c) if abs(a) >= abs(c) else (c, a)
        assert value(double_word.fast_two_sum(larger, smaller)) == F(a) + F(c)


@pytest.mark.parametrize("product", [double_word._fused_product, double_word._split_product], ids=["fma", "dekker"])
def test_products_are_exact(product: Callable[[float, float], Word]) -> None:
    for (a, b), (c, d) in zip(some_words(3), some_words(4), strict=True):
        for x, y in ((a, c), (a, d), (b, d)):
            p, e = product(x, y)
            assert p == x * y and F(p) + F(e) == F(x) * F(y)


BINARY: dict[str, tuple[Callable[..., Word], Callable[[F, F], F], F]] = {
    "add": (double_word.add, lambda x, y: x + y, 3 * U**2 + 13 * U**3),
    "mul": (double_word.mul, lambda x, y: x * y, 7 * U**2),
    "div": (double_word.div, lambda x, y: x / y, 15 * U**2 + 56 * U**3),
}
WITH_FLOAT: dict[str, tuple[Callable[..., Word], Callable[[F, F], F], F]] = {
    "add_float": (double_word.add_float, lambda x, y: x + y, 2 * U**2),
    "mul_float": (double_word.mul_float, lambda x, y: x * y, 3 * U**2),
}


@pytest.mark.parametrize("name", BINARY)
def test_an_operation_is_within_its_theorem(name: str) -> None:
    operation, exactly, bound = BINARY[name]
    worst = F(0)
    first = some_words(5)
    for one, two in zip(first, partners(first, 6), strict=True):
        found, truth = operation(*one, *two), exactly(value(one), value(two))
        assert found[0] + found[1] == found[0]
        if truth:
            worst = max(worst, abs(value(found) - truth) / abs(truth))
        else:
            assert value(found) == 0
    # A lower bound too: operations that are exact on all of these prove nothing about the bound.
    assert U**2 / 2 < worst <= bound <= F(double_word.OPERATION)


@pytest.mark.parametrize("name", WITH_FLOAT)
def test_an_operation_with_a_float_is_within_its_theorem(name: str) -> None:
    operation, exactly, bound = WITH_FLOAT[name]
    worst = F(0)
    first = some_words(7)
    for one, (y, _) in zip(first, partners(first, 8), strict=True):
        found, truth = operation(*one, y), exactly(value(one), F(y))
        assert found[0] + found[1] == found[0]
        if truth:
            worst = max(worst, abs(value(found) - truth) / abs(truth))
    assert U**2 / 2 < worst <= bound <= F(double_word.OPERATION)
