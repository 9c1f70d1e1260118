"""Order 1 in integers: exact, so that kinks and midpoints are decided without arb.

Source: A. F. T. Martins, R. F. Astudillo, From softmax to sparsemax, ICML 2016 (the support and the threshold).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import compiled, float_of
from kernelproof.reference.bulk.double_word import OPERATION, div, two_prod, two_sum
from kernelproof.reference.bulk.mass_terms import Order
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    BASE,
    DECIDED,
    DELTA,
    HEAD,
    KEYS,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    TAIL,
    UNUSUAL,
    ZERO,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BITS = 61
"""K·2^S stays below 2^61, so that every integer here fits into 63 bits."""


@compiled
def reaches(order: Order, gh: float, gl: float) -> bool:
    """Whether the gap (gh, gl) is proved to be at least n: by more than the errors of both, or because both are exact.

    Double words are ordered as their pairs (h, g), because h = RN(h + g) and RN is monotone.
    """
    if gh > order.head * (1.0 + 2.0**-50):
        return True
    return order.exact and not order.scaled and (gh > order.head or (gh == order.head and gl >= order.tail))


@compiled
def sparsemax(
    count: int, top: float, index: Integers, gaps: Integers, sorted_gaps: Integers, found: Floats, root: Floats
) -> tuple[int, int]:
    """Solve order 1 where all gaps below 1 are integers D_i over one power of two 2^S; return UNUSUAL otherwise.

    Key k, by ascending D, is in the support iff K·D_k − Σ_{j<k} D_j < 2^S, and p_i = q_i/(K·2^S) with the integer q_i
    = 2^S + Σ_support D_j − K·D_i > 0. All these are at most (K + 1)·2^S < 2^62. q is exactly a double word (head
    RN(q), tail q − RN(q)), and its quotient by K is within ε. The quotient is a float64 iff TwoProd(h, K) is q; then
    the bound is 0, so that a midpoint of a narrower format is recognized. γ = (2^S + Σ_support D_j)/(K·2^S) likewise,
    and γ − d is q/(K·2^S): exactly 0, or beyond 2^-62.

    Args:
        count: how many keys are given; at least all those with a gap below 1.
        top: the largest key.
        index: positions of the keys given; on return, those of the support.
        gaps: scratch.
        sorted_gaps: scratch.
        found: (FOUND, m); its keys are given; on return, those of the support.
        root: (ROOT,), filled.

    Returns:
        The status, and the size of the support.
    """
    shift = BITS
    size = count + 1
    while size:
        size >>= 1
        shift -= 1
    shift = min(shift, 52)
    if shift < 24:
        return UNUSUAL, 0
    scale = float_of((shift + 1023) << 52)
    z = found[KEYS]
    for i in range(count):
        d, rest = two_sum(top, -z[i])
        # Below 2^52, so that adding 2^52 shows whether a float has a fraction.
        scaled = min(d, 1.0) * scale
        if rest != 0.0 or (scaled + 4503599627370496.0) - 4503599627370496.0 != scaled:
            return UNUSUAL, 0
        gaps[i] = sorted_gaps[i] = np.int64(scaled)
    ascending = sorted_gaps[:count]
    ascending.sort()
    unit = np.int64(1) << shift
    kept, summed = 0, np.int64(0)
    while kept < count and kept * ascending[kept] - summed < unit:
        summed += ascending[kept]
        kept += 1
    held = 0
    for i in range(count):
        q = unit + summed - kept * gaps[i]
        if q <= 0:
            continue
        h, g, exactly = _share(q, kept)
        index[held] = index[i]
        found[KEYS, held] = z[i]
        found[HEAD, held], found[TAIL, held] = h / scale, g / scale
        found[BASE, held] = h / scale
        found[RELATIVE, held] = 0.0 if exactly else OPERATION
        held += 1
    h, g, exactly = _share(unit + summed, kept)
    root[ANCHOR], root[POINT], root[POINT_TAIL], root[DELTA] = top, h / scale, g / scale, 0.0
    root[RADIUS] = h / scale * OPERATION
    root[ZERO] = 2.0**-70
    return DECIDED, held


@compiled
def _share(q: np.int64, kept: int) -> tuple[float, float, bool]:
    """q/kept for 0 < q < 2^62: (head, tail, whether it is exactly the head, with a tail of 0)."""
    qh = float(q)
    ql = float(q - np.int64(qh))
    h, g = div(qh, ql, float(kept), 0.0)
    ph, pl = two_prod(h, float(kept))
    if ph == qh and pl == ql:
        return h, 0.0, True
    return h, g, False
