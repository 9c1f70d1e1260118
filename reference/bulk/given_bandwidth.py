"""`Fixed` and `Anchored`: γ is given, so w_i = b_i^n/Σ b_j^n with b_i = γ − d_i, without solving an equation.

- Anchored: b_i = (z_i − max z) + γ. Fixed: b_i = z_i + h²/2, h² exact by TwoProd. Both are double words within ε:
  their sign is exact, and so is the support (b_i = 0 has weight 0).
- In u_i = b_i·c any float c near 1/max b cancels from the quotient, and keeps every u ≤ 1 + 2^-50. So the bounds of
  `mass_terms` hold, and S ≥ 1/2.
- The sum is within count·ε/4 and m·`TINY`, the quotient within ε.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import SOURCES, compiled, kernel
from kernelproof.reference.bulk.double_word import OPERATION, add, div, two_sum
from kernelproof.reference.bulk.mass_terms import LEAST, TINY, Order, evaluate, term_error, total
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    BASE,
    DECIDED,
    DELTA,
    FOUND,
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
)
from kernelproof.reference.bulk.rows import keeps_ieee, largest

Floats = NDArray[np.float64]
NARROW = 2.0**-500
WIDE = 2.0**200


@compiled
def weigh_row(
    order: Order,
    anchored: bool,
    sh: float,
    sl: float,
    z: Floats,
    found: Floats,
    index: NDArray[np.int64],
    root: Floats,
) -> tuple[int, int]:
    """The weights of one row, in the form of `rows.solve_row`; (sh, sl) is γ if `anchored`, else h²/2."""
    size = len(z)
    keys, base, head, tail = found[KEYS], found[BASE], found[HEAD], found[TAIL]
    top = largest(z)
    if not -WIDE < top < WIDE or not keeps_ieee(order):
        return UNUSUAL, 0
    anchor = top if anchored else 0.0
    dh, dl = two_sum(top, -anchor)
    reach = add(dh, dl, sh, sl)[0]
    if not 1.0 / WIDE < reach < WIDE:
        return UNUSUAL, 0
    root[TOP], root[ANCHOR], root[POINT], root[POINT_TAIL] = top, anchor, sh, sl
    root[DELTA], root[RADIUS], root[ZERO] = 0.0, 0.0, 0.0
    count = 0
    for i in range(size):
        if z[i] > -np.inf:
            dh, dl = two_sum(z[i], -anchor)
            b = add(dh, dl, sh, sl)[0]
            if 0.0 < b < reach * NARROW:
                return UNUSUAL, 0
            if b > 0.0:
                keys[count], index[count] = z[i], i
                count += 1
    n, inverse = (order.head, order.tail), 1.0 / reach
    scaled = Order(order.form, order.whole, n[0], n[1], inverse, 0.0, order.exact, 1.0, LEAST, False, 1.0, 0.0)
    evaluate(scaled, keys, count, anchor, sh, sl, base, head, tail)
    th, tl = total(head, tail, count)
    radius = 1.01 * (2.0 * term_error(order) + (0.26 * count + 1.0) * OPERATION + size * 4.0 * TINY)
    for i in range(count):
        found[RELATIVE, i] = 0.0
        if head[i] != 0.0:
            head[i], tail[i] = div(head[i], tail[i], th, tl)
            found[RELATIVE, i] = radius
        elif tail[i] != LEAST:
            # The divisor is a sum of at least 1/2.
            tail[i] = 2.0 * TINY
    return DECIDED, count


def _make(_sources: int):  # type: ignore[no-untyped-def]
    """The kernel, a closure over the hash of the sources, so that its cache depends on them."""

    @kernel
    def weigh_rows(
        order: Order,
        anchored: bool,
        sh: float,
        sl: float,
        z: Floats,
        lo: Floats,
        hi: Floats,
        near: Floats,
        status: NDArray[np.uint8],
    ) -> int:
        """`weigh_row` for each row of z (R, m) into lo, hi, near (R, m) and status (R,); needs O(m) extra memory."""
        rows, size = z.shape
        found, root = np.empty((FOUND, size)), np.empty(ROOT)
        index = np.empty(size, dtype=np.int64)
        for r in range(rows):
            lo[r] = 0.0
            hi[r] = 0.0
            near[r] = 0.0
            status[r], count = weigh_row(order, anchored, sh, sl, z[r], found, index, root)
            if status[r] == DECIDED:
                bound(count, index, found, lo[r], hi[r], near[r])
        return _sources

    return weigh_rows


weigh_rows = _make(SOURCES)
