"""The judge of a curve: bounds that are proved for every order n ≥ N, against certified errors at some orders.

Taylor's theorem in ε = 1/n with ball arithmetic (`row_series`) proves ``|error − c·n^s| ≤ B·n^(s−1)`` for every real
n ≥ `FROM`, from the definition of the quantity. The window, n ≥ N, is chosen from B and c, before any error is
measured; in it, every certified error, remainder and local slope must be within what the bound allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from flint import arb

from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.convergence.fits import local_slopes
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.quantities import Quantity
from kernelproof.theory.convergence.records import CurveState, Window, ends
from kernelproof.theory.series import ball

FROM = 4096
"""Where bounds are proved: from there on 1/n is small enough that ball arithmetic loses less than a factor of 2 on the
rows of the studies, and 2^40 is far away."""
FEWEST = 2
"""Least number of orders in a window: one slope."""


@dataclass(frozen=True)
class Bound:
    """What is proved of ``error = c·n^s + …`` for every n ≥ `first`.

    Attributes:
        slope: s.
        coefficient: c, as stated.
        defined: c, by the definition of the quantity: the Taylor coefficient at 1/n = 0.
        size: B: the error, and its remainder, differ from their first-order terms by at most ``B·n^(s − 1)``.
    """

    slope: int
    coefficient: arb
    defined: arb
    size: arb

    @property
    def relative(self) -> arb:
        """``B/c``."""
        return arb((self.size / self.coefficient).upper())

    @property
    def first(self) -> int:
        """N: `FROM`, doubled until the remainder is at most half of the first-order term."""
        found, enough = FROM, bool(2 * self.relative <= FROM)
        while not enough:
            found *= 2
            enough = bool(2 * self.relative <= found)
        return found

    def band(self, low: Fraction, high: Fraction) -> tuple[arb, arb]:
        """The interval of the local slopes between two orders n ≥ `first`, as its two ends."""
        # The error is c·n^s(1 + r) with |r| at most these.
        near, far = self.relative / ball(low), self.relative / ball(high)
        step = ball(high / low).log()
        return (
            self.slope + ((1 - far) / (1 + near)).log() / step,
            self.slope + ((1 + far) / (1 - near)).log() / step,
        )


def bounds(quantity: Quantity, coefficients: dict[Norm, arb]) -> dict[Norm, Bound]:
    """What is proved of a quantity, by norm; empty if ball arithmetic proves nothing at n ≥ `FROM`."""
    try:
        beyond, limit = quantity.near_limit(arb(0).union(1 / arb(FROM))), quantity.near_limit(arb(0))
    except UndecidedError:
        return {}
    found = {
        norm: Bound(norm.slope, coefficients[norm], limit[norm][0], arb(beyond[norm][1].upper()))
        for norm in quantity.norms
    }
    return {norm: bound for norm, bound in found.items() if bound.size.is_finite() and bound.coefficient > 0}


def judge(
    bound: Bound, orders: Sequence[Fraction], errors: Sequence[arb], rests: Sequence[arb]
) -> tuple[Window, CurveState]:
    """Judge a curve.

    Args:
        bound: what is proved.
        orders: ascending.
        errors: certified errors, as balls.
        rests: certified remainders after the first-order term.
    """
    start = next((at for at, order in enumerate(orders) if order >= bound.first), len(orders))
    orders, errors, rests = orders[start:], errors[start:], rests[start:]
    slopes = local_slopes(orders, errors)
    window = Window(
        first=str(bound.first),
        last=order_text(orders[-1]) if orders else None,
        count=len(orders),
        bound=ends(bound.size).hi,
        relative=ends(bound.relative).hi,
        slopes=ends(_hull(slopes)) if slopes else None,
        ratio=ends(errors[-1] / (bound.coefficient * ball(orders[-1]) ** bound.slope)) if orders else None,
    )
    answers = [bound.defined.overlaps(bound.coefficient) or False, *_compared(bound, orders, errors, rests, slopes)]
    if False in answers:
        return window, CurveState.FAILS
    if len(orders) < FEWEST:
        return window, CurveState.SHORT
    return window, CurveState.UNDECIDED if None in answers else CurveState.HOLDS


def _compared(
    bound: Bound, orders: Sequence[Fraction], errors: Sequence[arb], rests: Sequence[arb], slopes: Sequence[arb]
) -> Iterator[bool | None]:
    for order, error, rest in zip(orders, errors, rests, strict=True):
        most = bound.size * ball(order) ** (bound.slope - 1)
        yield at_most(rest, most)
        yield at_most(abs(error - bound.coefficient * ball(order) ** bound.slope), most)
    for pair, slope in zip(pairwise(orders), slopes, strict=True):
        low, high = bound.band(*pair)
        yield at_most(low, slope)
        yield at_most(slope, high)


def at_most(value: arb, most: arb) -> bool | None:
    """Whether a ball is at most another one: True or False if that is proved, else None."""
    if value <= most:
        return True
    return False if value > most else None


def _hull(values: Sequence[arb]) -> arb:
    found = values[0]
    for value in values[1:]:
        found = found.union(value)
    return arb(found)
