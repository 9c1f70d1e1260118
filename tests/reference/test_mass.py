"""The exact sign of the mass equation, and the zero test for rounding midpoints."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from kernelproof.reference.mass import exact_root, mass_sign, power_sum_is_one


@pytest.mark.parametrize(
    ("terms", "order", "sign"),
    [
        ([F(1, 4)] * 2, F(1, 2), 0),
        ([F(1, 4), F(1, 9), F(1, 36)], F(1, 2), 0),
        ([F(1, 4), F(1, 9), F(1, 36) + F(1, 2**300)], F(1, 2), 1),
        ([F(1, 2)] * 4, F(2), 0),
        ([F(1, 2)] * 4 + [F(1, 2**400)], F(2), 1),
        ([F(1)], F(10**12), 0),
        ([F(1), F(1, 2**60)], F(10**12), 1),
        ([F(1, 3), F(2, 3)], F(1), 0),
        ([F(8, 27), F(1, 27)], F(2, 3), -1),
        ([F(1, 8)] * 4, F(2, 3), 0),
        ([], F(3), -1),
    ],
)
def test_mass_sign(terms: list[F], order: F, sign: int) -> None:
    assert mass_sign(terms, order) == sign


def test_exact_root() -> None:
    assert exact_root(F(27, 8), 3) == F(3, 2)
    assert exact_root(F(2), 2) is None
    assert exact_root(F(3), 2**51) is None
    assert exact_root(F(1), 2**51) == 1


@pytest.mark.parametrize(
    ("offsets", "power", "order", "equal"),
    [
        ([F(0)] * 3, F(1, 3), 2, True),
        ([F(0)] * 3, F(1, 2), 2, False),
        ([F(0), F(1, 4), F(-1, 4)], F(1, 3) - F(1, 24), 2, True),
        ([F(0), F(1, 4)], F(1, 3), 2, False),
        ([F(0)] * 5, F(1, 5), 64, True),
        ([F(0), F(1, 5)], F(9, 25), 2, True),
    ],
)
def test_power_sum_is_one(offsets: list[F], power: F, order: int, equal: bool) -> None:
    assert power_sum_is_one(offsets, power, order) is equal
