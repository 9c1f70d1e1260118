"""Format numbers, counts and times for people, as plain text for every format of a report.

A NaN or an infinity may be a float or, in cells read back from JSON, its name; both print alike.
"""

from __future__ import annotations

import math
from typing import Any

NARROW_SPACE = "\u202f"
MISSING = "–"
INTERRUPTED = "The run was interrupted: what it had not come to is missing."
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_WORDS = {"NaN": "NaN", "Infinity": "∞", "-Infinity": "−∞"}


def number(value: Any, digits: int = 3) -> str:
    r"""Return a cell as text: a float to `digits` significant digits, an int in groups of three, a string as it is.

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


def size(value: float) -> str:
    """Return a size that a definition states, with a power of ten written as one.

    >>> size(4.0), size(1000.0), size(1e6), size(2.5)
    ('4', '10³', '10⁶', '2.5')
    """
    power = round(math.log10(value)) if value > 0 else 0
    if power >= 3 and value == 10.0**power:
        return f"10{str(power).translate(_SUPERSCRIPTS)}"
    return f"{value:g}"


def short(count: int) -> str:
    """Return a count in about four characters at most, for cells of a heat map.

    >>> short(999), short(1500), short(23_400_000)
    ('999', '1.5k', '23M')
    """
    if count < 1000:
        return str(count)
    # From 999 500 on a count would print as 1000k, so the next unit begins there.
    size, suffix = next((s, x) for s, x in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if count >= 0.9995 * s)
    scaled = count / size
    return f"{scaled:.1f}{suffix}" if scaled < 9.95 else f"{scaled:.0f}{suffix}"


def duration(seconds: float) -> str:
    """Return a span of time in seconds, minutes or hours.

    >>> duration(0.5), duration(83), duration(7260)
    ('0.500 s', '1 min 23 s', '2 h 1 min')
    """
    if not math.isfinite(seconds) or seconds < 60:
        return f"{number(float(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
