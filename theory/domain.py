"""Domains as objects: which values the variables of a statement may have, and whether one domain covers another.

Evidence says on which domain it was obtained, in these words, and the program compares that with the domain of the
statement: words are for the reader only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from pydantic import Field

from kernelproof.reference.errors import ClaimError
from kernelproof.reference.record import Record

End = Fraction | int | str | None
"""An end of a range: a rational number, also as text such as "1/3"; None where there is none."""


class Range(Record):
    """The real numbers from `low` to `high`, or the integers among them.

    Attributes:
        low: the lower end as text, such as "1/3"; None for −∞.
        high: the upper end; None for ∞.
        open_low: whether the lower end is left out.
        open_high: whether the upper end is left out.
        integer: whether only integers are meant.
        index: for a sequence of such numbers, the name of its index; else empty.
        without: the ends of an interval inside the range that is left out, both ends too: ("-1", "0").
    """

    low: str | None = None
    high: str | None = None
    open_low: bool = False
    open_high: bool = False
    integer: bool = False
    index: str = ""
    without: tuple[str, str] | None = None

    @property
    def ends(self) -> tuple[Fraction | None, Fraction | None]:
        """Both ends as numbers; None where there is none."""
        return _number(self.low), _number(self.high)

    @property
    def size(self) -> int | None:
        """How many numbers there are; None for infinitely many."""
        low, high = self.ends
        if low is None or high is None or self.without is not None:
            return None
        if not self.integer:
            return 1 if low == high and not (self.open_low or self.open_high) else None
        first = low.__floor__() + 1 if self.open_low else low.__ceil__()
        last = high.__ceil__() - 1 if self.open_high else high.__floor__()
        return max(last - first + 1, 0)

    def covers(self, other: Range) -> bool:
        """Whether every number of `other` is one of this range.

        >>> closed(0, 1).covers(closed("1/4", "1/2")), positive().covers(nonnegative()), positive().covers(integers(1))
        (True, False, True)
        >>> nonzero().covers(orders()), orders().covers(positive()), positive().covers(orders())
        (True, True, False)
        """
        if not self._misses(other):
            return False
        if (self.integer and not other.integer) or bool(self.index) != bool(other.index):
            return False
        mine, theirs = self._least(), other._least()
        below = mine[0] is None or (theirs[0] is not None and (mine[0], mine[1]) <= (theirs[0], theirs[1]))
        mine, theirs = self._greatest(), other._greatest()
        above = mine[0] is None or (theirs[0] is not None and (-mine[0], mine[1]) <= (-theirs[0], theirs[1]))
        return below and above

    def _misses(self, other: Range) -> bool:
        """Whether no number of `other` is in the interval that this range leaves out."""
        if self.without is None:
            return True
        low, high = map(Fraction, self.without)
        if other.without is not None:
            first, last = map(Fraction, other.without)
            if first <= low and high <= last:
                return True
        (least, open_least), (greatest, open_greatest) = other._least(), other._greatest()
        above = least is not None and (least > high or (open_least and least == high))
        below = greatest is not None and (greatest < low or (open_greatest and greatest == low))
        return above or below

    def _least(self) -> tuple[Fraction | None, bool]:
        """The lower end and whether it is left out; of integers the least one, which is not."""
        low = self.ends[0]
        if low is None or not self.integer:
            return low, self.open_low
        return Fraction(low.__floor__() + 1 if self.open_low else low.__ceil__()), False

    def _greatest(self) -> tuple[Fraction | None, bool]:
        high = self.ends[1]
        if high is None or not self.integer:
            return high, self.open_high
        return Fraction(high.__ceil__() - 1 if self.open_high else high.__floor__()), False

    def __str__(self) -> str:
        low = "(−∞" if self.low is None else f"{'(' if self.open_low else '['}{self.low}"
        high = "∞)" if self.high is None else f"{self.high}{')' if self.open_high else ']'}"
        text = "ℝ" if self.low is None and self.high is None else f"{low}, {high}"
        if self.integer:
            text = "ℤ" if text == "ℝ" else f"ℤ ∩ {text}"
        if self.without is not None:
            first, last = self.without
            text += f" without {first}" if first == last else f" without [{first}, {last}]"
        return f"{text} for every {self.index}" if self.index else text


class Domain(Record):
    """The values of the variables of a statement, or those for which evidence was obtained.

    Attributes:
        ranges: name of a variable -> its range.
        conditions: what must hold besides, such as "h > 0"; each makes the domain smaller.
        cases: how many single cases were looked at, where these and not ranges were; else None.
    """

    ranges: dict[str, Range] = Field(default_factory=dict)
    conditions: list[str] = Field(default_factory=list)
    cases: int | None = None

    def __str__(self) -> str:
        if self.cases is not None:
            return f"{self.cases} single {'case' if self.cases == 1 else 'cases'}"
        groups: dict[str, list[str]] = {}
        for name, values in self.ranges.items():
            groups.setdefault(str(values), []).append(name)
        texts = [f"{', '.join(names)} in {values}" for values, names in groups.items()]
        return "; ".join([*texts, *self.conditions]) or "no variables"

    def lacks(self, stated: Domain, *, shared: bool = False) -> str | None:
        """Why this domain does not cover `stated`, or None if it does.

        Args:
            stated: the domain of the statement.
            shared: compare only the variables that both name, for a step of a proof, which has variables of its own.
        """
        if self.cases is not None:
            return (
                f"it was obtained for {self}, which {'is' if self.cases == 1 else 'are'} not comparable with {stated}"
            )
        names = stated.ranges.keys() & self.ranges.keys() if shared else stated.ranges.keys()
        for name in sorted(names):
            if name not in self.ranges:
                return f"it does not name {name}, so the domains are not comparable"
            if not self.ranges[name].covers(stated.ranges[name]):
                return (
                    f"it was obtained for {name} in {self.ranges[name]}, and {name} in {stated.ranges[name]} is stated"
                )
        if shared:
            for each in self.conditions:
                named = self.ranges.keys() & re.findall(r"\w+", each)
                if named and named <= stated.ranges.keys() and each not in stated.conditions:
                    return f"it was obtained where {each}, which is not stated"
        else:
            if more := sorted(self.ranges.keys() - stated.ranges.keys()):
                return f"it has the variables {', '.join(more)}, which the statement does not"
            if added := [each for each in self.conditions if each not in stated.conditions]:
                return f"it was obtained where {' and '.join(added)}, which is not stated"
        return None


def real(*, index: str = "") -> Range:
    """All real numbers."""
    return Range(index=index)


def positive(*, index: str = "") -> Range:
    """All real numbers above 0."""
    return Range(low="0", open_low=True, index=index)


def nonnegative(*, index: str = "") -> Range:
    """All real numbers from 0 on."""
    return Range(low="0", index=index)


def nonzero() -> Range:
    """All real numbers but 0."""
    return Range(without=("0", "0"))


def orders() -> Range:
    """The finite orders n with α = 1 + 1/n > 0: above 0, and below −1.

    >>> str(domain(n=orders()))
    'n in ℝ without [-1, 0]'
    """
    return Range(without=("-1", "0"))


def closed(low: End, high: End) -> Range:
    """All real numbers from `low` to `high`, both included."""
    return Range(low=_text(low), high=_text(high))


def between(low: End, high: End) -> Range:
    """All real numbers from `low` to `high`, both left out; None for no end."""
    return Range(low=_text(low), high=_text(high), open_low=low is not None, open_high=high is not None)


def integers(low: End = None, high: End = None) -> Range:
    """All integers from `low` to `high`; None for no end."""
    return Range(low=_text(low), high=_text(high), integer=True)


def domain(ranges: Mapping[str, Range] | None = None, *conditions: str, **more: Range) -> Domain:
    """The domain with these ranges, by name, and conditions.

    >>> str(domain(n=positive(), beta=positive(), m=integers(1)))
    'n, beta in (0, ∞); m in ℤ ∩ [1, ∞)'
    """
    return Domain(ranges={**(ranges or {}), **more}, conditions=list(conditions))


def cases(count: int) -> Domain:
    """The domain of `count` single cases."""
    return Domain(cases=count)


def _text(end: End) -> str | None:
    return None if end is None else str(_number(end))


def _number(end: End) -> Fraction | None:
    try:
        return None if end is None else Fraction(end)
    except (ValueError, ZeroDivisionError) as error:
        msg = f"an end of a range must be a rational number; got {end!r}"
        raise ClaimError(msg) from error
