"""Spans of time in the notation of the command line."""

from __future__ import annotations

from kernelproof.reference.errors import DomainError, shown
from kernelproof.verify.process.limits import LONGEST

_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> float:
    """Parse a span of time such as 90, 90s, 5m or 1h, and return its seconds.

    Raises:
        DomainError: the text is not a span of time, or the span is not positive, or longer than a year.

    >>> seconds_of("5m")
    300.0
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = 0.0
    if not 0 < found <= LONGEST:
        msg = f"a time must be positive and at most a year, such as 90s, 5m or 1h; got {shown(text)}"
        raise DomainError(msg)
    return found


def check_run(seconds: float | None, name: str, count: int | None) -> None:
    """Check how long a search is to run: `seconds`, and a `count` that is called `name`; None: no limit.

    Raises:
        DomainError: the seconds are not positive or exceed a year, or the count is no positive int.
    """
    if seconds is not None and (isinstance(seconds, bool) or not 0 < seconds <= LONGEST):
        msg = f"seconds must be a positive number of at most a year; got {seconds!r}"
        raise DomainError(msg)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        msg = f"{name} must be an int of at least 1; got {count!r}"
        raise DomainError(msg)
