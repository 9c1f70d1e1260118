"""One row from logits to enclosures: the keys that may matter, a proposal, and its certificate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import SOURCES, compiled, kernel
from kernelproof.reference.bulk.mass_terms import LARGE, LEAST, POWER, SOFTMAX, Order, scaled_difference
from kernelproof.reference.bulk.proposals import large_shift, low_root, smooth_root
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    BASE,
    DECIDED,
    DELTA,
    FOUND,
    GAPS,
    HEAD,
    KEYS,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    ROOT,
    TAIL,
    TOP,
    UNUSUAL,
    ZERO,
    bound,
    certify,
    softmax,
)
from kernelproof.reference.bulk.sparsemax import reaches, sparsemax

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FAR = 1900.0
"""exp(−FAR) < 2^-2700; a key this far below the largest has a weight too small for float64."""
INTEGER_ROWS = 3


@compiled
def keeps_ieee(order: Order) -> bool:
    """Whether this thread rounds to nearest and keeps subnormal numbers, as every proof here assumes."""
    one, least = order.one, order.least
    nearest = one + 2.0**-53 == one and one - 2.0**-54 == one and one + 1.5 * 2.0**-53 > one
    downward = -one - 2.0**-53 == -one
    gradual = least * one > 0.0 and (2.0**-1022 * one) * 0.5 > 0.0 and 3.0 * least - least == 2.0 * least
    return nearest and downward and gradual


@compiled
def largest(z: Floats) -> float:
    """The largest key; NaN and infinities propagate, and the callers reject them."""
    top = -np.inf
    for i in range(len(z)):
        top = max(top, z[i])
    return top


@compiled
def within(order: Order, top: float, z: float, reach: float) -> bool:
    """Whether the rounded gap of key z is at most `reach` in logits; monotone in z."""
    return (top - z) * order.scale_head <= reach


@compiled
def _near(order: Order, z: Floats, top: float, reach: float, found: Floats, index: Integers) -> int:
    """Set positions and float64 gaps in logits of the keys within `reach` of the largest; return how many there are.

    With a scale, a gap below `reach` may be off by a few units in the last place; extra keys do no harm.
    """
    count = 0
    for i in range(len(z)):
        if within(order, top, z[i], reach):
            found[KEYS, count], index[count], found[GAPS, count] = z[i], i, (top - z[i]) * order.scale_head
            count += 1
    return count


@compiled
def solve_row(order: Order, z: Floats, found: Floats, integers: Integers, root: Floats) -> tuple[int, int]:
    """Solve one row: the weights of its support, and γ; for LARGE and SOFTMAX only the keys within `FAR`.

    Args:
        order: the order.
        z: (m,), finite or −∞.
        found: (FOUND, m), filled.
        integers: (INTEGER_ROWS, m), filled: the first row has the positions of the keys found.
        root: (ROOT,), filled.

    Returns:
        DECIDED, or why the row has to go to arb, in which case the results are meaningless; and the number of keys.
    """
    size = len(z)
    top = largest(z)
    if not -np.inf < top < np.inf or not keeps_ieee(order):
        return UNUSUAL, 0
    root[TOP] = top
    index = integers[0]
    if order.form in (LARGE, SOFTMAX):
        count = _near(order, z, top, FAR, found, index)
        if order.form == SOFTMAX:
            return softmax(order, count, size, top, found), count
        if count == 1:
            # The other terms are at most exp(−1899) < 2^-2700 each, and λ = log S is below twice their sum.
            _alone(order, z[index[0]], top, found, root)
            root[POINT], root[POINT_TAIL], root[RADIUS] = 0.0, 0.0, 2.0**-1000 + order.head * 2.0**-104
            found[RELATIVE, 0] = 2.0**-1000
            root[ZERO] = -1.0
            return DECIDED, 1
        shift = large_shift(found[GAPS], count, order.inverse_head)
        return certify(order, count, size, top, shift, np.inf, found, root), count
    reach = order.head * (1.0 + 2.0**-50) if order.scaled else order.head
    count = _near(order, z, top, reach, found, index)
    if order.form == POWER and order.whole == 1 and not order.scaled:
        status, held = sparsemax(count, top, index, integers[1], integers[2], found, root)
        if status == DECIDED:
            return status, held
    if _one(order, z, size, top, index, found, root) == DECIDED:
        return DECIDED, 1
    gaps = found[GAPS]
    if order.head >= 1.0:
        reach = smooth_root(gaps, count, order.head, order.whole)
        start = -1.0
    else:
        ordered = gaps[:count]
        ordered.sort()
        kept, start = low_root(gaps, count, order.head)
        reach = gaps[kept - 1]
    return _anchored(order, z, size, top, reach, index, start, found, root)


@compiled
def _anchored(
    order: Order,
    z: Floats,
    size: int,
    top: float,
    reach: float,
    index: Integers,
    start: float,
    found: Floats,
    root: Floats,
) -> tuple[int, int]:
    """`certify` with the support of keys whose float64 gap is below `reach` (at most `reach`, if `start` gives s)."""
    anchor, following = top, -np.inf
    for i in range(size):
        gap = (top - z[i]) * order.scale_head
        if gap < reach or (start > 0.0 and gap == reach):
            anchor = min(anchor, z[i])
        else:
            following = max(following, z[i])
    # Rounding is monotone, so the chosen keys are the largest; otherwise the gap below would prove nothing.
    count = 0
    for i in range(size):
        if z[i] >= anchor:
            found[KEYS, count], index[count] = z[i], i
            count += 1
    gap = np.inf
    if following > -np.inf:
        # Three roundings, plus the error of the scale's double word.
        gap = scaled_difference(order, anchor, following)[0] * (1.0 - 2.0**-50)
    first = start if start > 0.0 else reach - (top - anchor) * order.scale_head
    return certify(order, count, size, anchor, first, gap, found, root), count


@compiled
def _one(order: Order, z: Floats, size: int, top: float, index: Integers, found: Floats, root: Floats) -> int:
    """Weight 1 for a unique largest key, if all others are proved to be at least n below it."""
    second, ties, first = -np.inf, 0, index[0]
    for i in range(size):
        if z[i] == top:
            ties += 1
            first = i
        else:
            second = max(second, z[i])
    if ties > 1:
        return UNUSUAL
    if second > -np.inf:
        gh, gl = scaled_difference(order, top, second)
        if not reaches(order, gh, gl):
            return UNUSUAL
    index[0] = first
    _alone(order, top, top, found, root)
    return DECIDED


@compiled
def _alone(order: Order, z: float, top: float, found: Floats, root: Floats) -> None:
    """Fill in a single key of weight 1: its base is n, and γ = n."""
    found[KEYS, 0], found[BASE, 0], found[HEAD, 0], found[TAIL, 0], found[RELATIVE, 0] = z, order.head, 1.0, 0.0, 0.0
    root[ANCHOR], root[POINT], root[POINT_TAIL], root[DELTA] = top, order.head, order.tail, 0.0
    exactly = order.exact and not order.scaled
    root[RADIUS], root[ZERO] = (0.0, 0.0) if exactly else (order.head * 2.0**-104, -1.0)


def _make(_sources: int):  # type: ignore[no-untyped-def]
    """The kernel, a closure over the hash of the sources, so that its cache depends on them."""

    @kernel
    def solve_rows(order: Order, z: Floats, lo: Floats, hi: Floats, near: Floats, status: NDArray[np.uint8]) -> int:
        """Enclose the weights of each row of z (R, m): lo ≤ p ≤ hi, near = RN(p) where proved, NaN where not (R, m).

        The status of each row goes to status (R,). Needs O(m) extra memory.
        """
        rows, size = z.shape
        found, root = np.empty((FOUND, size)), np.empty(ROOT)
        integers = np.empty((INTEGER_ROWS, size), dtype=np.int64)
        for r in range(rows):
            status[r], count = solve_row(order, z[r], found, integers, root)
            lo[r] = 0.0
            hi[r] = 0.0
            near[r] = 0.0
            if order.form in (LARGE, SOFTMAX) and status[r] == DECIDED:
                for i in range(size):
                    if z[r, i] > -np.inf and not within(order, root[TOP], z[r, i], FAR):
                        hi[r, i] = LEAST
            if status[r] == DECIDED:
                bound(count, integers[0], found, lo[r], hi[r], near[r])
        return _sources

    return solve_rows


solve_rows = _make(SOURCES)
