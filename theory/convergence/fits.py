"""Slopes of log error against log n: local slopes as enclosures, and the least-squares line.

Least squares is linear in the logarithms of the errors, so arb encloses exactly the slope and intercept of the exact
errors; floats serve only for Student's quantile.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from flint import arb
from scipy.special import stdtrit

from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.records import LineFit, ends
from kernelproof.theory.rows import dot
from kernelproof.theory.series import ball

LOCAL = Fraction(1, 100)
"""How close to its limit every later local slope is in the asymptotic regime."""
SLOPE = Fraction(5, 1000)
INTERCEPT = Fraction(1, 100)
FEWEST = 5
"""Least number of orders in a fit: three degrees of freedom, with Student's quantile 3.2."""


def local_slopes(orders: Sequence[Fraction], errors: Sequence[arb]) -> list[arb]:
    """``log(e′/e)/log(n′/n)`` between neighbours; NaN if an error may be 0."""
    return [
        (b / a).log() / ball(m / n).log() for (n, m), (a, b) in zip(pairwise(orders), pairwise(errors), strict=True)
    ]


def regime(slopes: Sequence[arb], limit: int, within: Fraction = LOCAL) -> int:
    """The index of the order from which on every local slope that ends there or later is within `within` of `limit`."""
    start = len(slopes)
    near = ball(within)
    while start and abs(slopes[start - 1] - limit) < near:
        start -= 1
    # Not the order where that slope begins: on a coarse grid the error there may still be far from its first term.
    return start + 1


def fit(orders: Sequence[Fraction], errors: Sequence[arb], limit: int, coefficient: arb | None) -> LineFit | None:
    """The line through the asymptotic orders; None if there are fewer than `FEWEST`.

    Args:
        orders: ascending.
        errors: balls.
        limit: the theoretical slope.
        coefficient: the number with which to compare the intercept.
    """
    start = regime(local_slopes(orders, errors), limit)
    chosen, values = orders[start:], errors[start:]
    return line(chosen, values, limit, coefficient) if len(chosen) >= FEWEST else None


def line(orders: Sequence[Fraction], errors: Sequence[arb], limit: int, coefficient: arb | None) -> LineFit:
    """The least-squares line through all `orders`, at least three."""
    count = len(orders)
    x, y = [ball(n).log() for n in orders], [error.log() for error in errors]
    mean_x, mean_y = sum(x, arb(0)) / count, sum(y, arb(0)) / count
    moved = [each - mean_x for each in x]
    spread = dot(moved, moved)
    slope = dot(moved, y) / spread
    level = mean_y - slope * mean_x
    left = [b - level - slope * a for a, b in zip(x, y, strict=True)]
    rest = dot(left, left)
    half = float(stdtrit(count - 2, 0.975)) * float(abs((rest / (count - 2) / spread).mid()).sqrt())
    intercept = level.exp()
    ratio = None if coefficient is None else intercept / coefficient
    holds = abs(slope - limit) <= ball(SLOPE) and (ratio is None or abs(ratio - 1) <= ball(INTERCEPT))
    return LineFit(
        limit=limit,
        first=order_text(orders[0]),
        last=order_text(orders[-1]),
        count=count,
        slope=ends(slope),
        interval=(float(slope) - half, float(slope) + half),
        intercept=ends(intercept),
        ratio=None if ratio is None else ends(ratio),
        holds=bool(holds),
    )
