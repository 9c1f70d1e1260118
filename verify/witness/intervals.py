"""The numbers that a witness script claims, and the intervals that are allowed for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.records import Call, Floats, Outcome, Truth, Values

MOST = 24
"""Claims that a script shows; those that are not met come first."""
_LOOKED_AT = 64 * MOST
"""Elements of one array that may be claims, the worst of them."""


@dataclass(frozen=True)
class Claim:
    """One number.

    Attributes:
        expression: of the script, also its name.
        expected: the exact value, correctly rounded to the dtype.
        low: the least that is allowed; NaN if the number must be NaN.
        high: the largest that is allowed.
        value: what came.
    """

    expression: str
    expected: float
    low: float
    high: float
    value: float

    @property
    def met(self) -> bool:
        """Whether what came is allowed."""
        return self.low <= self.value <= self.high or (math.isnan(self.low) and math.isnan(self.value))


@dataclass(frozen=True)
class Seen:
    """One call of a check with what came of it.

    Attributes:
        variable: the name of its output in the script.
        truth: of the inputs of this call, or None where there is none.
    """

    variable: str
    call: Call
    outcome: Outcome
    truth: Truth | None


def rounded(head: float, tail: float, target: Format) -> float:
    """head + tail rounded once to `target`; what is not finite stays."""
    return target.round_fraction(Fraction(head) + Fraction(tail)) if math.isfinite(head) else head


def least_float(value: Fraction) -> float:
    """The least float64 that is not below `value`."""
    try:
        near = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def interval(head: float, tail: float, allowed: float, expected: float) -> tuple[float, float]:
    """The least and the largest float64 within `allowed` of head + tail, which is `expected` when rounded."""
    if not math.isfinite(head):
        return head, head
    if not math.isfinite(allowed):
        # No grade allows what is not finite, where the exact value is.
        return -FORMATS["float64"].largest, FORMATS["float64"].largest
    exact, slack = Fraction(head) + Fraction(tail), Fraction(allowed)
    low, high = least_float(exact - slack), -least_float(-(exact + slack))
    # A number beyond the format may come as what stands for it.
    return (low, high) if math.isfinite(expected) else (min(low, expected), max(high, expected))


def elements(
    variable: str, raw: Floats, values: Values, allowed: Floats, decided: Any, target: Format
) -> Iterator[Claim]:
    """A claim for each element that is `decided`, of large arrays for the worst ones; `raw` is what came."""
    places = np.argwhere(np.broadcast_to(decided, raw.shape))
    if len(places) > _LOOKED_AT:
        with np.errstate(all="ignore"):
            ratio = np.abs((raw - values.head) - values.tail) / allowed
        ratio = np.where(np.isnan(ratio), np.inf, ratio)[tuple(places.T)]
        places = places[np.argsort(-ratio, kind="stable")[:_LOOKED_AT]]
    for index in places:
        at = tuple(int(i) for i in index)
        head, tail = float(values.head[at]), float(values.tail[at])
        expected = rounded(head, tail, target)
        low, high = interval(head, tail, float(allowed[at]), expected)
        expression, value = f"{variable}{list(at) if at else '[()]'}", float(raw[at])
        if math.isnan(expected) and math.isfinite(head):
            # In a format without infinities NaN stands for what is beyond it, or its largest number does.
            expected = math.copysign(target.largest, head)
            expression = f"np.nan_to_num({expression}, nan={expected!r})"
            value = expected if math.isnan(value) else value
            low, high = min(low, expected), max(high, expected)
        yield Claim(expression, expected, low, high, value)


def flag(expression: str, *, came: bool) -> Claim:
    """The claim that `expression` is true; `came`: whether it is."""
    return Claim(expression, 1.0, 1.0, 1.0, float(came))
