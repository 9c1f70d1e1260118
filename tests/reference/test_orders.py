"""Orders from 2^-20 to 10^30: roots, supports and gradients of random rows, ties, near ties and huge spreads."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import DomainError

GENERATOR = np.random.default_rng(30)
ROWS: dict[str, list[float]] = {
    "random": GENERATOR.normal(0, 2, 40).tolist(),
    "ties": [0.0, 0.0, 0.0, -1.0, -1.0, -7.0],
    "near ties": [0.0, -(2.0**-52), -1.0, -1 - 2.0**-52],
    "spread": [0.0, -1e10, -1e20, -1e30],
    "spread about 0": [1e30, -1e30, 0.0, 1e30 * (1 - 2.0**-52)],
    "at the order": [0.0, -5e14, -1e15, -1e15, -2e15],
    "scales": (10.0 ** GENERATOR.uniform(-20, 30, 30)).tolist(),
    "a thousand ties": [0.25] * 1000,
}


def limit(z: list[float], order: Fraction) -> list[Any]:
    """Entmax to the second order in 1/n at 200 bits: p[1 + (E − ℓ²)/(2n)] (docs/theory.md §3); 0 where p < 2^-2000."""
    with mpmath.workprec(200):
        top = max(z)
        terms = [mpmath.exp(mpmath.mpf(x) - top) if x - top > -1400 else mpmath.mpf(0) for x in z]
        p = [term / mpmath.fsum(terms) for term in terms]
        squares = [mpmath.log(x) ** 2 if x else mpmath.mpf(0) for x in p]
        spread = mpmath.fsum(x * square for x, square in zip(p, squares, strict=True))
        n = mpmath.mpf(order.numerator) / order.denominator
        return [x * (1 + (spread - square) / (2 * n)) for x, square in zip(p, squares, strict=True)]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("order", ["1e12", "1e15", "2.5e15", "1e16", "1e18", "1e20", "1e25", "1e30"])
def test_large_orders(order: str, row: str) -> None:
    z = ROWS[row]
    n = reference.Kernel(order).order
    assert isinstance(n, Fraction)
    found = reference.entmax(z, order)
    weights = found.weights.round("float64")
    # The next term of L2 is at most (ℓ⁴ + …)/n² ≤ 10^9/10^24 here; then one rounding, and half a subnormal.
    expected = limit(z, n)
    for weight, value in zip(weights.tolist(), expected, strict=True):
        assert abs(weight - value) <= value * (2.0**-53 + 1e-15 * (1e12 / float(n)) ** 2) + 2.0**-1075
    gaps = [Fraction(max(z)) - Fraction(x) for x in z]
    if row != "scales":
        # With one order of magnitude between a gap and n nothing is near the threshold.
        assert found.support.tolist() == [gap < n for gap in gaps]
    assert np.isfinite(found.threshold.round("float64"))
    gradients = reference.entmax_vjp(z, np.linspace(-1, 1, len(z)), order)
    pulled = gradients["z"].round("float64")
    # Σ ∂L/∂z = 0, up to the rounding of its terms.
    assert abs(pulled.sum()) <= len(z) * 2.0**-53 * np.abs(pulled).max()
    assert np.isfinite(gradients["order"].round("float64"))


@pytest.mark.parametrize("at", [1e15, 1e16, 1e20, 1e30])
def test_thresholds_of_large_orders(at: float) -> None:
    # A key at the reach of the kernel: alone with the nearest it is exactly at the threshold.
    found = reference.entmax([0.0, -at], at)
    assert found.boundary.tolist() == [False, True] and found.support.tolist() == [True, False]
    inside = reference.entmax([0.0, np.nextafter(-at, 0)], at)
    assert inside.support.all() and inside.weights.round("float64").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("order", [1.4500730954813049e27, 2.7355628146455525e24])
def test_a_last_key_one_unit_inside_the_threshold(order: float) -> None:
    # Its base is 2^-52, and n of them are far more than a weight: the root is narrow where its image is wide.
    gaps = [0.0] * 7 + [1.0] * 8 + [order / 2] * 5 + [np.nextafter(order, 0)] * 6 + [order] * 6
    found = reference.entmax([-gap for gap in gaps], order)
    assert found.support.tolist() == [gap < order for gap in gaps]
    share = 1 / (7 + 8 * np.exp(-1.0))
    # exp, a product, a sum and a quotient in float64; 1/n of L2 is far below.
    expected = [share] * 7 + [share * np.exp(-1.0)] * 8 + [0.0] * 17
    assert np.allclose(found.weights.round("float64"), expected, rtol=8 * 2.0**-53, atol=0)


@pytest.mark.parametrize("order", [Fraction(1, 2**20), "1e-5", "1e-3"])
@pytest.mark.parametrize("row", ["ties", "near ties", "a thousand ties", "random"])
def test_small_orders(order: Any, row: str) -> None:
    z = ROWS[row]
    tied = sum(1 for x in z if x == max(z))
    weights = reference.entmax(z, order).weights.round("float64")
    # A gap of 2^-52 is inside the reach n, and any of the others beyond it.
    if row != "near ties":
        assert np.array_equal(weights[: len(z)], [1 / tied if x == max(z) else 0.0 for x in z])
    assert abs(weights.sum() - 1) <= 4 * 2.0**-53


def test_gradients_beyond_float64_overflow() -> None:
    # u^(n−1) of two ties is 2^(1/n − 1): beyond every float64 at n = 10^-5.
    pulled = reference.entmax_vjp([0.0, 0.0], [0.0, 1.0], "1e-5")["z"].round("float64")
    assert pulled.tolist() == [-np.inf, np.inf]


def test_the_range_of_orders() -> None:
    with pytest.raises(DomainError, match=r"2\*\*-20"):
        reference.entmax([0.0, 1.0], Fraction(1, 2**21))
    assert reference.entmax([0.0, 1.0], "1e300").weights.round("float64").sum() == 1.0
