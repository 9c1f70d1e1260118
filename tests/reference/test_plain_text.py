from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from kernelproof.reference.plain_text import clean, encodable
from kernelproof.reference.progress import Progress


@pytest.mark.parametrize("code", [0, 8, 0x1B, 0x7F, 0x85, 0x202E, 0x2066, 0xFEFF, 0xFFFE, 0xD800, 0xE0001])
def test_what_cannot_be_seen_becomes_an_escape(code: int) -> None:
    cleaned = clean(f"a{chr(code)}b")
    assert cleaned.startswith("a\\")
    assert cleaned.endswith("b")
    assert cleaned.isascii()


def test_every_cleaned_character_is_allowed_in_xml() -> None:
    everything = "".join(map(chr, [*range(0x3000), *range(0xD7F0, 0x10040)]))
    element = ET.Element("a")
    element.text = clean(everything)
    assert ET.fromstring(ET.tostring(element, encoding="unicode")).text == element.text  # noqa: S314  our own text


def test_ordinary_text_stays() -> None:
    assert clean("α → ∞, ‖k‖²\n\tnext line\r\n") == "α → ∞, ‖k‖²\n\tnext line\n"


def test_only_lone_surrogates_are_no_text_for_a_file() -> None:
    assert encodable("α\U00010000\0\x1b") == "α\U00010000\0\x1b"
    assert encodable("a\ud800b") == "a\\ud800b"


def test_progress_says_what_a_terminal_can_show(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(1, shown=True).say("bad \ud800 \x1b[31m")
    assert capsys.readouterr().err == "kernelproof: bad \\ud800 \\x1b[31m\n"
