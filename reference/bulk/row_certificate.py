"""One row: enclose the root of its mass equation, prove its support, enclose its weights, or say why not.

Let F(γ) = Σ_i [(γ − d_i)/n]₊^n − 1 over all keys; F is continuous, and increasing where positive terms are. A
proposal names the smallest key k of the support I = {z_i ≥ z_k} and a point γ₀ = d_k + s (LARGE: γ₀ = n − λ), one
double word.

1. `evaluate` gives S with |S − Σ_I u_i^n| ≤ E₁, where E₁ = S·(ρ + count·ε/4)·1.01 (terms, sum). Terms without digits,
   and for LARGE keys left out because λ + d ≥ 1899 (u^n ≤ exp(−1899)), are at least 0 and at most `TINY` each
   wherever γ is within the box below: E = E₁ + m·2^-880 bounds all that is unknown about F near γ₀.
2. W = Σ_I u^(n−1) = F′(γ₀) is known within η = (count + 16)·2^-53. A term without digits is left out: s ≥ 2^-800 and
   n ≤ 2^20 make u ≥ 2^-820, so u^(n−1) = u^n/u is below 2^-899+806 for POWER (n ≤ 64) and 2^-937+820 for REAL, against
   W ≥ S/2.01 ≥ 1/5 (LARGE: u ≥ 1 − 2^-8).
3. For |γ − γ₀| ≤ r every base γ − d_i ≥ b = s (LARGE: b = 0.99n) changes by a factor within 1 ± r/b, F′ by one within
   1 ± κ, κ = 1.02·|n − 1|·r/b, given |n − 1|·r/b ≤ 2^-9 and r/b ≤ 2^-9:
   |log((1 ± r/b)^(n−1))| ≤ 1.003·|n − 1|·r/b.
4. By the mean value theorem, F(γ₀ ± r) has the sign of ±1 if r·W·(1 − η − κ) > |F₀| + 2E; with δ = −F₀/W, F₀ = S − 1,
   this follows from |δ| + rad < r with rad = 1.02·|δ|·(η + κ + 2^-49) + 1.05·E/W, where r = 2|δ| + 4E/W + 2^-100·b.
   So there is a root within r of γ₀, and by the mean value theorem again within rad of γ₀ + δ.
5. That is the root of the whole row if all keys of I keep a positive base (s − r > 0, by 3) and no other key gets one:
   γ₀ + r is below the gap of the next key, s + r < z_k − z_next. Then support and root are proved.
6. A weight is u_i^n(1 + X)^n with X = (γ* − γ₀)/b_i. With t = nδ/b_i, (1 + X)^n is 1 + t + t²(n − 1)/(2n) within
   0.2·((n + 1)|δ|/b_i)³, because |n(n − 1)(n − 2)| ≤ (n + 1)³ and the rest of Taylor's remainder is at most 1.01/6, and
   within 1.02·n·rad/b_i for the uncertainty of δ. Step s by δ and evaluate again until (n + 1)|δ|/b ≤ 2^-36.

Every float64 comparison here has a relative margin of at least 2^-20, except the last, which has 2^-50.

Source: R. E. Moore, Interval Analysis, 1966 (interval Newton); A. Ziv, ACM TOMS 17(3), 1991 (the rounding test).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.compiler import bits_of, compiled, float_of
from kernelproof.reference.bulk.double_word import OPERATION, add_float, div, two_sum
from kernelproof.reference.bulk.mass_terms import (
    LARGE,
    LEAST,
    TINY,
    Order,
    evaluate,
    minus_one,
    slope,
    term_error,
    total,
)

Floats = NDArray[np.float64]

DECIDED, UNUSUAL, KINK, UNSETTLED = 0, 1, 2, 3
"""The status of a row; all but the first go to arb: values out of range, an open support, an open root."""

CLOSE = 2.0**-36
STEPS = 6

KEYS, BASE, HEAD, TAIL, RELATIVE, GAPS = range(6)
FOUND = 6
"""Rows of what is found of the keys of a support: the keys; γ₀ − d in the unit of the logits, as float64; the weights
as double words with a relative bound (head 0: no digits, the weight is from 0 to tail); scratch."""

TOP, ANCHOR, POINT, POINT_TAIL, DELTA, RADIUS, ZERO = range(7)
ROOT = 7
"""What is found of γ: γ − d_i = β(z_i − anchor) + point + δ within radius (LARGE: n − point in the place of point),
and exactly 0 where it is at most `zero`. Nothing but the top is set for SOFTMAX."""


@compiled
def below(x: float) -> float:
    """The float64 before x > 0."""
    return float_of(bits_of(x) - 1)


@compiled
def above(x: float) -> float:
    """The float64 after x ≥ 0."""
    return float_of(bits_of(x) + 1)


@compiled
def enclose(h: float, g: float, radius: float) -> tuple[float, float, float]:
    """(lo, hi, nearest) of a weight within a relative `radius` of h + g > 2^-900; nearest is NaN if undecided.

    e = h·radius·1.001 + 2^-104·h covers the roundings of g ∓ e, each at most half a unit in the last place of a number
    below 2^-52·h + e. v = RN(h + a) and its error is exact (Dekker; |h| ≥ |a|), so a bound is v or its neighbour. RN is
    monotone: if both ends round alike so does every number between (Ziv's test).
    """
    e = h * (radius * 1.001 + 2.0**-104)
    a, b = g - e, g + e
    v = h + a
    w = h + b
    lo = below(v) if a - (v - h) < 0.0 else v
    hi = above(w) if b - (w - h) > 0.0 else w
    return lo, min(hi, 1.0), (v if v == w else np.nan)


@compiled
def settle(order: Order, count: int, found: Floats, delta: float, radius: float) -> None:
    """Turn the terms at γ₀ into weights, given δ and `radius` (rad): step 6. A term without digits is unchanged."""
    base, head, tail, relative = found[BASE], found[HEAD], found[TAIL], found[RELATIVE]
    n = order.head
    bend = 0.5 * (n - 1.0) / n
    known = term_error(order) + 2.0**-102
    for i in range(count):
        relative[i] = 0.0
        if head[i] == 0.0:
            continue
        x = delta / base[i]
        t = n * x
        c = t + bend * t * t
        cube = (n + 1.0) * abs(x)
        slack = 0.2 * cube * cube * cube + abs(t) * 2.0**-48 + 1.02 * n * radius / base[i]
        head[i], tail[i] = two_sum(head[i], tail[i] + head[i] * c)
        relative[i] = known + slack


@compiled
def certify(
    order: Order, count: int, size: int, anchor: float, start: float, gap: float, found: Floats, root: Floats
) -> int:
    """Take steps 1 to 6 for POWER, REAL and LARGE; return DECIDED if `found` and `root` hold proved results.

    Args:
        order: the order.
        count: how many keys the support has (LARGE: those that are not negligible).
        size: m, the number of keys of the row.
        anchor: z_k; max z for LARGE.
        start: the proposal for s or λ.
        gap: a lower bound of β(z_k − z_next); ∞ for LARGE.
        found: (FOUND, m); its keys are given, the rest is filled.
        root: (ROOT,), filled.
    """
    z, base, head, tail = found[KEYS], found[BASE], found[HEAD], found[TAIL]
    n = order.head
    sh, sl = start, 0.0
    for step in range(STEPS):
        least = 0.99 * n if order.form == LARGE else sh
        # LARGE: λ ∈ [0, 64] keeps x below 1965/2^20 < 2^-9 for all keys kept.
        most = 64.0 if order.form == LARGE else 1.001 * n
        if not 0.0 <= sh <= most or not least >= 2.0**-800:
            return UNSETTLED
        evaluate(order, z, count, anchor, sh, sl, base, head, tail)
        h, g = total(head, tail, count)
        w = slope(order, base, head, count)
        if not 2.0**-40 <= h <= 2.0**40 or not w > 0.0:
            return UNSETTLED
        delta = -minus_one(h, g) / w
        missing = h * (term_error(order) + 0.25 * count * OPERATION) * 1.01 + size * 2.0**-880
        r = 2.0 * abs(delta) + 4.0 * missing / w + least * 2.0**-100
        change = abs(n - 1.0) * r / least
        settled = 0.5 <= h <= 2.0 and change <= 2.0**-9 and r <= least * 2.0**-9
        if settled and ((n + 1.0) * abs(delta) <= CLOSE * least or step == STEPS - 1):
            eta = (count + 16.0) * 2.0**-53
            radius = 1.02 * abs(delta) * (eta + 1.02 * change + 2.0**-49) + 1.05 * missing / w
            if not abs(delta) + radius < r or not eta <= 2.0**-10 or not (n + 1.0) * abs(delta) <= 2.0**-10 * least:
                return UNSETTLED
            if not (sh + 1.01 * r) * (1.0 + 2.0**-50) < gap:
                return KINK
            root[ANCHOR], root[POINT], root[POINT_TAIL] = anchor, sh, sl
            root[DELTA], root[RADIUS], root[ZERO] = delta, radius, -1.0
            settle(order, count, found, delta, radius)
            return DECIDED
        move = -delta if order.form == LARGE else delta
        if order.form != LARGE and sh + move <= 0.0:
            # Far away on a concave branch: approach 0, but only by this much.
            move = -0.875 * sh
        sh, sl = add_float(sh, sl, move)
    return UNSETTLED


@compiled
def softmax(order: Order, count: int, size: int, top: float, found: Floats) -> int:
    """exp(−βd_i)/Σ exp(−βd_j): the sum is at least 1 and within count·ε/4 + terms + m·`TINY`, the quotient within ε."""
    head, tail, relative = found[HEAD], found[TAIL], found[RELATIVE]
    evaluate(order, found[KEYS], count, top, 0.0, 0.0, found[BASE], head, tail)
    sh, sl = total(head, tail, count)
    radius = 1.01 * (2.0 * term_error(order) + (0.26 * count + 1.0) * OPERATION + size * 2.0 * TINY)
    for i in range(count):
        relative[i] = 0.0
        if head[i] != 0.0:
            head[i], tail[i] = div(head[i], tail[i], sh, sl)
            relative[i] = radius
    return DECIDED


@compiled
def bound(count: int, index: NDArray[np.int64], found: Floats, lo: Floats, hi: Floats, near: Floats) -> None:
    """Write the enclosures of the `count` weights found to their positions."""
    head, tail, relative = found[HEAD], found[TAIL], found[RELATIVE]
    for i in range(count):
        where = index[i]
        if head[i] == 0.0:
            lo[where], hi[where], near[where] = 0.0, tail[i], (0.0 if tail[i] == LEAST else np.nan)
        elif relative[i] == 0.0 and tail[i] == 0.0:
            lo[where] = hi[where] = near[where] = head[i]
        else:
            lo[where], hi[where], near[where] = enclose(head[i], tail[i], relative[i])
