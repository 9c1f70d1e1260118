from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from kernelproof.reports import text


@pytest.mark.parametrize("code", [0, 8, 0x1B, 0x7F, 0x85, 0x202E, 0x2066, 0xFEFF, 0xFFFE, 0xD800, 0xE0001])
def test_what_cannot_be_seen_becomes_an_escape(code: int) -> None:
    cleaned = text.clean(f"a{chr(code)}b")
    assert cleaned.startswith("a\\")
    assert cleaned.endswith("b")
    assert cleaned.isascii()


def test_every_cleaned_character_is_allowed_in_xml() -> None:
    everything = "".join(map(chr, [*range(0x3000), *range(0xD7F0, 0x10040)]))
    element = ET.Element("a")
    element.text = text.clean(everything)
    assert ET.fromstring(ET.tostring(element, encoding="unicode")).text == element.text  # noqa: S314  our own text


def test_ordinary_text_stays() -> None:
    assert text.clean("α → ∞, ‖k‖²\n\tnext line\r\n") == "α → ∞, ‖k‖²\n\tnext line\n"


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
