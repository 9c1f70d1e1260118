"""Numbers and foreign strings as text that is safe and readable in every format.

A NaN or an infinity may come as a float or, in cells read back from JSON, as its name; both print alike.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any

NARROW_SPACE = "\u202f"
MISSING = "–"
_WORDS = {"NaN": "NaN", "Infinity": "∞", "-Infinity": "−∞"}
_KEPT = "\n\t"


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


def number(value: Any, digits: int = 3) -> str:
    r"""A cell as text: a float to `digits` significant digits, an int in groups of three, a string as it is.

    >>> number(0.000123456), number(1234567), number(float("-inf")), number(None), number("NaN"), number(2.0)
    ('1.23e-4', '1\u202f234\u202f567', '−∞', '–', 'NaN', '2.00')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", NARROW_SPACE).replace("-", "−")
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return _decimal(float(value), digits)


def _decimal(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    mantissa, _, power = f"{abs(value):.{digits - 1}e}".partition("e")
    exponent = int(power)
    sign = "−" if value < 0 else ""
    if -3 <= exponent < 5:
        body = f"{float(f'{mantissa}e{exponent}'):.{max(digits - 1 - exponent, 0)}f}"
        whole, dot, rest = body.partition(".")
        return sign + f"{int(whole):,}".replace(",", NARROW_SPACE) + dot + rest
    return f"{sign}{mantissa}e{exponent}"


def short(count: int) -> str:
    """A count in at most four characters or so, for cells of a heat map.

    >>> short(999), short(1500), short(23_400_000)
    ('999', '1.5k', '23M')
    """
    if count < 1000:
        return str(count)
    # 999 500 would print as 1000k, so the next unit begins there.
    size, suffix = next((s, x) for s, x in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if count >= 0.9995 * s)
    scaled = count / size
    return f"{scaled:.1f}{suffix}" if scaled < 9.95 else f"{scaled:.0f}{suffix}"


def duration(seconds: float) -> str:
    """A span of time in words of the clock.

    >>> duration(0.5), duration(83), duration(7260)
    ('0.500 s', '1 min 23 s', '2 h 1 min')
    """
    if not math.isfinite(seconds) or seconds < 60:
        return f"{number(float(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
