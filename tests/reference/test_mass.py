"""The exact sign of the mass equation, and the zero test for rounding midpoints."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction as F

import pytest

from kernelproof.reference.mass import exact_root, integer_powers_agree, mass_sign, offset_mass_sign, power_sum_is_one


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
        # c = 2^(-1/2) at order 4: (c + δ)^4 + (c − δ)^4 = 2(1/4 + 3δ² + δ⁴), and its c-terms cancel.
        ([F(1, 4), F(-1, 4)], F(1, 4), 4, False),
        ([F(0)] * 4, F(1, 4), 10**6, True),
        ([F(0)] * 4 + [F(-1, 9)], F(1, 5), 10**6, False),
    ],
)
def test_power_sum_is_one(offsets: list[F], power: F, order: int, equal: bool) -> None:
    assert power_sum_is_one(Counter(offsets), power, order) is equal


@pytest.mark.parametrize("bits", [600, 9000, 70000])
def test_a_sum_proved_unequal_gets_the_bits_it_needs(bits: int) -> None:
    # 1024·(1/1024) + 2^-bits: balls cannot tell it from 1 below that many bits.
    c = F(1, 2) ** (bits // 10)
    assert offset_mass_sign([F(0)] * 1024, F(1, 1024), F(10)) == 0
    assert mass_sign([F(1, 2)] * 1024 + [c], F(10)) == 1
    assert offset_mass_sign([F(0)] * 1023 + [c], F(1, 1023), F(10)) == 1


@pytest.mark.parametrize("order", [10**6, 10**30])
def test_a_huge_order_is_unequal_modulo_a_prime(order: int) -> None:
    # 1/2 + 1/2 to 60 bits or more, as (1 − x)^n ≈ e^(−nx) at nx = ln 2, twice.
    x = F(int(0.6931471805599453 * 2**60), 2**60) / order
    assert mass_sign([1 - x, 1 - x], F(order)) in {-1, 1}
    assert integer_powers_agree({3: 1, 4: 1}, 5, order, 0) is False
    assert integer_powers_agree({3: 1, 4: 1}, 5, 2, 1000) is True
    assert integer_powers_agree({3: 1, 4: 1}, 5, 2, 0) is None
