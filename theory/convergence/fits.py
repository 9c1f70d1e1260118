"""Slopes of log error against log n: local slopes as enclosures, and the least-squares line as a number for readers.

Least squares is linear in the logarithms of the errors, so arb encloses exactly the slope and intercept of the exact
errors. A line judges nothing: `kernelproof.theory.convergence.window` does, by proved bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from flint import arb

from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.records import LineFit, ends
from kernelproof.theory.rows import dot
from kernelproof.theory.series import ball

FEWEST = 5
"""Least number of orders in a line, which shows nothing that its neighbours do not if they are fewer."""


def local_slopes(orders: Sequence[Fraction], errors: Sequence[arb]) -> list[arb]:
    """``log(e′/e)/log(n′/n)`` between neighbours; NaN if an error may be 0."""
    return [
        (b / a).log() / ball(m / n).log() for (n, m), (a, b) in zip(pairwise(orders), pairwise(errors), strict=True)
    ]


def regime(slopes: Sequence[arb], limit: int, within: Fraction) -> int:
    """The index of the order from which on every local slope that ends there or later is within `within` of `limit`."""
    start = len(slopes)
    near = ball(within)
    while start and abs(slopes[start - 1] - limit) < near:
        start -= 1
    # Not the order where that slope begins: on a coarse grid the error there may still be far from its first term.
    return start + 1


def line(orders: Sequence[Fraction], errors: Sequence[arb], limit: int, coefficient: arb | None) -> LineFit:
    """The least-squares line through all `orders`, at least two.

    Args:
        orders: ascending.
        errors: balls.
        limit: the theoretical slope.
        coefficient: the number with which to compare the intercept.
    """
    count = len(orders)
    x, y = [ball(n).log() for n in orders], [error.log() for error in errors]
    mean_x, mean_y = sum(x, arb(0)) / count, sum(y, arb(0)) / count
    moved = [each - mean_x for each in x]
    slope = dot(moved, y) / dot(moved, moved)
    intercept = (mean_y - slope * mean_x).exp()
    return LineFit(
        limit=limit,
        first=order_text(orders[0]),
        last=order_text(orders[-1]),
        count=count,
        slope=ends(slope),
        intercept=ends(intercept),
        ratio=None if coefficient is None else ends(intercept / coefficient),
    )
