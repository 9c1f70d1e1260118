"""One row in float64: its weights, and its gradients.

The laws are those of `numpy.core`, written as loops with compensated sums; the two share no arithmetic and can check
each other.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2 for the forms, G1 to G3 for the gradients.
"""

from __future__ import annotations

import math

import numpy as np

from kernelproof.verify.backends._arrays.core import Flags, Floats
from kernelproof.verify.backends.numba.careful.heavy_tails import adaptive_heavy, anchored_heavy, fixed_heavy
from kernelproof.verify.backends.numba.jit import jit
from kernelproof.verify.backends.numba.scalar_functions import (
    dot,
    one_minus_powers,
    psi,
    ratio_power,
    total,
    two_product,
    two_sum,
)
from kernelproof.verify.backends.numba.scalar_functions import power as double_word_power

FIXED, ANCHORED, ADAPTIVE = range(3)
LARGEST_SLOPE = 1e280
STEPS = 100
CONVERGED = 4e-16
TINY = 5e-324
TINY_POWER = 1e-290
EXACT_POWERS = 16.0
# Rows of the block that solve_row fills.
P, SLOPE, SHARE, LOG, GAP = range(5)


@jit
def edge_of(z: Floats, n: float) -> float:
    """The largest gap of the support: key k is in it iff ``Σ_{z_j < z_k} ((z_k − z_j)/n)ⁿ < 1``."""
    ordered = np.sort(z[z < n])
    low, high = 0, ordered.size - 1
    scale = n if n > EXACT_POWERS else 1.0
    while low < high:
        middle = (low + high + 1) // 2
        at = ordered[middle]
        if n < 1.0:
            room = one_minus_powers(ordered[:middle], at, n, n)
        else:
            value, carry = (n / scale) ** n, 0.0
            for gap in ordered[:middle]:
                value, error = two_sum(value, -(((at - gap) / scale) ** n))
                carry += error
            room = value + carry
        if room > 0.0:
            low = middle
        else:
            high = middle - 1
    return float(ordered[low])


@jit
def from_the_top(z: Floats, n: float, edge: float, out: Floats) -> tuple[float, float]:
    """Ratio form, n ≥ 1: Newton in γ on ``‖u‖_n − 1`` from γ = n down to the root."""
    reach = n
    r_total, e_total = 1.0, 1.0
    active = True
    for _ in range(STEPS):
        for i in range(z.size):
            if z[i] <= edge:
                out[P, i], out[SHARE, i], out[LOG, i] = ratio_power(z[i] / reach, (reach - z[i]) / reach, n)
        r_total, e_total = total(out[P]), total(out[SHARE])
        if not active:
            break
        excess = n * math.log(reach / n) + math.log(r_total)
        step = reach * math.expm1(-excess / n) * (r_total / e_total)
        moved = reach + step
        active = step < -CONVERGED * reach
        reach = (reach + edge) / 2 if moved < edge else moved
    log_total = math.log(r_total)
    factor = r_total ** (1.0 / n - 1.0) if n <= 2.0 else math.exp(log_total / n) / r_total
    for i in range(z.size):
        out[P, i] /= r_total
        out[SLOPE, i] = out[SHARE, i] * factor
        out[SHARE, i] /= e_total
    return reach, log_total


@jit
def low_root(z: Floats, n: float, edge: float) -> tuple[float, float]:
    """``x`` and ``y = x^(1/n)``, x the weight of the smallest key: ``Σ (c + y)ⁿ = 1``, ``c = (edge − z)/n``."""
    tied = 0.0
    for gap in z:
        tied += gap == edge
    room = max(one_minus_powers(z, edge, n, n), 0.0)
    x, top = room / tied, edge / n
    rises, slopes = np.zeros(z.size), np.zeros(z.size)
    for _ in range(STEPS):
        y = x ** (1.0 / n)
        for i in range(z.size):
            if z[i] < edge:
                c = (edge - z[i]) / n
                # y/c may overflow; then cⁿ is negligible against x.
                rises[i] = x if math.isinf(y / c) else c**n * math.expm1(n * math.log1p(y / c))
                slopes[i] = (y / (c + y)) ** (1.0 - n)
        step = (room - tied * x - total(rises)) / (tied + total(slopes))
        x = max(x + step, 0.0)
        if step >= -CONVERGED * x:
            break
    y = x ** (1.0 / n)
    if y > TINY_POWER and 4.0 * y > top:  # near ties the slopes need y itself to one rounding
        value, carry, slope = 1.0, 0.0, 0.0
        for gap in z:
            if gap <= edge:
                u = (edge - gap) / n + y
                high, low = double_word_power(u, n)
                value, error = two_sum(value, -high)
                carry += error - low
                slope += n * u ** (n - 1.0)
        y += (value + carry) / slope
    return x, y


@jit
def from_the_edge(z: Floats, n: float, edge: float, out: Floats) -> tuple[float, float]:
    """Low-anchored form, n < 1."""
    x, y = low_root(z, n, edge)
    deepest = math.log(max(x, TINY)) / n
    highest = deepest if edge == 0.0 and y <= TINY_POWER else math.log(edge / n + y)
    for i in range(z.size):
        if z[i] <= edge:
            c = (edge - z[i]) / n
            if c > 0.0 or y > TINY_POWER:
                u = c + y
                out[P, i], out[LOG, i] = u**n, min(math.log(u) - highest, 0.0)
                out[SLOPE, i] = min(out[P, i] / u, LARGEST_SLOPE)
            else:
                out[P, i], out[LOG, i] = x, min(deepest - highest, 0.0)
                out[SLOPE, i] = min(x ** ((n - 1.0) / n), LARGEST_SLOPE)
            out[SHARE, i] = (1.0 + c / max(y, TINY)) ** (n - 1.0)
    out[P] /= total(out[P])
    out[SHARE] /= total(out[SHARE])
    return edge + n * y, -n * highest


@jit
def fixed_margins(scores: Floats, top: float, h: float, x: Floats, q: Floats) -> float:
    """``d/γ``, ``1 − d/γ`` and γ with ``γ − d = h²/2 + s_i``, h² as a double word."""
    exponent = math.frexp(h)[1]
    shift = -2 * exponent if exponent > 300 or (exponent < -300 and top <= 0.0) else 0
    near_one = math.ldexp(h, shift // 2)
    square, square_low = two_product(near_one, near_one)
    reach = -np.inf
    for i in range(scores.size):
        value, lost = two_sum(math.ldexp(scores[i], shift), square / 2)
        q[i] = value + (lost + square_low / 2) if math.isfinite(value) else value
        reach = max(reach, q[i])
    for i in range(scores.size):
        x[i] = math.ldexp(top - scores[i], shift) / reach
        q[i] = q[i] / reach if reach != 0.0 else q[i]
    return math.ldexp(reach, -shift)


@jit
def anchored_margins(scores: Floats, top: float, gamma: float, x: Floats, q: Floats) -> float:
    """``d/γ`` and ``1 − d/γ``, corrected for the rounding error of d."""
    for i in range(scores.size):
        gap, lost = two_sum(top, -scores[i])
        if math.isinf(gap):
            half = top / 2 - scores[i] / 2
            x[i], q[i] = half / (gamma / 2), (gamma / 2 - half) / (gamma / 2)
        else:
            x[i], q[i] = gap / gamma, ((gamma - gap) - lost) / gamma
    return gamma


@jit
def given_bandwidth(
    scores: Floats, top: float, kind: int, n: float, parameter: float, out: Floats, support: Flags
) -> float:
    """Solve Fixed or Anchored at a finite order, and order 0 of any rule; r goes to P, slopes still lack 1/Σr."""
    x, q = np.empty(scores.size), np.empty(scores.size)
    if kind == FIXED:
        reach = fixed_margins(scores, top, parameter, x, q)
    else:
        reach = anchored_margins(scores, top, parameter, x, q)
    for i in range(scores.size):
        if n == 0.0:
            closed = (reach > 0.0 and q[i] >= 0.0) or (reach == 0.0 and scores[i] == top)
            support[i] = scores[i] > -np.inf and (closed or kind != FIXED)
            out[P, i] = 1.0 if support[i] else 0.0
        elif scores[i] > -np.inf and reach > 0.0 and q[i] > 0.0:
            support[i] = True
            out[P, i], e, out[LOG, i] = ratio_power(x[i], q[i], n)
            out[SLOPE, i] = e * (n / reach)
    return reach


@jit
def scaled_gap(top: float, score: float, factor: float, divisor: float) -> float:
    """``(top − score)·factor/divisor²`` where ``top − score`` may overflow."""
    gap = top - score
    if math.isinf(gap):
        return (top / 2 - score / 2) * factor / divisor / divisor * 2
    return gap * factor / divisor / divisor


@jit
def solve_row(
    scores: Floats, kind: int, n: float, parameter: float, out: Floats, support: Flags
) -> tuple[float, float]:
    """Fill the rows P to GAP of `out` (5, m) and `support`, both zero at first; return γ and log Σr."""
    top = -np.inf
    for score in scores:
        top = max(top, score)
    if top == -np.inf:
        return np.inf, -np.inf
    reach = np.inf
    z = np.full(scores.size, np.inf)
    if n == np.inf:
        factor, divisor = (1.0, parameter) if kind == FIXED else (parameter, 1.0)
        for i in range(scores.size):
            if kind == ANCHORED:
                support[i] = scores[i] == top
                out[P, i] = 1.0 if support[i] else 0.0
            elif scores[i] > -np.inf:
                support[i] = True
                out[P, i] = math.exp(-scaled_gap(top, scores[i], factor, divisor))
                out[SLOPE, i] = out[P, i] * factor / divisor / divisor
    elif kind == ADAPTIVE and n > 0.0:
        for i in range(scores.size):
            if scores[i] > -np.inf:
                z[i] = scaled_gap(top, scores[i], parameter, 1.0)
        edge = edge_of(z, n)
        reach, log_total = from_the_top(z, n, edge, out) if n >= 1.0 else from_the_edge(z, n, edge, out)
        for i in range(scores.size):
            support[i] = z[i] <= edge
            out[SLOPE, i] = min(out[SLOPE, i] * parameter, LARGEST_SLOPE)
            out[GAP, i] = top - scores[i] if support[i] else 0.0
        return reach, log_total
    else:
        reach = given_bandwidth(scores, top, kind, n, parameter, out, support)
    r_total = total(out[P])
    if r_total == 0.0:
        return reach, -np.inf
    for i in range(scores.size):
        out[P, i] /= r_total
        out[SHARE, i] = out[P, i]
        out[SLOPE, i] = min(out[SLOPE, i] / r_total, LARGEST_SLOPE)
        out[GAP, i] = top - scores[i] if support[i] else 0.0
    return reach, math.log(r_total)


@jit
def solve_heavy_row(
    scores: Floats, kind: int, n: float, parameter: float, out: Floats, support: Flags
) -> tuple[float, float]:
    """`solve_row` for a negative order; γ is negative."""
    top = -np.inf
    for score in scores:
        top = max(top, score)
    if top == -np.inf:
        return -np.inf, -np.inf
    for i in range(scores.size):
        support[i] = scores[i] > -np.inf
        out[GAP, i] = top - scores[i] if support[i] else 0.0
    if kind == ADAPTIVE:
        halves = np.full(scores.size, np.inf)
        for i in range(scores.size):
            if support[i]:
                halves[i] = (top / 2 - scores[i] / 2) * parameter
        reach, log_total = adaptive_heavy(halves, n, out[P], out[SLOPE], out[SHARE], out[LOG])
        for i in range(scores.size):
            out[SLOPE, i] = min(out[SLOPE, i] * parameter, LARGEST_SLOPE)
        return reach, log_total
    if kind == FIXED:
        reach = fixed_heavy(scores, top, n, parameter, out[P], out[SLOPE], out[LOG])
    else:
        reach = anchored_heavy(scores, top, n, parameter, out[P], out[SLOPE], out[LOG])
    if not reach < 0.0:
        support[:] = False
        out[GAP] = 0.0
        return reach, -np.inf
    r_total = total(out[P])
    for i in range(scores.size):
        out[P, i] /= r_total
        out[SHARE, i] = out[P, i]
        out[SLOPE, i] = min(out[SLOPE, i] / r_total, LARGEST_SLOPE)
    return reach, math.log(r_total)


@jit
def bend(log: float, gap: float, n: float, reach: float, log_total: float) -> float:
    """``n²(ξ − ξ_top)``, ``ξ = u log u − u + 1``, in terms of one sign; ``d log R + d²/2`` at n = ∞ (G2)."""
    if n == np.inf:
        return gap * log_total + gap * gap / 2
    x = gap / reach
    spread = (1.0 - x) * (n * log) ** 2 * psi(log) if abs(log) <= 1.0 else n * n * (math.exp(log) * log + x)
    return reach / n * (n * x * log_total + spread)


@jit
def moment(balanced: Floats, values: Floats, top: int) -> float:
    """``Σ balanced·values`` where balanced sums to 0, so that the value at the largest share may be subtracted."""
    value, carry = 0.0, 0.0
    for i in range(values.size):
        if balanced[i] != 0.0:  # without weight, the value of a huge gap may overflow
            value, error = two_sum(value, balanced[i] * (values[i] - values[top]))
            carry += error
    return value + carry


@jit
def heavy_moment(p: Floats, centered: Floats, gap: Floats, scale: float, reach: float, n: float) -> float:
    """``Σ c_i d_i = |n| Σ p_i (g_i − centre) x_i/(1 + x_i)``, ``x = scale·d/|γ|``, for a negative order.

    A gap may overflow, and a c underflow, although their product is an ordinary number.
    """
    value, carry = 0.0, 0.0
    for i in range(p.size):
        x = scale * gap[i] / abs(reach)
        share = 1.0 / (1.0 + 1.0 / x) if x > 1.0 else x / (1.0 + x)
        value, error = two_sum(value, -n * p[i] * centered[i] * share)
        carry += error
    return value + carry


@jit
def through_anchor(scores: Floats, through: Floats) -> None:
    """Add the gradient through max s, in equal shares at a tied maximum, where any split is a subgradient."""
    top, at, count = -np.inf, 0, 0
    for i in range(scores.size):
        if scores[i] > top:
            top, at, count = scores[i], i, 1
        elif scores[i] == top:
            count += 1
    if count == 1:
        through[at] = 0.0
    shared = total(through) / max(count, 1)
    for i in range(scores.size):
        if scores[i] == top:
            through[i] -= shared


@jit
def gradient_row(
    cotangent: Floats, kind: int, n: float, parameter: float, out: Floats, found: Floats, through: Floats
) -> None:
    """Fill `through` with the gradient in the scores, and found[2:5] with those in order, alpha and parameter."""
    p, slope, share, log, gap = out[P], out[SLOPE], out[SHARE], out[LOG], out[GAP]
    top = 0
    for i in range(share.size):
        if share[i] > share[top]:
            top = i
    mean = dot(share, cotangent)
    centered, difference = np.empty(share.size), np.empty(share.size)
    for i in range(share.size):
        centered[i], difference[i] = cotangent[i] - mean, cotangent[top] - cotangent[i]
    # Where one share is nearly 1 its cotangent is nearly the mean; the difference is a sum over the others.
    centered[top] = dot(share, difference)
    for i in range(share.size):
        through[i] = slope[i] * centered[i] if slope[i] > 0.0 else 0.0
    if kind == ADAPTIVE:
        through[top] = share[top] * dot(slope, difference)
        far = heavy_moment(p, centered, gap, parameter, found[0], n) if n < 0.0 else moment(through, gap, top)
        found[4] = -far / parameter
        for i in range(share.size):
            log[i] = bend(log[i], parameter * gap[i], n, found[0], found[1])
        found[3] = -moment(through, log, top) / parameter
        found[2] = -found[3] / n / n
        return
    spread = heavy_moment(p, centered, gap, 1.0, found[0], n) if n < 0.0 else dot(through, gap)
    for i in range(share.size):
        centered[i] *= p[i]
    if n < np.inf:
        found[2] = moment(centered, log, top)
    if kind == FIXED:
        found[4] = spread * (2.0 / parameter if n == np.inf else parameter / abs(found[0]))
    else:
        found[4] = spread / parameter
