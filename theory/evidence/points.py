"""Points of a domain at which an expression is looked at: random ones, those at its boundary, and ones far out.

A difference between two sides at one of them refutes an identity before anything is simplified, so that a bug in the
simplifier cannot turn it into a proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from random import Random
from types import MappingProxyType
from typing import Any

import sympy
from sympy import Expr, Indexed, IndexedBase, Rational, Symbol

from kernelproof.theory.domain import Range

POINTS = 6
DIGITS = 60
"""Decimal digits of the evaluation at a point; rounding does not explain a difference above half of them."""
TRIES = 50
"""How many times as many points are drawn where there are conditions."""
SCALES = (Rational(1, 1000), Rational(50))
"""Where the point near the ends and the one far out are, relative to a random one."""
Point = dict[Symbol, Rational]


def points(
    symbols: Sequence[Symbol],
    seed: int,
    count: int = POINTS,
    given: Sequence[Expr] = (),
    ranges: Mapping[str, Range] = MappingProxyType({}),
) -> Iterator[Point]:
    """Rational points that satisfy the assumptions of `symbols`, and at which every one of `given` is above 0.

    First every symbol that has an end is put there alone, and all at once; then one point near the ends and one far
    out; then `count` random points.

    Args:
        symbols: what has a value at a point.
        seed: seed of the random points.
        count: how many of these.
        given: conditions.
        ranges: by the name of a symbol, a range that its assumptions do not say, such as [0, 1].
    """
    random = Random(seed)  # noqa: S311 (points to look at, no secret)
    within = {symbol: ranges.get(symbol.name, Range()) for symbol in symbols}

    def draw() -> Point:
        return {symbol: _in_range(_value(symbol, random), within[symbol], random) for symbol in symbols}

    inner = draw()
    ends = [(symbol, end) for symbol in symbols for end in _ends(symbol, within[symbol])]
    special = [{**inner, symbol: end} for symbol, end in ends] + ([{**inner, **dict(ends)}] if ends else [])
    free = [symbol for symbol in symbols if within[symbol].ends == (None, None) or within[symbol].low == "0"]
    free = [symbol for symbol in free if within[symbol].high is None and not symbol.is_integer]
    free = [symbol for symbol in free if within[symbol].without is None]
    special += [{**inner, **{symbol: inner[symbol] * scale for symbol in free}} for scale in SCALES]
    # Few points may satisfy a condition.
    drawn = (draw() for _ in range(count * (TRIES if given else 1)))
    allowed = (point for point in drawn if all(_is_above(each, point) for each in given))
    yield from (point for point in special if all(_is_above(each, point) for each in given))
    yield from islice(allowed, count)


def _in_range(value: Rational, within: Range, random: Random) -> Rational:
    """A random value as one of the range."""
    low, high = within.ends
    if within.without is not None and not within.integer:
        value = _beside(value, within)
    if low is None and high is None:
        return value
    if within.integer:
        first = 0 if low is None else low.__floor__() + 1 if within.open_low else low.__ceil__()
        last = first + 6 if high is None else high.__ceil__() - 1 if within.open_high else high.__floor__()
        return sympy.Integer(random.randint(min(first, last) if low is not None else last - 6, last))
    if low is not None and high is not None:
        return sympy.Rational(low + (high - low) * Fraction(random.randint(1, 1023), 1024))
    return sympy.Rational(low) + abs(value) if low is not None else sympy.Rational(high) - abs(value)


def _beside(value: Rational, within: Range) -> Rational:
    """A random value moved out of the interval that the range leaves out."""
    low, high = map(Fraction, within.without or ("0", "0"))
    return sympy.Rational(high) + value if value > 0 else sympy.Rational(low) + value - Rational(1, 1000)


def _ends(symbol: Symbol, within: Range) -> list[Rational]:
    """The ends of the range of the symbol that are numbers of it."""
    low, high = within.ends
    if low is None and high is None:
        end = _end(symbol)
        return [] if end is None else [end]
    found = [(low, within.open_low), (high, within.open_high)]
    return [
        sympy.Rational(end)
        for end, is_open in found
        if end is not None and not is_open and (end.denominator == 1 or not within.integer)
    ]


def _is_above(value: Expr, point: Point) -> bool:
    number = number_at(value, point)
    return number is not None and number.is_real and number > 0


def _end(symbol: Symbol) -> Rational | None:
    """The end of the range of the symbol where that is a number of it."""
    if symbol.is_integer and symbol.is_positive:
        return sympy.Integer(1)
    return None if symbol.is_nonzero or not symbol.is_real else sympy.Integer(0)


def _value(symbol: Symbol, random: Random) -> Rational:
    if symbol.is_integer:
        low = 1 if symbol.is_positive else 0 if symbol.is_nonnegative else -6
        return sympy.Integer(random.randint(low, 6))
    size = Rational(random.randint(1, 400), random.randint(60, 140))
    if symbol.is_negative or symbol.is_nonpositive:
        return -size
    return size if symbol.is_positive or symbol.is_nonnegative else size * random.choice((-1, 1))


def symbols_of(*expressions: Expr) -> list[Symbol]:
    """The symbols of the expressions by name, without labels of sequences and indices of sums."""
    labels = {each.base.label for expression in expressions for each in expression.atoms(Indexed)}
    found = set().union(*(each.free_symbols for each in expressions)) if expressions else set()
    return sorted((each for each in found if isinstance(each, Symbol) and each not in labels), key=str)


def number_at(value: Expr, point: Point, seed: int = 0) -> Any:
    """The value at a point to `DIGITS` digits; None if it has none (a pole, or a form that is not a number)."""
    # Everything is put in at once and built again from the leaves, so that nothing cancels before it has a value. An
    # integer, such as an end, is put in exactly; powers of other rationals would be factored, which takes minutes.
    there = built(value, {name: each if each.is_Integer else each.n(2 * DIGITS) for name, each in point.items()})
    if there.has(sympy.Sum, sympy.Integral):
        there = there.doit()
    if there.has(IndexedBase):
        there = there.xreplace({each: _entry(each, seed) for each in there.atoms(Indexed)})
    if there.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    number = sympy.N(there, DIGITS)
    return number if number.is_number and number.is_finite else None


def built(value: Expr, point: Point) -> Expr:
    """The expression at a point, built again from its leaves; parts that were not evaluated are."""
    if value in point:
        return point[value]
    if not value.args or isinstance(value, Indexed | sympy.Integral | sympy.Sum | sympy.Limit):
        return value.xreplace(point)
    return value.func(*(built(each, point) for each in value.args))


def _entry(each: Indexed, seed: int) -> Rational:
    """An entry of a sequence: a number that depends on its name and place alone."""
    return _value(Symbol("x", **each.base.assumptions0), Random(f"{each} {seed}"))  # noqa: S311 (no secret)


def in_words(point: Point) -> str:
    """The point for a reader."""
    return ", ".join(f"{symbol} = {value}" for symbol, value in point.items()) or "everywhere"


def exceeds(difference: Any, sizes: Iterable[Any]) -> bool:
    """Whether rounding does not explain this difference between numbers of these sizes."""
    return bool(abs(difference) > sympy.Float(10) ** (-DIGITS // 2) * (1 + max(abs(each) for each in sizes)))
