"""The vector-Jacobian product of one row in double words, each number with a proved radius; or the row is given up.

With b_i = γ − d_i in logits (exact up to the root), slopes a_i = n·w_i/b_i (order ∞: w_i) and x_i = g_i − C,

- scores: β·a_i·x_i, C the mean of g under a (`Adaptive`) or under w; `Anchored` subtracts Σ a_i·x_i from its maxima;
- the rule's parameter: a coefficient times Σ a_i·x_i·d_i, as in `weighting.vjp`;
- the order, `Adaptive`: Σ w_i·φ_i·x_i with φ = log u + 1/u − 1, u = b/n (docs/theory.md, G2; the terms w/u·x sum to 0).
  Other rules: Σ w_i·log(b_i/γ)·x_i. α at order ∞: −½Σ w_i·x_i·ℓ_i², ℓ = log w (the mean of ℓ² drops out, Σ w·x = 0).

Radii. ε = 2^-102 bounds an operation (`double_word`); a sum of N numbers is within N·ε/4 of the sum of their sizes. An
error propagates by the derivative: relative errors add in products and quotients, and a factor of 1.01 or 1.02 covers
their products and the roundings of the radii themselves, which are sums of nonnegative float64 numbers.
- b: 3ε relative (a difference, two sums) and the uncertainty of the root, over b. 1/u = n/b: that of b, and 2ε.
  a = w·n/b: those of w and b, and 3ε.
- C = M/A: (E_M + |C|·E_A)/A, and ε. x: E_C, and ε. c = a·x: a·E_C + |c|(relative of a, and ε).
- φ by its series for |u − 1| ≤ 2^-9: `PHI_ERROR` and 2ε relative, and |φ′| ≤ 1.02·|u − 1| times the error of u.
  Else ε(1 + |log u|) for the logarithm, 2ε/u, ε for each sum; and |φ′·u| ≤ 1/u times the relative error of u.
- ℓ = log w_top − βd: 2ε(1 + |log w_top|) for the logarithm and the sum, the relative error of w_top, and 2ε·βd.
Keys left out, below `LEAST` each, move each sum by less than 2^-1000·max|g| times its other factors, at most 2^90·1900.

A row goes to arb if a number is out of the ranges of `slopes`, within which underflow is accounted for, or if a result
has a radius above `LOOSE` of the sum of the sizes that went into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import compiled
from kernelproof.reference.bulk.double_word import OPERATION, Word, add, add_float, div, mul, two_sum
from kernelproof.reference.bulk.elementary_functions import log_word
from kernelproof.reference.bulk.gradient_terms import (
    ADAPTIVE,
    ANCHORED,
    FIXED,
    INVERSE,
    INVERSE_TAIL,
    LARGEST_COTANGENT,
    LARGEST_GAP,
    LARGEST_ORDER,
    LEAST_COTANGENT,
    LOSS,
    REACH,
    REACH_ERROR,
    REACH_TAIL,
    SLOPE,
    SLOPE_ERROR,
    SLOPE_TAIL,
    SMALL,
    Rate,
    centre,
    order_term,
    reach_of,
    slopes,
)
from kernelproof.reference.bulk.mass_terms import LARGE, LEAST, SOFTMAX, Order
from kernelproof.reference.bulk.row_certificate import DECIDED, HEAD, KEYS, RELATIVE, TAIL, TOP, UNSETTLED, UNUSUAL

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.uint8]

LOOSE = 2.0**-62
FAINT = 2.0**-1000
"""More than a sum of 2^50 terms may lose to underflow, each less than 2^-1060."""

TRACE = 5e-324
"""The size of a term that may have underflowed altogether: one such term makes the error of its sum `FAINT`."""

MOMENT, BY_ORDER, TOTAL = range(3)
SUMS = 3
"""Sums over the keys, each (head, tail, error, size, scale): Σ a·x·d, the terms in the order, Σ a·x."""


@compiled
def gather(sums: Floats, which: int, h: float, low: float, error: float, scale: float) -> None:
    """Add one term, known within `error`, to a sum."""
    one = sums[which]
    one[0], one[1] = add(one[0], one[1], h, low)
    one[2] += error
    one[3] += abs(h)
    one[4] += scale


@compiled
def error_of(sums: Floats, which: int, count: int) -> float:
    """The error of a sum of `count` terms."""
    total, size = float(sums[which, 2]), float(sums[which, 3])
    return 1.01 * (total + 0.25 * count * OPERATION * size)


@compiled
def is_sharp(error: float, scale: float) -> bool:
    """Whether an error is small relative to `scale`; a NaN is not."""
    return error <= LOOSE * scale or error == 0.0


@compiled
def survey(g: Floats, state: Flags) -> tuple[float, int]:
    """The largest |g|, NaN if one is out of range, and how many keys have weight."""
    most, inside = 0.0, 0
    for i in range(len(g)):
        size = abs(g[i])
        if size != 0.0 and not LEAST_COTANGENT <= size <= LARGEST_COTANGENT:
            return np.nan, 0
        most = max(most, size)
        inside += state[i] == 1
    return most, inside


@compiled
def log_of_top(count: int, found: Floats, top: float) -> tuple[float, float, float]:
    """The logarithm of the largest weight and its error."""
    for i in range(count):
        if found[KEYS, i] == top:
            h, low = log_word(found[HEAD, i], found[TAIL, i])
            return h, low, 1.01 * (2.0 * OPERATION * (1.0 + abs(h)) + found[RELATIVE, i])
    return np.nan, np.nan, np.nan


@compiled
def sum_up(
    order: Order,
    rate: Rate,
    reach: Word,
    middle: tuple[float, float, float, float],
    count: int,
    index: Integers,
    found: Floats,
    root: Floats,
    held: Floats,
    sums: Floats,
    g: Floats,
    head: Floats,
    tail: Floats,
    radius: Floats,
) -> int:
    """Write a·x of each key to its position, and gather the sums."""
    ch, cl, doubt, typical = middle
    log_top = (0.0, 0.0, 0.0)
    if order.form == SOFTMAX:
        log_top = log_of_top(count, found, root[TOP])
    sums[:] = 0.0
    for i in range(count):
        if found[HEAD, i] == 0.0:
            continue
        where = index[i]
        a = held[SLOPE, i]
        xh, xl = add_float(-ch, -cl, g[where])
        h, low = mul(a, held[SLOPE_TAIL, i], xh, xl)
        error = 1.02 * a * (doubt + OPERATION * abs(xh)) + 1.01 * abs(h) * (held[SLOPE_ERROR, i] + OPERATION)
        if abs(h) < SMALL and doubt > 0.0:
            error += LOSS
        cotangent = abs(g[where]) + typical
        if not is_sharp(error, a * cotangent):
            return UNSETTLED
        head[where], tail[where], radius[where] = h, low, error
        dh, dl = two_sum(root[TOP], -found[KEYS, i])
        if dh != 0.0:
            if not dh <= LARGEST_GAP:
                return UNUSUAL
            ph, pl = mul(h, low, dh, dl)
            gather(sums, MOMENT, ph, pl, error * dh + abs(ph) * OPERATION, a * cotangent * dh)
            if cotangent != 0.0:
                sums[MOMENT, 3] += TRACE
                if rate.kind == ADAPTIVE or order.form != SOFTMAX:
                    sums[BY_ORDER, 3] += TRACE
        if rate.kind == ANCHORED:
            gather(sums, TOTAL, h, low, error, a * cotangent)
            if cotangent != 0.0:
                sums[TOTAL, 3] += TRACE
        weight = (found[HEAD, i], found[TAIL, i], found[RELATIVE, i])
        margin = (held[REACH, i], held[REACH_TAIL, i], held[REACH_ERROR, i])
        inverse = (held[INVERSE, i], held[INVERSE_TAIL, i])
        ph, pl, error, scale = order_term(
            order, rate, root, found[KEYS, i], reach, log_top, weight, margin, inverse, xh, xl, doubt
        )
        gather(sums, BY_ORDER, ph, pl, error, scale * cotangent)
    return DECIDED


@compiled
def finish_scores(
    order: Order,
    rate: Rate,
    count: int,
    index: Integers,
    found: Floats,
    root: Floats,
    sums: Floats,
    gone: float,
    head: Floats,
    tail: Floats,
    radius: Floats,
) -> int:
    """Subtract the sum from the maxima for ANCHORED, and multiply by the factor of the scores."""
    if rate.kind == ANCHORED:
        tied = 0
        for i in range(count):
            tied += found[KEYS, i] == root[TOP]
        sh, sl = div(sums[TOTAL, 0], sums[TOTAL, 1], float(tied), 0.0)
        share = error_of(sums, TOTAL, count) / tied + OPERATION * abs(sh) + gone
        share += LOSS if sums[TOTAL, 3] > 0.0 else 0.0
        if not is_sharp(share, sums[TOTAL, 4]):
            return UNSETTLED
        for i in range(count):
            if found[KEYS, i] == root[TOP]:
                where = index[i]
                h, low = add(head[where], tail[where], -sh, -sl)
                head[where], tail[where] = h, low
                radius[where] = 1.01 * (radius[where] + share + OPERATION * abs(h))
    if order.scaled:
        for i in range(count):
            where = index[i]
            if found[HEAD, i] != 0.0:
                h, low = mul(head[where], tail[where], order.scale_head, order.scale_tail)
                head[where], tail[where] = h, low
                radius[where] = 1.01 * (radius[where] * order.scale_head + OPERATION * abs(h))
                radius[where] += LOSS if 0.0 < abs(h) < SMALL else 0.0
    return DECIDED


@compiled
def finish_scalars(
    order: Order, rate: Rate, reach: Word, count: int, most: float, gone: float, sums: Floats, scalars: Floats
) -> int:
    """Write the gradients of the parameter and of the order."""
    moment = error_of(sums, MOMENT, count) + gone + (FAINT if sums[MOMENT, 3] > 0.0 else 0.0)
    # The first of two products may have underflowed before the cotangent multiplies it.
    faint = FAINT * max(1.0, most) if sums[BY_ORDER, 3] > 0.0 else 0.0
    by_order = error_of(sums, BY_ORDER, count) + gone + faint
    if not is_sharp(moment, sums[MOMENT, 4]) or not is_sharp(by_order, sums[BY_ORDER, 4]):
        return UNSETTLED
    h, low = mul(sums[MOMENT, 0], sums[MOMENT, 1], rate.head, rate.tail)
    error = moment * abs(rate.head) + OPERATION * 1.5 * abs(h)
    if rate.kind == FIXED and order.form != SOFTMAX:
        h, low = div(h, low, reach[0], reach[1])
        error = error / reach[0] + 2.0 * OPERATION * abs(h)
    error += FAINT if sums[MOMENT, 3] > 0.0 else 0.0
    scalars[0, 0], scalars[0, 1], scalars[0, 2] = h, low, 1.02 * error
    scalars[1, 0], scalars[1, 1], scalars[1, 2] = sums[BY_ORDER, 0], sums[BY_ORDER, 1], by_order
    return DECIDED


@compiled
def row_vjp(
    order: Order,
    rate: Rate,
    point: Word,
    count: int,
    index: Integers,
    found: Floats,
    root: Floats,
    held: Floats,
    sums: Floats,
    state: Flags,
    g: Floats,
    head: Floats,
    tail: Floats,
    radius: Floats,
    scalars: Floats,
) -> int:
    """Gradients of one row in its scores and scalars for the cotangent g; return DECIDED if they are proved and sharp.

    Args:
        order: the order.
        rate: the rule.
        point: γ at the anchor.
        count: how many keys were found.
        index: their positions.
        found: as filled by `solve_row` or `weigh_row`.
        root: likewise.
        held: (HELD, m), scratch.
        sums: (SUMS, 5), scratch.
        state: (m,), 1 in the support.
        g: (m,), the cotangent.
        head: (m,), filled.
        tail: (m,), filled.
        radius: (m,), filled.
        scalars: (2, 3), filled: head, tail and radius of the gradients in the parameter and in the order (SOFTMAX: α).
    """
    most, inside = survey(g, state)
    if not most >= 0.0 or (order.form == LARGE and order.head > LARGEST_ORDER):
        return UNUSUAL
    lost = inside > count
    for i in range(count):
        lost = lost or found[HEAD, i] == 0.0
    # A key without digits: its slope is below LEAST, and the difference of two cotangents below 2·most.
    tiny = LEAST * max(1.0, 4.0 * most * order.scale_head)
    for i in range(len(g)):
        head[i] = tail[i] = 0.0
        radius[i] = tiny if lost and state[i] == 1 else 0.0
    scalars[:] = 0.0
    if count == 1:
        # The only weight is constantly 1; with keys far below it, e^-1900 times any other factor is below FAINT.
        if lost:
            scalars[0, 2] = scalars[1, 2] = FAINT * max(1.0, most) * max(1.0, abs(rate.head))
        return DECIDED
    status = slopes(order, rate, point, count, found, root, held)
    if status != DECIDED:
        return status
    gone = len(g) * FAINT * most if lost else 0.0
    ch, cl, doubt, typical = centre(rate, count, index, found, held, g)
    middle = (ch, cl, doubt + gone, typical)
    reach = reach_of(order, rate, point, root)
    status = sum_up(order, rate, reach, middle, count, index, found, root, held, sums, g, head, tail, radius)
    if status == DECIDED:
        status = finish_scores(order, rate, count, index, found, root, sums, gone, head, tail, radius)
    if status == DECIDED:
        status = finish_scalars(order, rate, reach, count, most, gone, sums, scalars)
    return status
