"""Order 1 in integers, and the row of one key: exact, so that kinks and midpoints are decided without arb.

Source: A. F. T. Martins, R. F. Astudillo, From softmax to sparsemax, ICML 2016 (the support and the threshold).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.certifying import DECIDED, UNUSUAL, enclose
from kernelproof.reference.bulk.compiling import compiled, float_of
from kernelproof.reference.bulk.evaluating import Order
from kernelproof.reference.bulk.words import OPERATION, div, two_prod, two_sum

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BITS = 61
"""K·2^S stays below 2^61, so that every integer here fits into 63 bits."""


@compiled
def reaches(order: Order, gh: float, gl: float) -> bool:
    """Whether the gap (gh, gl), exact, is proved to be at least n: by more than what n may be off, or exactly.

    Double words are in the order of their pairs, because h = RN(h + g) and RN is monotone.
    """
    if gh > order.head * (1.0 + 2.0**-50):
        return True
    return order.exact and (gh > order.head or (gh == order.head and gl >= order.tail))


@compiled
def sparsemax(
    z: Floats,
    count: int,
    top: float,
    index: Integers,
    gaps: Integers,
    sorted_gaps: Integers,
    lo: Floats,
    hi: Floats,
    near: Floats,
) -> int:
    """Order 1 where all gaps below 1 are integers D_i over one power of two 2^S; UNUSUAL where they are not.

    Key k, by ascending D, is in the support iff K·D_k − Σ_{j<k} D_j < 2^S, and p_i = q_i/(K·2^S) with the integer
    q_i = 2^S + Σ_support D_j − K·D_i > 0. All these are at most (K + 1)·2^S < 2^62. q is a double word exactly (head
    RN(q), the tail what is left of it), and its quotient by K is within ε. The quotient is a float64 iff
    TwoProd(h, K) is q; then both ends are that float, so that a midpoint of a narrower format is what it is.

    Args:
        z: keys; at least all those with a gap below 1.
        count: how many.
        top: the largest key.
        index: their positions.
        gaps: scratch.
        sorted_gaps: scratch.
        lo: out, 0 where nothing is written.
        hi: out.
        near: out.
    """
    shift = BITS
    size = count + 1
    while size:
        size >>= 1
        shift -= 1
    shift = min(shift, 52)
    if shift < 24:
        return UNUSUAL
    scale = float_of((shift + 1023) << 52)
    for i in range(count):
        d, rest = two_sum(top, -z[i])
        # Below 2^52·1, so that a float without a fraction is told by adding 2^52.
        scaled = min(d, 1.0) * scale
        if rest != 0.0 or (scaled + 4503599627370496.0) - 4503599627370496.0 != scaled:
            return UNUSUAL
        gaps[i] = sorted_gaps[i] = np.int64(scaled)
    ascending = sorted_gaps[:count]
    ascending.sort()
    unit = np.int64(1) << shift
    kept, summed = 0, np.int64(0)
    while kept < count and kept * ascending[kept] - summed < unit:
        summed += ascending[kept]
        kept += 1
    for i in range(count):
        q = unit + summed - kept * gaps[i]
        if q <= 0:
            continue
        qh = float(q)
        ql = float(q - np.int64(qh))
        h, g = div(qh, ql, float(kept), 0.0)
        ph, pl = two_prod(h, float(kept))
        where = index[i]
        if ph == qh and pl == ql:
            lo[where] = hi[where] = near[where] = h / scale
        else:
            lo[where], hi[where], near[where] = enclose(h / scale, g / scale, OPERATION)
    return DECIDED
