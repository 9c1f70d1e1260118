"""Claims: the numbers that the script of a failure checks, each with the interval that is allowed for it.

Every claim follows from the truth of the exact inputs in the script and from the contract of the target, so a repaired
target meets all of them. Where two calls must agree, each is compared with its own truth: if they differ by more than
the sum of the errors allowed to both, at least one of them does not meet its claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.judging.errors import select_rows
from kernelproof.verify.records import Call, Floats, Judgement, Outcome, Truth, Values

MOST = 24
"""How many claims a script shows; those that are not met come first."""
_LOOKED_AT = 64 * MOST
"""How many elements of one array may become claims; the worst ones are taken."""


class Evidence(Enum):
    """What the script of a failure shows."""

    NUMBERS = "the numbers of rows and of gradients, held against claims"
    ARRAYS = "the arrays as the target returns them: their dtypes and shapes"
    REPEATS = "the same call gives other bits"
    INPUTS = "a call changes what it is given"
    KEPT = "a later call changes what an earlier one returned"
    STATE = "a call changes the state of its process"


class Raises(Enum):
    """Whether a call may raise an exception instead of returning."""

    NEVER = "it must return"
    EMPTY_ROWS = "it must return, unless it was given a row with nothing to attend to"
    MAY = "it may return or raise; what it returns is judged"
    MUST = "it must raise"


@dataclass(frozen=True)
class Claim:
    """One number.

    Attributes:
        expression: the Python expression for the number in the script, and its name in the output of the script.
        expected: the exact value, correctly rounded to the dtype.
        low: the least that is allowed; NaN if the number must be NaN.
        high: the largest that is allowed.
        value: the number that the target returned.
    """

    expression: str
    expected: float
    low: float
    high: float
    value: float

    @property
    def met(self) -> bool:
        """Whether `value` is allowed."""
        return self.low <= self.value <= self.high or (math.isnan(self.low) and math.isnan(self.value))


@dataclass(frozen=True)
class Seen:
    """One call of a check, with its outcome.

    Attributes:
        variable: the name of its output in the script.
        truth: the truth of the inputs of this call; None if they have none.
    """

    variable: str
    call: Call
    outcome: Outcome
    truth: Truth | None

    @property
    def rows(self) -> Floats | None:
        """(R, w) the checked rows of a forward call; None without a truth, an output, or the right shape."""
        if self.truth is None or "output" not in self.outcome.arrays:
            return None
        found = select_rows(self.outcome.arrays["output"], self.truth.output.head.shape, self.call.inputs)
        return None if isinstance(found, Judgement) else found


def rounded(head: float, tail: float, target: Format) -> float:
    """Round head + tail once to `target`; a number that is not finite is returned as it is."""
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
        # No grade allows a result that is not finite where the exact value is finite.
        return -FORMATS["float64"].largest, FORMATS["float64"].largest
    exact, slack = Fraction(head) + Fraction(tail), Fraction(allowed)
    low, high = least_float(exact - slack), -least_float(-(exact + slack))
    # A number beyond the range of the format may be returned as its rounded value, such as an infinity.
    return (low, high) if math.isfinite(expected) else (min(low, expected), max(high, expected))


def elements(
    variable: str, raw: Floats, values: Values, allowed: Floats, decided: Any, target: Format
) -> Iterator[Claim]:
    """Claim each `decided` element of `raw`, which the target returned; of large arrays, only the worst ones."""
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
            # In a format without infinities, NaN or the largest number stands for a number beyond its range.
            expected = math.copysign(target.largest, head)
            expression = f"np.nan_to_num({expression}, nan={expected!r})"
            value = expected if math.isnan(value) else value
            low, high = min(low, expected), max(high, expected)
        yield Claim(expression, expected, low, high, value)


def flag(expression: str, *, came: bool) -> Claim:
    """Claim that `expression` is true; `came` says whether it is."""
    return Claim(expression, 1.0, 1.0, 1.0, float(came))


def lacking(one: Seen, name: str, shape: tuple[int, ...]) -> Claim | None:
    """Claim that there is a gradient for `name` or, if there is one, that it has this shape; None if both hold."""
    held = one.outcome.arrays.get(name)
    if held is None:
        return flag(f'"{name}" in {one.variable}', came=False)
    return None if held.shape == shape else flag(f'{one.variable}["{name}"].shape == {shape!r}', came=False)
