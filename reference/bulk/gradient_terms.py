"""The parts of the gradient of a row: slopes, the centre of the cotangent, and the terms of the gradient in the order.

The bounds are derived in `vjp`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import compiled
from kernelproof.reference.bulk.double_word import OPERATION, Word, add, add_float, div, mul, mul_float, two_sum
from kernelproof.reference.bulk.elementary_functions import PHI_ERROR, log_phi, log_word
from kernelproof.reference.bulk.mass_terms import LARGE, POWER, SOFTMAX, Order, scaled_difference
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    DECIDED,
    DELTA,
    HEAD,
    KEYS,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    TAIL,
    TOP,
    UNSETTLED,
    UNUSUAL,
)

Floats = NDArray[np.float64]

ADAPTIVE, FIXED, ANCHORED = 0, 1, 2

SLOPE, SLOPE_TAIL, SLOPE_ERROR, REACH, REACH_TAIL, REACH_ERROR, INVERSE, INVERSE_TAIL = range(8)
HELD = 8
"""Scratch, by key: the slope with its relative bound, γ − d with its relative bound, and 1/u = n/(γ − d), whose bound
is the latter plus 2 ε."""

LEAST_WEIGHT, LEAST_REACH, LARGEST_GAP = 2.0**-880, 2.0**-200, 2.0**200
LEAST_COTANGENT, LARGEST_COTANGENT = 2.0**-150, 2.0**150
LARGEST_ORDER = 2.0**100
"""Allowed ranges of weights and slopes, γ − d, d, nonzero cotangents, and the order of LARGE."""
SMALL, LOSS = 2.0**-900, 2.0**-1060
"""A product of double words below `SMALL` may lose ten subnormals, less than `LOSS`; above it nothing that counts."""


class Rate(NamedTuple):
    """The rule, as the kernel takes it.

    Attributes:
        kind: ADAPTIVE, FIXED or ANCHORED.
        head, tail: the factor of Σ a·x·d in the parameter's gradient (over γ for FIXED of finite orders), as a double
            word within 2^-105.
    """

    kind: int
    head: float
    tail: float


@compiled
def slopes(order: Order, rate: Rate, point: Word, count: int, found: Floats, root: Floats, held: Floats) -> int:
    """Fill `held`; UNUSUAL if a number is out of range."""
    flat = order.form == POWER and order.whole == 1 and rate.kind == ADAPTIVE
    own = root[RADIUS] + (order.head * 2.0**-104 if order.form == LARGE else 0.0)
    ph, pl = point
    for i in range(count):
        h, g, relative = found[HEAD, i], found[TAIL, i], found[RELATIVE, i]
        held[SLOPE, i], held[SLOPE_TAIL, i], held[SLOPE_ERROR, i] = h, g, relative
        if h == 0.0:
            if order.form not in (LARGE, SOFTMAX):
                return UNUSUAL
            continue
        if h < LEAST_WEIGHT:
            return UNUSUAL
        if order.form == SOFTMAX:
            continue
        dh, dl = scaled_difference(order, found[KEYS, i], root[ANCHOR])
        bh, bl = add(dh, dl, ph, pl)
        bh, bl = add_float(bh, bl, root[DELTA])
        if not bh >= LEAST_REACH:
            return UNUSUAL
        error = 1.01 * own / bh + 3.0 * OPERATION
        if not error <= 2.0**-60:
            return UNSETTLED
        vh, vl = div(order.head, order.tail, bh, bl)
        held[REACH, i], held[REACH_TAIL, i], held[REACH_ERROR, i] = bh, bl, error
        held[INVERSE, i], held[INVERSE_TAIL, i] = vh, vl
        if flat:
            # w = u: the slope is 1.
            held[SLOPE, i], held[SLOPE_TAIL, i], held[SLOPE_ERROR, i] = 1.0, 0.0, 0.0
            continue
        held[SLOPE, i], held[SLOPE_TAIL, i] = mul(h, g, vh, vl)
        held[SLOPE_ERROR, i] = 1.01 * (relative + error + 3.0 * OPERATION)
        if not held[SLOPE, i] >= LEAST_WEIGHT:
            return UNUSUAL
    return DECIDED


@compiled
def centre(
    rate: Rate, count: int, index: NDArray[np.int64], found: Floats, held: Floats, g: Floats
) -> tuple[float, float, float, float]:
    """C as a double word, its radius, and the same mean of |g| as a measure of its size."""
    mh, ml, ah, al = 0.0, 0.0, 0.0, 0.0
    error, size, doubt = 0.0, 0.0, 0.0
    for i in range(count):
        if found[HEAD, i] == 0.0:
            continue
        if rate.kind == ADAPTIVE:
            h, low, relative = held[SLOPE, i], held[SLOPE_TAIL, i], held[SLOPE_ERROR, i]
            ah, al = add(ah, al, h, low)
            doubt += h * relative
        else:
            h, low, relative = found[HEAD, i], found[TAIL, i], found[RELATIVE, i]
        h, low = mul_float(h, low, g[index[i]])
        mh, ml = add(mh, ml, h, low)
        error += abs(h) * (relative + OPERATION)
        size += abs(h)
    error = 1.01 * (error + 0.25 * count * OPERATION * size) + count * LOSS
    if rate.kind != ADAPTIVE:
        # The weights sum to 1.
        return mh, ml, error, size
    doubt = 1.01 * (doubt + 0.25 * count * OPERATION * ah)
    ch, cl = div(mh, ml, ah, al)
    return ch, cl, 1.02 * (error + abs(ch) * doubt) / ah + 1.01 * OPERATION * abs(ch), size / ah


@compiled
def phi_of(
    order: Order, root: Floats, z: float, bh: float, bl: float, relative: float, inverse: Word
) -> tuple[float, float, float]:
    """φ(u) = log u + 1/u − 1 at u = b/n with its error, given b within `relative` and 1/u within `relative` + 2 ε."""
    if order.form == LARGE:
        # 1 − u = (λ − δ + βd)/n, in which n cancels.
        dh, dl = scaled_difference(order, root[TOP], z)
        yh, yl = add(dh, dl, root[POINT], root[POINT_TAIL])
        yh, yl = add_float(yh, yl, -root[DELTA])
        xh, xl = mul(-yh, -yl, order.inverse_head, order.inverse_tail)
        error = 1.01 * (root[RADIUS] * order.inverse_head + 4.0 * OPERATION * abs(xh))
    else:
        yh, yl = add(bh, bl, -order.head, -order.tail)
        xh, xl = mul(yh, yl, order.inverse_head, order.inverse_tail)
        error = 1.01 * (relative * bh * order.inverse_head + 2.0**-105 + 3.0 * OPERATION * abs(xh))
    if abs(xh) <= 2.0**-9:
        qh, ql = log_phi(xh, xl)
        sh, sl = mul(xh, xl, xh, xl)
        h, g = mul(qh, ql, sh, sl)
        return h, g, abs(h) * (PHI_ERROR + 3.0 * OPERATION) + (1.03 * abs(xh) + error) * error
    uh, ul = mul(bh, bl, order.inverse_head, order.inverse_tail)
    lh, ll = log_word(uh, ul)
    vh = inverse[0]
    wh, wl = add_float(vh, inverse[1], -1.0)
    h, g = add(lh, ll, wh, wl)
    own = (1.0 + abs(lh)) + 2.0 * vh + abs(wh) + abs(h)
    return h, g, 1.02 * (own * OPERATION + vh * (relative + 2.0 * OPERATION))


@compiled
def reach_of(order: Order, rate: Rate, point: Word, root: Floats) -> Word:
    """γ within ε, if the rule gives it; else 1."""
    if rate.kind == ADAPTIVE or order.form == SOFTMAX:
        return 1.0, 0.0
    dh, dl = two_sum(root[TOP], -root[ANCHOR])
    return add(dh, dl, point[0], point[1])


@compiled
def order_term(
    order: Order,
    rate: Rate,
    root: Floats,
    z: float,
    whole: Word,
    log_top: tuple[float, float, float],
    weight: tuple[float, float, float],
    reach: tuple[float, float, float],
    inverse: Word,
    xh: float,
    xl: float,
    doubt: float,
) -> tuple[float, float, float, float]:
    """One term of the gradient in the order, its error, and a measure of its size relative to a cotangent."""
    if order.form == SOFTMAX:
        if rate.kind != ADAPTIVE:
            return 0.0, 0.0, 0.0, 0.0
        dh, dl = scaled_difference(order, z, root[TOP])
        lh, ll = add(dh, dl, log_top[0], log_top[1])
        off = log_top[2] + 2.0 * OPERATION * abs(dh)
        fh, fl = mul(-0.5 * lh, -0.5 * ll, lh, ll)
        error_of_f = 1.02 * (abs(lh) + off) * off + 2.0 * OPERATION * abs(fh)
    elif rate.kind == ADAPTIVE:
        fh, fl, error_of_f = phi_of(order, root, z, reach[0], reach[1], reach[2], inverse)
    elif z == root[TOP]:
        # log 1 is exactly 0.
        return 0.0, 0.0, 0.0, 0.0
    else:
        qh, ql = div(reach[0], reach[1], whole[0], whole[1])
        fh, fl = log_word(qh, ql)
        error_of_f = 1.02 * (OPERATION * (1.0 + abs(fh)) + reach[2] + 3.0 * OPERATION)
    vh, vl = mul(weight[0], weight[1], fh, fl)
    ph, pl = mul(vh, vl, xh, xl)
    error = abs(vh) * (doubt + OPERATION * abs(xh)) + weight[0] * error_of_f * (abs(xh) + doubt)
    error += abs(ph) * (weight[2] + 2.0 * OPERATION)
    return ph, pl, 1.02 * error, weight[0] * abs(fh)
