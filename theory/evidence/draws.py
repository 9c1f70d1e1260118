"""Rows for sampled evidence: Hypothesis draws logits and orders, and the certified reference solves them.

Logits are multiples of 1/16, so that a row has the same numbers in float64, in Fractions and in balls, and so that ties
and keys exactly at the threshold occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from math import inf, isinf
from typing import Any

from flint import arb
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kernelproof.reference import entmax
from kernelproof.theory.evidence.certified import rational

Order = Fraction | float
STEPS = 16
FINITE: tuple[Fraction, ...] = tuple(map(Fraction, ("1/4", "1/2", "3/4", "1", "3/2", "2", "7/3", "3", "5", "8", "32")))

HEAVY: tuple[Fraction, ...] = tuple(map(Fraction, ("-32", "-8", "-3", "-2", "-3/2", "-9/8")))
"""Orders below −1, from a light tail to a heavy one."""


def logits(*, least: int = 2, most: int = 6, unique: bool = False) -> SearchStrategy[list[float]]:
    """A strategy for rows of `least` to `most` logits in [−4, 4], multiples of 1/16; no two equal if `unique`."""
    steps = st.integers(-4 * STEPS, 4 * STEPS)
    return st.lists(steps, min_size=least, max_size=most, unique=unique).map(lambda row: [x / STEPS for x in row])


def orders() -> SearchStrategy[Fraction]:
    """A strategy for an order from `FINITE`."""
    return st.sampled_from(FINITE)


def both_sides() -> SearchStrategy[Fraction]:
    """A strategy for an order from `FINITE` or `HEAVY`."""
    return st.sampled_from((*FINITE, *HEAVY))


def all_orders() -> SearchStrategy[Order]:
    """A strategy for an order from `FINITE`, ∞, or `HEAVY`."""
    return st.one_of(orders(), st.just(inf), st.sampled_from(HEAVY))


def rising() -> SearchStrategy[tuple[Order, Order]]:
    """A strategy for two orders n < n′ from `FINITE` and ∞."""
    return _pairs((*FINITE, inf))


def toward_heavy() -> SearchStrategy[tuple[Order, Order]]:
    """A strategy for two orders of falling 1/n, from `FINITE` over ∞ to `HEAVY`."""
    return _pairs((*FINITE, inf, *HEAVY))


def _pairs(choices: tuple[Order, ...]) -> SearchStrategy[tuple[Order, Order]]:
    return st.tuples(st.integers(0, len(choices) - 2), st.integers(1, len(choices) - 1)).map(
        lambda at: (choices[at[0]], choices[max(at[1], at[0] + 1)])
    )


def solved(z: Sequence[float], order: Order, precision: int) -> list[arb]:
    """The reference's entmax of order n of the row `z`, one ball per key; exactly 0 off the support."""
    return [ball(value) for value in entmax(list(z), order=order, precision=precision).weights.values()]


def ball(value: Any) -> arb:
    """`value`, a rational number or already a ball, as a ball."""
    return value if isinstance(value, arb) else rational(value)


def least(values: Sequence[arb]) -> arb:
    """A ball around the least of the numbers in `values`, even if the balls overlap."""
    return reduce(arb.min, values)


def worst(left: Sequence[arb], right: Sequence[arb]) -> tuple[arb, arb]:
    """Two entries of the rows that differ, if there are any; else those whose difference is known least precisely."""
    pairs = list(zip(left, right, strict=True))
    apart = [pair for pair in pairs if not pair[0].overlaps(pair[1])]
    return apart[0] if apart else max(pairs, key=lambda pair: float((pair[0] - pair[1]).rad()))


def order_ball(order: Order) -> arb:
    """The order as a ball, infinite for ∞."""
    return rational(order) if isinstance(order, Fraction) else arb(order)


def name(order: Order) -> str:
    """The order in readable form."""
    return "∞" if isinf(order) else str(order)
