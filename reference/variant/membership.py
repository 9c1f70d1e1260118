"""Whether a variant belongs to the class in which its weights are decided: proved by subdivision, or undecided.

- The profile is nonincreasing on [low, high]: over a box it rises by at most ``max(0, sup K′)·width``, and automatic
  differentiation encloses K′ over the box. The rises of all boxes together must stay below 2^-40 of K(low).
- The equation increases with γ, unless its form says so already: over successive boxes of γ it is proved to be
  negative, then to have a positive derivative, then to be positive. A key that enters within a box counts with any
  part of its slope.

Source: R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis, SIAM, 2009, chapters 5 and 6.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import arb, ctx

from kernelproof.reference.variant.definition import Constant, Root, Variant
from kernelproof.reference.variant.jets import Jet, ball
from kernelproof.reference.variant.row_solver import SolvedRow, argument, threshold
from kernelproof.reference.variant.user_calls import equation_at, numbers_of, profile_at

PRECISION = 256
BOXES = 1 << 14
SHARE = arb((1, -56))
"""The allowed rise over one box relative to the largest value: `BOXES` of them rise by less than 2^-40."""


def falls(variant: Variant, low: Fraction, high: Fraction, exponent: int | None = None) -> bool:
    """Whether the profile is proved to be nonincreasing on [low, high], and to vanish at its edge with its order.

    Both hold up to 2^-40 of ``2**exponent``, or of K(low) without `exponent`.
    """
    with ctx.workprec(PRECISION):
        edge = variant.exact_edge
        last = high if edge is None else min(high, edge)
        if low >= last:
            return True
        start, end = ball(low), ball(last)
        scale, _ = _slope(variant, start)
        positive = scale.is_finite() and scale > 0
        if positive is False:
            return False
        if exponent is not None:
            scale = arb((1, exponent))
        if last == edge:
            at_edge, slope = _slope(variant, end)
            least = scale * arb((1, -40))
            vanishes = at_edge.is_finite() and abs(at_edge).upper() <= least
            # At an order above 1 the slope at the edge is 0; otherwise a key there is a kink, contrary to the order.
            flat = variant.order <= 1 or (slope.is_finite() and abs(slope * (end - start)).upper() <= least)
            if vanishes is False or flat is False:
                return False
        return _subdivided(variant, start, end, (scale * SHARE).lower())


def _subdivided(variant: Variant, start: arb, end: arb, allowed: arb) -> bool:
    boxes, seen = [(start, end)], 0
    while boxes:
        low, high = boxes.pop()
        seen += 1
        if seen > BOXES:
            return False
        value, slope = _slope(variant, low.union(high))
        if slope.is_finite() and slope.upper() * (high - low) <= allowed:
            continue
        if value.is_finite() and value.rad() * 2 <= allowed:
            continue
        middle = _between(low, high)
        if middle <= low or middle >= high:
            return False
        boxes += [(low, middle), (middle, high)]
    return True


def _between(low: arb, high: arb) -> arb:
    """0 if it lies inside; else the geometric mean of ends that are far apart, or their midpoint."""
    if low < 0 < high:
        return arb(0)
    if low > 0 and high > 4 * low:
        return (low * high).sqrt().mid()
    if high < 0 and low < 4 * high:
        return -((low * high).sqrt().mid())
    return ((low + high) / 2).mid()


def _slope(variant: Variant, t: arb) -> tuple[arb, arb]:
    """K and K′ over a ball of t."""
    found = profile_at(variant, Jet(t, {0: arb(1)}), numbers_of(variant))
    return found.value, found.partials.get(0, arb(0))


def rises(variant: Variant, root: Root, gaps: list[Fraction]) -> bool:
    """Whether the equation of `root` is proved to increase with γ through a single zero on ``root.within``."""
    with ctx.workprec(PRECISION):
        low, high = (ball(Fraction(end)) for end in root.within)
        pieces, seen = [(low, high)], 0
        # −1: negative so far; 0: a box of positive slope was seen; 1: positive.
        state = -1
        while pieces:
            left, right = pieces.pop()
            seen += 1
            value, slope = _hull(variant, root, gaps, left.union(right))
            sign = 1 if value > 0 else -1 if value < 0 else 0
            rising = slope.is_finite() and slope > 0
            if sign == 0 and not rising:
                middle = _between(left, right)
                if seen > BOXES or middle <= left or middle >= right:
                    return False
                pieces += [(middle, right), (left, middle)]
                continue
            # A negative value after a positive one is a jump down, however it rises on each side.
            if sign < 0 and (state > 0 or (state == 0 and not rising)):
                return False
            if sign == 0 and state > 0:
                return False
            state = max(state, sign)
        return True


def _hull(variant: Variant, root: Root, gaps: list[Fraction], gamma: arb) -> tuple[arb, arb]:
    """E and E′ over a ball of γ, where keys may enter within the ball."""
    parameters = numbers_of(variant)
    limit = threshold(variant, gamma)
    jets = []
    for gap in gaps:
        d = ball(gap)
        if limit is not None and d >= limit:
            continue
        t, _, t_gamma = argument(variant, gap, gamma)
        if limit is None or d < limit:
            jets.append(profile_at(variant, Jet(t, {0: t_gamma}), parameters))
            continue
        edge = ball(variant.exact_edge)
        least = t.lower().mid()
        if least >= edge:
            continue
        part = profile_at(variant, Jet(least.union(edge), {0: t_gamma}), parameters)
        jets.append(Jet(part.value.union(arb(0)), {0: part.partials.get(0, arb(0)).union(arb(0))}))
    if not jets:
        return arb(-1), arb(0)
    found = equation_at(variant, root, jets, parameters)
    return found.value, found.partials.get(0, arb(0))


def misfit(variant: Variant, root: Root, found: SolvedRow) -> str | None:
    """How the solution shows that the equation is outside the class, or None.

    Keys enter with the term 0, so an equation that counts its terms would jump; and one that claims to increase with
    every term has no negative slope in any term.
    """
    with ctx.workprec(PRECISION):
        parameters = numbers_of(variant)
        jets = [Jet(term.value, {i: arb(1)}) for i, term in enumerate(found.terms)]
        here = equation_at(variant, root, jets, parameters)
        if variant.edge is not None:
            more = equation_at(variant, root, [*jets, Jet(arb(0), {})], parameters)
            if not here.value.overlaps(more.value):
                return "the equation jumps where a key of weight 0 enters"
        if root.rises and any(part < 0 for part in here.partials.values()):
            return "the equation falls with a term, though it claims to rise with every one"
    return None


def exponent_of(value: arb) -> int:
    """The largest e such that ``2**e`` is at most the positive ball `value`."""
    mantissa, exponent = value.lower().mid().man_exp()
    return int(exponent) + int(mantissa).bit_length() - 1


def reach_of_argument(variant: Variant, gaps: list[Fraction]) -> tuple[Any, Any]:
    """The smallest and the largest t that a row of ascending gaps can have, over all admissible γ."""
    bandwidth = variant.bandwidth
    if isinstance(bandwidth, Constant):
        low = high = variant.gamma
    else:
        low, high = (Fraction(end) for end in bandwidth.within)
    last = gaps[-1]
    if variant.geometry == "shift":
        return -high, _up(last - low)
    return Fraction(0), _up(last / low)


def _up(value: Fraction) -> Fraction:
    """A power of 2^16 at or above `value`, at least 1, so that rows of similar size share one proof."""
    bound = Fraction(1)
    while bound < value:
        bound *= 1 << 16
    return bound
