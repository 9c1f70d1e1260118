from __future__ import annotations

import math

import pytest

from kernelproof.reports import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.nan, "NaN"),
        ("NaN", "NaN"),
        (math.inf, "∞"),
        ("Infinity", "∞"),
        (-math.inf, "−∞"),
        (None, "–"),
        (True, "yes"),
        (99999.6, "1.00e5"),
        (9.999, "10.0"),
        (0.00099999, "0.00100"),
        (-0.5, "−0.500"),
        (5e-324, "4.94e-324"),
        (1.7976931348623157e308, "1.80e308"),
        (12345.6, "12\u202f300"),
        (-1234, "−1\u202f234"),
    ],
)
def test_numbers(value: object, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(("count", "shown"), [(999, "999"), (999_499, "999k"), (999_500, "1.0M"), (9_960, "10k")])
def test_short_counts(count: int, shown: str) -> None:
    assert text.short(count) == shown


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 0.0, 59.999, 60.0, 1e9])
def test_a_duration_is_always_text(seconds: float) -> None:
    assert text.duration(seconds)
