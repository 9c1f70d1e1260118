"""Exponents of cost."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof.verify.bench.power_law import exponent

XS = [float(2**k) for k in range(8)]


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_a_power_is_found(power: float) -> None:
    fit = exponent(XS, [3 * x**power for x in XS])
    assert fit is not None
    assert fit.interval is not None
    # The logarithms go up to log 3 + 14·log 2, and their slope is a quotient of sums of 8 products.
    assert fit.exponent == pytest.approx(power, abs=8 * 16 * np.finfo(np.float64).eps)
    assert fit.interval[1] - fit.interval[0] < 1e-9
    assert (fit.first, fit.last, fit.points) == (1.0, 128.0, 8)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        fit = exponent(XS, [x * float(np.exp(0.1 * draw.normal())) for x in XS])
        assert fit is not None
        assert fit.interval is not None
        held += fit.interval[0] <= 1.0 <= fit.interval[1]
    # Binomial(400, 0.95) has standard deviation 4.4; four of them.
    assert 380 - 17.5 <= held <= 380 + 17.5


def test_two_points_have_no_interval_and_one_no_exponent() -> None:
    fit = exponent([1.0, 2.0], [4.0, 2.0])
    assert fit is not None
    assert fit.interval is None
    assert fit.exponent == pytest.approx(-1.0)
    assert exponent([1.0], [4.0]) is None
    assert exponent([2.0, 2.0], [4.0, 5.0]) is None
