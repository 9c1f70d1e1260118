"""Correct rounding straight from the exact number, against hardware and ml_dtypes on every representable value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from kernelproof.reference import DomainError
from kernelproof.reference.enclosure import Block, Enclosure
from kernelproof.reference.formats import FORMATS, format_of

SMALL = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("name", SMALL)
def test_representable_values_are_fixed_points_and_midpoints_go_to_even(name: str) -> None:
    target = FORMATS[name]
    bits = np.arange(2 ** (8 * target.dtype.itemsize), dtype=f"u{target.dtype.itemsize}")
    with np.errstate(invalid="ignore"):  # signalling NaNs are among the bit patterns
        values = np.unique(bits.view(target.dtype).astype(np.float64))
    values = values[np.isfinite(values)]
    assert np.array_equal(target.round_floats(values), values)
    middles = (values[:-1] + values[1:]) / 2
    rounded = target.round_floats(middles)
    even = [float(target.round_fraction(Fraction(float(middle)))) for middle in middles[::37]]
    assert np.array_equal(rounded[::37], even)
    # The even neighbour has an even significand: its integer multiple of the spacing is even.
    spacing = values[1:] - values[:-1]
    assert np.all(np.mod(np.abs(rounded) / spacing, 2) == 0)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float32_and_float64_agree_with_hardware(x: float) -> None:
    with np.errstate(over="ignore"):
        assert FORMATS["float32"].round_fraction(Fraction(x)) == float(np.float32(x))
        assert FORMATS["float32"].round_floats(np.array([x]))[0] == float(np.float32(x))
    assert FORMATS["float64"].round_fraction(Fraction(x)) == x


def test_rounding_never_goes_through_another_format() -> None:
    # 1 + 2^-8 + 2^-30: float32 gives 1 + 2^-8, a bfloat16 midpoint that goes to 1; the right answer is 1 + 2^-7.
    value = 1 + 2.0**-8 + 2.0**-30
    assert FORMATS["bfloat16"].round_floats(np.array([value]))[0] == 1 + 2.0**-7
    assert float(np.float32(value)) == 1 + 2.0**-8


def test_ziv_refines_until_decided() -> None:
    asked: list[int] = []

    def refine(bits: int) -> list[arb]:
        asked.append(bits)
        with ctx.workprec(bits + 10):
            return [arb(1) / 3 + arb(0, arb(2) ** -bits)]

    block = Block(np.array([0]), [arb("0.3 +/- 0.2")], refine)
    assert Enclosure((1,), (block,)).round("float64")[0] == 1 / 3
    assert asked == [128]


def test_subnormals_of_arb_round_correctly() -> None:
    half = arb(2) ** -1075
    for factor, expected in ((1, 0.0), (3, 1e-323), (5, 1e-323), (7, 2e-323)):
        block = Block(np.array([0]), [half * factor])
        assert Enclosure((1,), (block,)).round("float64")[0] == expected


def test_unknown_dtype() -> None:
    with pytest.raises(DomainError, match="int32"):
        format_of("int32")
