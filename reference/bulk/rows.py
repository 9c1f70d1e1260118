"""One row from logits to enclosures: which keys may matter, a proposal, its certificate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.certifying import DECIDED, UNUSUAL, certify, softmax
from kernelproof.reference.bulk.compiling import SOURCES, compiled, kernel
from kernelproof.reference.bulk.evaluating import LARGE, LEAST, POWER, SOFTMAX, Order
from kernelproof.reference.bulk.exact import reaches, sparsemax
from kernelproof.reference.bulk.proposing import large_shift, low_root, smooth_root
from kernelproof.reference.bulk.words import two_sum

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FAR = 1900.0
"""exp(−FAR) < 2^-2700; a key this far below the largest has no weight that float64 could hold."""
FLOAT_ROWS = 5
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
def _near(z: Floats, top: float, reach: float, keys: Floats, index: Integers, gaps: Floats) -> int:
    """How many keys lie within `reach` of the largest; they go to `keys`, with positions and float64 gaps."""
    count = 0
    for i in range(len(z)):
        if top - z[i] <= reach:
            keys[count], index[count], gaps[count] = z[i], i, top - z[i]
            count += 1
    return count


@compiled
def solve_row(
    order: Order, z: Floats, scratch: Floats, integers: Integers, lo: Floats, hi: Floats, near: Floats
) -> int:
    """Enclose the weights of one row: lo ≤ p ≤ hi, near = RN(p) where that is proved and NaN where not.

    Args:
        order: the order.
        z: (m,), finite or −∞.
        scratch: (FLOAT_ROWS, m).
        integers: (INTEGER_ROWS, m).
        lo: (m,), out.
        hi: (m,), out.
        near: (m,), out.

    Returns:
        DECIDED, or why the row has to go to arb; then nothing can be read from the outputs.
    """
    size = len(z)
    lo[:] = 0.0
    hi[:] = 0.0
    near[:] = 0.0
    top = -np.inf
    for i in range(size):
        top = max(top, z[i])
    if not -np.inf < top < np.inf or not keeps_ieee(order):
        return UNUSUAL
    keys, base, head, tail, gaps = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    index = integers[0]
    if order.form in (LARGE, SOFTMAX):
        count = _near(z, top, FAR, keys, index, gaps)
        for i in range(size):
            if z[i] > -np.inf and top - z[i] > FAR:
                hi[i] = LEAST
        if order.form == SOFTMAX:
            return softmax(order, keys, count, size, top, index, base, head, tail, lo, hi, near)
        if count == 1:
            # The others have at most exp(−1899) each, so that 1 is the nearest float64 and the next one below a bound.
            lo[index[0]], hi[index[0]], near[index[0]] = 1.0 - 2.0**-53, 1.0, 1.0
            return DECIDED
        shift = large_shift(gaps, count, order.inverse_head)
        return certify(order, keys, count, size, top, shift, np.inf, index, base, head, tail, lo, hi, near)
    count = _near(z, top, order.head, keys, index, gaps)
    if order.form == POWER and order.whole == 1:
        found = sparsemax(keys, count, top, index, integers[1], integers[2], lo, hi, near)
        if found == DECIDED:
            return found
    if _one(order, z, size, top, index[0], lo, hi, near) == DECIDED:
        return DECIDED
    if order.head >= 1.0:
        reach = smooth_root(gaps, count, order.head, order.whole)
    else:
        ordered = gaps[:count]
        ordered.sort()
        kept, start = low_root(gaps, count, order.head)
        reach = gaps[kept - 1]
    return _anchored(order, z, size, top, reach, scratch, index, lo, hi, near, -1.0 if order.head >= 1.0 else start)


@compiled
def _anchored(
    order: Order,
    z: Floats,
    size: int,
    top: float,
    reach: float,
    scratch: Floats,
    index: Integers,
    lo: Floats,
    hi: Floats,
    near: Floats,
    start: float,
) -> int:
    """`certify` with the keys whose float64 gap is below `reach` (at most, if `start` gives s) as the support."""
    keys = scratch[0]
    anchor, following = top, -np.inf
    for i in range(size):
        gap = top - z[i]
        if gap < reach or (start > 0.0 and gap == reach):
            anchor = min(anchor, z[i])
        else:
            following = max(following, z[i])
    # Rounding is monotone, so the keys chosen are the largest ones; if not, the gap below would prove nothing.
    count = 0
    for i in range(size):
        if z[i] >= anchor:
            keys[count], index[count] = z[i], i
            count += 1
    gap = np.inf
    if following > -np.inf:
        gap = two_sum(anchor, -following)[0] * (1.0 - 2.0**-52)
    first = start if start > 0.0 else reach - (top - anchor)
    return certify(
        order, keys, count, size, anchor, first, gap, index, scratch[1], scratch[2], scratch[3], lo, hi, near
    )


@compiled
def _one(order: Order, z: Floats, size: int, top: float, first: int, lo: Floats, hi: Floats, near: Floats) -> int:
    """Weight 1 on the only largest key, if all others are proved to be n below it or further."""
    second, ties = -np.inf, 0
    for i in range(size):
        if z[i] == top:
            ties += 1
            first = i
        else:
            second = max(second, z[i])
    if ties > 1:
        return UNUSUAL
    if second > -np.inf:
        gh, gl = two_sum(top, -second)
        if not reaches(order, gh, gl):
            return UNUSUAL
    hi[:] = 0.0
    lo[first] = hi[first] = near[first] = 1.0
    return DECIDED


def _make(_sources: int):  # type: ignore[no-untyped-def]
    """The kernel, which holds the hash of the sources so that its cache knows them."""

    @kernel
    def solve_rows(order: Order, z: Floats, lo: Floats, hi: Floats, near: Floats, status: NDArray[np.uint8]) -> int:
        """`solve_row` for each row of z (R, m) into lo, hi, near (R, m) and status (R,); memory O(m) besides."""
        rows, size = z.shape
        scratch = np.empty((FLOAT_ROWS, size))
        integers = np.empty((INTEGER_ROWS, size), dtype=np.int64)
        for r in range(rows):
            status[r] = solve_row(order, z[r], scratch, integers, lo[r], hi[r], near[r])
        return _sources

    return solve_rows


solve_rows = _make(SOURCES)
