"""Strings from outside as text that every file and terminal can show: no lone surrogates, no control characters."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"


def encodable(text: str) -> str:
    r"""`text` with its lone surrogates, which UTF-8 cannot hold, replaced by escapes such as ``\ud800``.

    >>> encodable("a\ud800") == "a" + chr(92) + "ud800"
    True
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def clean(text: str) -> str:
    r"""`text` with every character that cannot be seen, or is no character of XML, spelled as an escape.

    Control characters, lone surrogates, noncharacters and marks that reverse the reading direction become ``\x1b``
    or ``\u202e``; newlines and tabs stay, and ``\r\n`` becomes ``\n``.

    >>> clean("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text.replace("\r\n", "\n"))


def _visible(character: str) -> str:
    if character in _KEPT or character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    r"""`text` cleaned, with every run of white space as one space.

    >>> one_line("a\n   b")
    'a b'
    """
    return " ".join(clean(text).split())
