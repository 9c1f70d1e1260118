"""The vector-Jacobian product of one row in double words, each number with a proved radius, or the row given up.

With b_i = γ − d_i in logits (exact up to the root), slopes a_i = n·w_i/b_i (order ∞: w_i) and x_i = g_i − C,

- scores: β·a_i·x_i, where C is the mean of g under a (`Adaptive`) or under w; `Anchored` takes Σ a_i·x_i off its maxima;
- the rule's parameter: a coefficient times Σ a_i·x_i·d_i, as in `weighting.pull_back`;
- the order, `Adaptive`: Σ w_i·φ_i·x_i with φ = log u + 1/u − 1, u = b/n (docs/theory.md, G2; the terms w/u·x sum to 0).
  Other rules: Σ w_i·log(b_i/γ)·x_i. α at order ∞: −½Σ w_i·x_i·ℓ_i², ℓ = log w (the mean of ℓ² drops out, Σ w·x = 0).

Radii. ε = 2^-102 bounds an operation (`words`), a sum of N numbers is within N·ε/4 of the sum of their sizes. An
error passes on by the derivative: relative ones add in products and quotients, a factor of 1.01 or 1.02 covers their
products and the roundings of the radii themselves, which are sums of nonnegative float64 numbers.
- b: 3ε relative (a difference, two sums) and what is not known of the root, over b. a: those of w and b, and 3ε.
- C = M/A: (E_M + |C|·E_A)/A, and ε. x: E_C, and ε. c = a·x: a·E_C + |c|(relative of a, and ε).
- φ by its series for |u − 1| ≤ 2^-9: `PHI_ERROR` and 2ε relative, and |φ′| ≤ 1.02·|u − 1| times the error of u.
  Else ε(1 + |log u|) for the logarithm, 2ε/u, ε for each sum; and |φ′·u| ≤ 1/u times the relative error of u.
- ℓ = log w_top − βd: 2ε(1 + |log w_top|) for the logarithm and the sum, the relative error of w_top, and 2ε·βd.
Keys left out, below `LEAST` each, move each sum by less than 2^-1000·max|g| times its other factors, at most 2^90·1900.

Whatever is not in the ranges below, where what underflow may take is accounted for, and whatever comes out with a radius above
`LOOSE` of the sum of the sizes that went into it, goes to arb.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.certifying import (
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
from kernelproof.reference.bulk.compiling import compiled
from kernelproof.reference.bulk.elementary import PHI_ERROR, log_phi, log_word
from kernelproof.reference.bulk.evaluating import LARGE, LEAST, POWER, SOFTMAX, Order, scaled_difference
from kernelproof.reference.bulk.words import OPERATION, Word, add, add_float, div, mul, mul_float, two_sum

Floats = NDArray[np.float64]

ADAPTIVE, FIXED, ANCHORED = 0, 1, 2

SLOPE, SLOPE_TAIL, SLOPE_ERROR, REACH, REACH_TAIL, REACH_ERROR = range(6)
HELD = 6
"""Scratch, by key: the slope with its relative bound, and γ − d with its one."""

LOOSE = 2.0**-62
LEAST_WEIGHT, LEAST_REACH, LARGEST_GAP = 2.0**-880, 2.0**-200, 2.0**200
LEAST_COTANGENT, LARGEST_COTANGENT = 2.0**-150, 2.0**150
LARGEST_ORDER = 2.0**100
"""Weights and slopes, γ − d, d, cotangents that are not 0, and the order of LARGE are taken between these."""
SMALL, LOSS = 2.0**-900, 2.0**-1060
"""A product of double words below `SMALL` may lose up to ten subnormals, less than `LOSS`, above it nothing that counts."""
FAINT = 2.0**-1000
"""More than what the terms of a sum of 2^50 may lose so."""


class Rate(NamedTuple):
    """The rule, as the kernel takes it.

    Attributes:
        kind: ADAPTIVE, FIXED or ANCHORED.
        head, tail: what Σ a·x·d is multiplied with to give the parameter's gradient (over γ for FIXED of finite
            orders), as a double word within 2^-105.
    """

    kind: int
    head: float
    tail: float


@compiled
def slopes(
    order: Order, rate: Rate, point: Word, count: int, found: Floats, root: Floats, held: Floats
) -> int:
    """Fill `held`; UNUSUAL if a number is out of range."""
    flat = order.form == POWER and order.whole == 1 and rate.kind == ADAPTIVE
    own = root[RADIUS] + (order.head * 2.0**-104 if order.form == LARGE else 0.0)
    ph, pl = point
    for i in range(count):
        h, g, relative = found[HEAD, i], found[TAIL, i], found[RELATIVE, i]
        held[SLOPE, i], held[SLOPE_TAIL, i], held[SLOPE_ERROR, i] = h, g, relative
        if h == 0.0:
            if order.form != LARGE and order.form != SOFTMAX:
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
        held[REACH, i], held[REACH_TAIL, i], held[REACH_ERROR, i] = bh, bl, error
        if flat:
            # w = u: the slope is 1.
            held[SLOPE, i], held[SLOPE_TAIL, i], held[SLOPE_ERROR, i] = 1.0, 0.0, 0.0
            continue
        nh, nl = mul(h, g, order.head, order.tail)
        held[SLOPE, i], held[SLOPE_TAIL, i] = div(nh, nl, bh, bl)
        held[SLOPE_ERROR, i] = 1.01 * (relative + error + 3.0 * OPERATION)
        if not held[SLOPE, i] >= LEAST_WEIGHT:
            return UNUSUAL
    return DECIDED


@compiled
def centre(
    rate: Rate, count: int, index: NDArray[np.int64], found: Floats, held: Floats, g: Floats
) -> tuple[float, float, float, float]:
    """C as a double word, its radius, and the mean of |g| in its place, which sizes it."""
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
def phi_of(order: Order, root: Floats, z: float, bh: float, bl: float, relative: float) -> tuple[float, float, float]:
    """φ(u) = log u + 1/u − 1 at u = b/n with its error, given b within `relative`."""
    if order.form == LARGE:
        # 1 − u = (λ − δ + βd)/n, by which n cancels.
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
    vh, vl = div(1.0, 0.0, uh, ul)
    wh, wl = add_float(vh, vl, -1.0)
    h, g = add(lh, ll, wh, wl)
    own = (1.0 + abs(lh)) + 2.0 * vh + abs(wh) + abs(h)
    return h, g, 1.02 * (own * OPERATION + vh * (relative + 2.0 * OPERATION))


@compiled
def pull_row(
    order: Order,
    rate: Rate,
    point: Word,
    count: int,
    index: NDArray[np.int64],
    found: Floats,
    root: Floats,
    held: Floats,
    state: NDArray[np.uint8],
    g: Floats,
    head: Floats,
    tail: Floats,
    radius: Floats,
    scalars: Floats,
) -> int:
    """Pull g back to the scores and scalars of one row; DECIDED if what is out is proved and sharp.

    Args:
        order: the order.
        rate: the rule.
        point: γ at the anchor.
        count: keys found.
        index: their positions.
        found: as `solve_row` and `weigh_row` leave it.
        root: likewise.
        held: (HELD, m), scratch.
        state: (m,), 1 in the support.
        g: (m,), the cotangent.
        head: (m,), out.
        tail: (m,), out.
        radius: (m,), out.
        scalars: (2, 3), out: head, tail and radius of the parameter's gradient, and of that of the order (SOFTMAX: α).
    """
    most, tied, inside = 0.0, 0, 0
    for i in range(len(g)):
        size = abs(g[i])
        if size != 0.0 and not LEAST_COTANGENT <= size <= LARGEST_COTANGENT:
            return UNUSUAL
        most = max(most, size)
        inside += state[i] == 1
    lost = inside > count
    for i in range(len(g)):
        head[i] = tail[i] = 0.0
        radius[i] = LEAST * max(1.0, 4.0 * most * order.scale_head) if lost and state[i] == 1 else 0.0
    scalars[:] = 0.0
    if count == 1:
        # The one weight is 1 whatever moves; with keys far below it, e^-1900 times any other factor is below FAINT.
        if lost:
            radius[index[0]] = LEAST * max(1.0, 4.0 * most * order.scale_head)
            scalars[0, 2] = scalars[1, 2] = FAINT * max(1.0, most) * max(1.0, abs(rate.head))
        return DECIDED
    if slopes(order, rate, point, count, found, root, held) != DECIDED:
        return UNUSUAL
    if order.form == LARGE and order.head > LARGEST_ORDER:
        return UNUSUAL
    ch, cl, doubt, middle = centre(rate, count, index, found, held, g)
    for i in range(count):
        lost = lost or found[HEAD, i] == 0.0
        tied += found[KEYS, i] == root[TOP]
    gone = len(g) * 2.0**-1000 * most if lost else 0.0
    doubt += gone
    th, tl = reach_of(order, rate, point, root)
    log_top, log_tail, log_error = 0.0, 0.0, 0.0
    if order.form == SOFTMAX:
        for i in range(count):
            if found[KEYS, i] == root[TOP]:
                log_top, log_tail = log_word(found[HEAD, i], found[TAIL, i])
                log_error = 1.01 * (2.0 * OPERATION * (1.0 + abs(log_top)) + found[RELATIVE, i])
                break
    moment_h, moment_l, moment_error, moment_size, moment_scale = 0.0, 0.0, 0.0, 0.0, 0.0
    order_h, order_l, order_error, order_size, order_scale = 0.0, 0.0, 0.0, 0.0, 0.0
    sum_h, sum_l, sum_error, sum_size, sum_scale = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        where = index[i]
        if found[HEAD, i] == 0.0:
            radius[where] = LEAST * max(1.0, 4.0 * most * order.scale_head)
            continue
        a = held[SLOPE, i]
        xh, xl = add_float(-ch, -cl, g[where])
        h, low = mul(a, held[SLOPE_TAIL, i], xh, xl)
        error = 1.02 * a * (doubt + OPERATION * abs(xh)) + abs(h) * (held[SLOPE_ERROR, i] + OPERATION) * 1.01
        if abs(h) < SMALL and doubt > 0.0:
            error += LOSS
        scale = a * (abs(g[where]) + middle)
        if not (error <= LOOSE * scale or error == 0.0):
            return UNSETTLED
        dh, dl = two_sum(root[TOP], -found[KEYS, i])
        if dh != 0.0:
            if not dh <= LARGEST_GAP:
                return UNUSUAL
            ph, pl = mul(h, low, dh, dl)
            moment_h, moment_l = add(moment_h, moment_l, ph, pl)
            moment_error += error * dh + abs(ph) * OPERATION
            moment_size += abs(ph)
            moment_scale += scale * dh
        if rate.kind == ANCHORED:
            sum_h, sum_l = add(sum_h, sum_l, h, low)
            sum_error += error
            sum_size += abs(h)
            sum_scale += scale
        ph, pl, term_error, term_scale = order_term(
            order, rate, root, found[KEYS, i], th, tl, log_top, log_tail, log_error,
            (found[HEAD, i], found[TAIL, i], found[RELATIVE, i]),
            (held[REACH, i], held[REACH_TAIL, i], held[REACH_ERROR, i]),
            xh, xl, doubt,
        )  # fmt: skip
        order_h, order_l = add(order_h, order_l, ph, pl)
        order_error += term_error
        order_size += abs(ph)
        order_scale += term_scale * (abs(g[where]) + middle)
        head[where], tail[where], radius[where] = h, low, error
    spread = 0.25 * count * OPERATION
    moment_error = 1.01 * (moment_error + spread * moment_size) + gone + (FAINT if moment_size > 0.0 else 0.0)
    # The first of two products may have lost something before the cotangent multiplies it.
    faint = FAINT * max(1.0, most) if order_size > 0.0 else 0.0
    order_error = 1.01 * (order_error + spread * order_size) + gone + faint
    if rate.kind == ANCHORED:
        share_h, share_l = div(sum_h, sum_l, float(tied), 0.0)
        share_error = 1.01 * (sum_error + spread * sum_size) / tied + OPERATION * abs(share_h) + gone + (LOSS if sum_size > 0.0 else 0.0)
        if not (share_error <= LOOSE * sum_scale or share_error == 0.0):
            return UNSETTLED
        for i in range(count):
            if found[KEYS, i] == root[TOP]:
                where = index[i]
                h, low = add(head[where], tail[where], -share_h, -share_l)
                head[where], tail[where] = h, low
                radius[where] = 1.01 * (radius[where] + share_error + OPERATION * abs(h))
    if order.scaled:
        for i in range(count):
            where = index[i]
            if found[HEAD, i] != 0.0:
                head[where], tail[where] = mul(head[where], tail[where], order.scale_head, order.scale_tail)
                radius[where] = 1.01 * (radius[where] * order.scale_head + OPERATION * abs(head[where]))
                radius[where] += LOSS if 0.0 < abs(head[where]) < SMALL else 0.0
    if not (moment_error <= LOOSE * moment_scale or moment_error == 0.0):
        return UNSETTLED
    if not (order_error <= LOOSE * order_scale or order_error == 0.0):
        return UNSETTLED
    h, low = mul(moment_h, moment_l, rate.head, rate.tail)
    error = moment_error * abs(rate.head) + OPERATION * 1.5 * abs(h)
    if rate.kind == FIXED and order.form != SOFTMAX:
        h, low = div(h, low, th, tl)
        error = error / th + 2.0 * OPERATION * abs(h)
    error += FAINT if moment_size > 0.0 else 0.0
    scalars[0, 0], scalars[0, 1], scalars[0, 2] = h, low, 1.02 * error
    scalars[1, 0], scalars[1, 1], scalars[1, 2] = order_h, order_l, order_error
    return DECIDED


@compiled
def reach_of(order: Order, rate: Rate, point: Word, root: Floats) -> Word:
    """γ of a rule that gives it, within ε; else 1."""
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
    th: float,
    tl: float,
    log_top: float,
    log_tail: float,
    log_error: float,
    weight: tuple[float, float, float],
    reach: tuple[float, float, float],
    xh: float,
    xl: float,
    doubt: float,
) -> tuple[float, float, float, float]:
    """One term of the gradient in the order, with its error, and what sizes it next to a cotangent."""
    if order.form == SOFTMAX:
        if rate.kind != ADAPTIVE:
            return 0.0, 0.0, 0.0, 0.0
        dh, dl = scaled_difference(order, z, root[TOP])
        lh, ll = add(dh, dl, log_top, log_tail)
        off = log_error + 2.0 * OPERATION * abs(dh)
        fh, fl = mul(-0.5 * lh, -0.5 * ll, lh, ll)
        apart = 1.02 * (abs(lh) + off) * off + 2.0 * OPERATION * abs(fh)
    elif rate.kind == ADAPTIVE:
        fh, fl, apart = phi_of(order, root, z, reach[0], reach[1], reach[2])
    elif z == root[TOP]:
        # log 1 is 0 exactly.
        return 0.0, 0.0, 0.0, 0.0
    else:
        qh, ql = div(reach[0], reach[1], th, tl)
        fh, fl = log_word(qh, ql)
        apart = 1.02 * (OPERATION * (1.0 + abs(fh)) + reach[2] + 3.0 * OPERATION)
    vh, vl = mul(weight[0], weight[1], fh, fl)
    ph, pl = mul(vh, vl, xh, xl)
    error = abs(vh) * (doubt + OPERATION * abs(xh)) + weight[0] * apart * (abs(xh) + doubt)
    error += abs(ph) * (weight[2] + 2.0 * OPERATION)
    return ph, pl, 1.02 * error, weight[0] * abs(fh)
