"""Rows for sampled evidence: Hypothesis draws logits and orders, the certified oracle solves them.

Logits are multiples of 1/16, so that a row is the same numbers in float64, in Fractions and in balls, and so that
ties and keys exactly at the threshold come up.
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


def logits(*, least: int = 2, most: int = 6, unique: bool = False) -> SearchStrategy[list[float]]:
    """Draws rows of `least` to `most` logits in [−4, 4], multiples of 1/16; `unique`: no two are equal."""
    steps = st.integers(-4 * STEPS, 4 * STEPS)
    return st.lists(steps, min_size=least, max_size=most, unique=unique).map(lambda row: [x / STEPS for x in row])


def orders() -> SearchStrategy[Fraction]:
    """Draws an order from `FINITE`."""
    return st.sampled_from(FINITE)


def all_orders() -> SearchStrategy[Order]:
    """Draws an order from `FINITE`, or ∞."""
    return st.one_of(orders(), st.just(inf))


def rising() -> SearchStrategy[tuple[Order, Order]]:
    """Draws two orders, n < n′, from `FINITE` and ∞."""
    choices: tuple[Order, ...] = (*FINITE, inf)
    return st.tuples(st.integers(0, len(choices) - 2), st.integers(1, len(choices) - 1)).map(
        lambda at: (choices[at[0]], choices[max(at[1], at[0] + 1)])
    )


def solved(z: Sequence[float], order: Order, precision: int) -> list[arb]:
    """The oracle's entmax of order n of the row `z`, one ball a key; exactly 0 off the support."""
    return [ball(value) for value in entmax(list(z), order=order, precision=precision).weights.values()]


def ball(value: Any) -> arb:
    """A ball around a rational number, or the ball that it already is."""
    return value if isinstance(value, arb) else rational(value)


def least(values: Sequence[arb]) -> arb:
    """A ball around the least of the numbers in `values`, also where the balls overlap."""
    return reduce(arb.min, values)


def worst(left: Sequence[arb], right: Sequence[arb]) -> tuple[arb, arb]:
    """Of two rows, entries that differ, if there are any; else those whose difference is least well known."""
    pairs = list(zip(left, right, strict=True))
    apart = [pair for pair in pairs if not pair[0].overlaps(pair[1])]
    return apart[0] if apart else max(pairs, key=lambda pair: float((pair[0] - pair[1]).rad()))


def order_ball(order: Order) -> arb:
    """The order as a ball; ∞ as the infinite one."""
    return rational(order) if isinstance(order, Fraction) else arb(order)


def name(order: Order) -> str:
    """The order as a reader writes it."""
    return "∞" if isinf(order) else str(order)
