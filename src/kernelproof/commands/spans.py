"""Spans of time in the notation of the command line."""

from __future__ import annotations

from kernelproof.reference.errors import DomainError

_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> float:
    """Parse a span of time such as 90, 90s, 5m or 1h, and return its seconds.

    Raises:
        DomainError: the text is not a span of time, or the span is not positive.

    >>> seconds_of("5m")
    300.0
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        msg = f"a time must be positive, such as 90s, 5m or 1h; got {text!r}"
        raise DomainError(msg)
    return found
