"""What is proved about one row besides its weights: γ − d of every key, the support, keys at the threshold.

γ − d_i = β(z_i − anchor) + point + δ, within the radius of the root and ε/2 of the first term (that is 0 where β = 1).
The sums of double words are within ε of their result whatever cancels, so the sign is proved where the result exceeds
`SHARP` times these errors. Where γ itself is exact (rules that give it, a weight of 1, order 1 in integers), so is the
zero of a key at the threshold; see `row_certificate` for `ZERO`. A row with an open sign goes to arb.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import SOURCES, compiled, kernel
from kernelproof.reference.bulk.double_word import OPERATION, Word, add, add_float
from kernelproof.reference.bulk.given_bandwidth import weigh_row
from kernelproof.reference.bulk.gradient_terms import HELD, Rate
from kernelproof.reference.bulk.mass_terms import LARGE, LEAST, SOFTMAX, Order, scaled_difference
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    DECIDED,
    DELTA,
    FOUND,
    HEAD,
    KINK,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    ROOT,
    TAIL,
    TOP,
    UNUSUAL,
    ZERO,
)
from kernelproof.reference.bulk.rows import INTEGER_ROWS, solve_row
from kernelproof.reference.bulk.vjp import SUMS, row_vjp

Floats = NDArray[np.float64]
Flags = NDArray[np.uint8]

OUTSIDE, INSIDE, EDGE = 0, 1, 2
"""The state of a key: no weight, positive weight, exactly at the threshold."""

SHARP = 2.0**51
"""By which factor a margin must exceed its error: it is published as a float64 of full precision."""

FINE = 2.0**-66
"""A weight with a larger relative error sends its row to arb: 2^-13 of a unit roundoff of float64."""

DISTANT = -1e300
MOST = 1e308


@compiled
def point_of(order: Order, root: Floats) -> Word:
    """γ at the anchor, without δ: n − λ for LARGE, within 2^-105·n."""
    if order.form == LARGE:
        return add(order.head, order.tail, -root[POINT], -root[POINT_TAIL])
    return root[POINT], root[POINT_TAIL]


@compiled
def margins(order: Order, whole: Floats, z: Floats, root: Floats, margin: Floats, state: Flags) -> int:
    """Fill margin (m,), γ − d, and state (m,) of the keys of `z`; return DECIDED, or KINK if a sign or digit is open.

    Args:
        order: the order.
        whole: (m,), −∞ where masked.
        z: (m,), `whole` with −∞ for keys that are not kept.
        root: what is known of γ.
        margin: (m,), filled: +∞ at order ∞, −∞ where masked, clipped to ±`MOST`.
        state: (m,), filled.
    """
    ph, pl = point_of(order, root)
    own = root[RADIUS] + (order.head * 2.0**-104 if order.form == LARGE else 0.0)
    for i in range(len(z)):
        kept = z[i] > -np.inf
        state[i] = OUTSIDE
        if whole[i] == -np.inf:
            margin[i] = -np.inf
            continue
        if order.form == SOFTMAX:
            margin[i] = np.inf
            state[i] = INSIDE if kept else OUTSIDE
            continue
        rough = (whole[i] - root[ANCHOR]) * order.scale_head
        if rough < DISTANT:
            # Exceeds 2^900, the largest γ, by a factor of 2^95: γ is negligible.
            margin[i] = max(rough, -MOST)
            continue
        dh, dl = scaled_difference(order, whole[i], root[ANCHOR])
        bh, bl = add(dh, dl, ph, pl)
        b = add_float(bh, bl, root[DELTA])[0]
        if abs(b) <= root[ZERO]:
            margin[i] = 0.0
            state[i] = EDGE if kept else OUTSIDE
            continue
        error = own + (abs(dh) * OPERATION if order.scaled else 0.0)
        if not error * SHARP <= abs(b):
            return KINK
        margin[i] = max(b, -MOST)
        state[i] = INSIDE if b > 0.0 and kept else OUTSIDE
    return DECIDED


@compiled
def publish(
    count: int, index: NDArray[np.int64], found: Floats, state: Flags, head: Floats, tail: Floats, radius: Floats
) -> int:
    """Write the weights found, each within `radius` of head + tail; return UNUSUAL if one has no digits or too few.

    A key of the support that was not evaluated, being far below the largest, has a weight below `LEAST`.
    """
    for i in range(len(head)):
        head[i] = tail[i] = 0.0
        radius[i] = LEAST if state[i] == INSIDE else 0.0
    for i in range(count):
        where = index[i]
        if found[HEAD, i] == 0.0:
            if found[TAIL, i] != LEAST:
                return UNUSUAL
            continue
        if not found[RELATIVE, i] <= FINE:
            return UNUSUAL
        head[where], tail[where] = found[HEAD, i], found[TAIL, i]
        # Two roundings and the tail are below 2^-50 of it.
        radius[where] = found[HEAD, i] * found[RELATIVE, i] * (1.0 + 2.0**-50)
    return DECIDED


@compiled
def has_kink(order: Order, anchored: bool, z: Floats, top: float, state: Flags) -> bool:
    """Whether the Jacobian is not unique: γ counts from tied maxima, or up to order 1 a key is at the threshold."""
    ties, edges = 0, 0
    for i in range(len(z)):
        ties += z[i] == top
        edges += state[i] == EDGE
    low = order.head < 1.0 or (order.head == 1.0 and order.tail <= 0.0)
    return (anchored and ties > 1) or (edges > 0 and low and order.form != SOFTMAX)


def _make(_sources: int):  # type: ignore[no-untyped-def]
    """The kernel, a closure over the hash of the sources, so that its cache depends on them."""

    @kernel
    def certify_rows(
        order: Order,
        given: bool,
        anchored: bool,
        sh: float,
        sl: float,
        whole: Floats,
        z: Floats,
        margin: Floats,
        state: Flags,
        head: Floats,
        tail: Floats,
        radius: Floats,
        status: Flags,
        kink: Flags,
        rate: Rate,
        cotangent: Floats,
        gradient: Floats,
        scalars: Floats,
        settled: Flags,
    ) -> int:
        """Certify each row of z (R, m), and its gradient if `cotangent` has rows; needs O(m) extra memory.

        Args:
            order: the order.
            given: whether (sh, sl) gives γ, as in `weigh_row`.
            anchored: as there.
            sh: as there.
            sl: as there.
            whole: as in `margins`.
            z: as in `margins`.
            margin: (R, m), filled.
            state: (R, m), filled.
            head: (R, m), filled.
            tail: (R, m), filled.
            radius: (R, m), filled.
            status: (R,), filled: DECIDED, or why the row is not certified.
            kink: (R,), filled.
            rate: as in `row_vjp`.
            cotangent: (R, m), or (0, m).
            gradient: (3, R, m), filled: head, tail and radius of the gradient in the scores.
            scalars: (R, 2, 3), filled: the same for the gradients in the parameter and in the order.
            settled: (R,), filled: the status of the gradients.
        """
        rows, size = z.shape
        found, root, held = np.empty((FOUND, size)), np.empty(ROOT), np.empty((HELD, size))
        sums = np.empty((SUMS, 5))
        integers = np.empty((INTEGER_ROWS, size), dtype=np.int64)
        index = integers[0]
        for r in range(rows):
            if given:
                status[r], count = weigh_row(order, anchored, sh, sl, z[r], found, index, root)
            else:
                status[r], count = solve_row(order, z[r], found, integers, root)
            if status[r] == DECIDED:
                status[r] = margins(order, whole[r], z[r], root, margin[r], state[r])
            if status[r] == DECIDED:
                status[r] = publish(count, index, found, state[r], head[r], tail[r], radius[r])
            if status[r] == DECIDED:
                kink[r] = has_kink(order, anchored, z[r], root[TOP], state[r])
            if len(cotangent):
                settled[r] = status[r]
                if status[r] == DECIDED:
                    point = point_of(order, root)
                    settled[r] = row_vjp(
                        order, rate, point, count, index, found, root, held, sums, state[r], cotangent[r],
                        gradient[0, r], gradient[1, r], gradient[2, r], scalars[r],
                    )  # fmt: skip
        return _sources

    return certify_rows


certify_rows = _make(SOURCES)
