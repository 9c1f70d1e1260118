"""The NumPy core: all rows of a block at once, in float64.

Every law is ``w ∝ [1 − d/γ]₊ⁿ``; only Adaptive has to find γ (`support`), the other rules give it. At negative orders
(`heavy_tails`) γ is negative too, and what follows from the state of a row holds as it is.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2 for the forms, G1 to G3 for the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernelproof.verify.backends._arrays.core import Flags, Floats, Law, RowGradients, WeightedRows
from kernelproof.verify.backends._arrays.double_word import total, two_product, two_sum
from kernelproof.verify.backends.numpy.heavy_tails import anchored_heavy, fixed_heavy, solve_heavy
from kernelproof.verify.backends.numpy.support import LARGEST_SLOPE, EntmaxRows, powers, solve

# A block of rows holds at most this many numbers; about twenty arrays of this size are alive at a time.
BLOCK = 1 << 20


@dataclass(frozen=True)
class RowState:
    """What forward and backward both need, each (R, m) unless stated otherwise; all 0 off the support.

    Attributes:
        p: weights.
        slope: ``∂p_i/∂s_i`` with γ and the normalizer held constant.
        share: the weights of the mean cotangent: p, or slope/Σslope under Adaptive.
        log: ``log(1 − d/γ)``; 0 at order ∞.
        gap: max s − s_i.
        support: the ball.
        reach: (R, 1) γ, negative at negative orders.
        log_normalizer: (R, 1).
    """

    p: Floats
    slope: Floats
    share: Floats
    log: Floats
    gap: Floats
    support: Flags
    reach: Floats
    log_normalizer: Floats


class Margins(NamedTuple):
    """``x = d/γ`` and ``q = (γ − d)/γ`` (R, m), q to nearly full precision, and γ (R, 1)."""

    x: Floats
    q: Floats
    reach: Floats


def _scaled_gaps(scores: Floats, top: Floats, factor: float, divisor: float) -> Floats:
    """``(max s − s)·factor/divisor²`` where ``max s − s`` may overflow; inf where masked."""
    gap = top - scores
    halved = (top / 2 - scores / 2) * factor / divisor / divisor * 2
    return np.where(np.isinf(gap), halved, gap * factor / divisor / divisor)


def _anchored(scores: Floats, top: Floats, gamma: float) -> Margins:
    gap, lost = two_sum(top, -scores)
    halved = top / 2 - scores / 2
    overflown = np.isinf(gap)
    x = np.where(overflown, halved / (gamma / 2), gap / gamma)
    q = np.where(overflown, (gamma / 2 - halved) / (gamma / 2), ((gamma - gap) - lost) / gamma)
    return Margins(x, q, np.full_like(top, gamma))


def _fixed(scores: Floats, top: Floats, h: float) -> Margins:
    """``γ − d = h²/2 + s_i`` with h² as a double word, so that the ball is decided exactly."""
    exponent = math.frexp(h)[1]
    # Where h² would leave the range of float64, measure in units of 4^exponent, unless a positive score outweighs h².
    extreme = np.logical_or(exponent > 300, (exponent < -300) & (top <= 0))
    shift = np.where(extreme, -2 * exponent, 0)
    near_one = np.ldexp(h, shift // 2)
    square, square_low = two_product(near_one, near_one)
    total, lost = two_sum(np.ldexp(scores, shift), np.broadcast_to(square / 2, scores.shape))
    margin = np.where(np.isfinite(total), total + (lost + square_low / 2), total)
    reach = margin.max(axis=1, keepdims=True)
    return Margins(np.ldexp(top - scores, shift) / reach, margin / reach, np.ldexp(reach, -shift))


def _given_bandwidth(scores: Floats, top: Floats, unmasked: Flags, law: Law) -> RowState:
    """Fixed or Anchored at a finite order, and order 0 of any rule: γ is known."""
    margins = (_fixed if law.kind == "fixed" else _anchored)(scores, top, law.parameter)
    if law.order == 0:
        inside = (margins.reach > 0) & (margins.q >= 0) if law.kind == "fixed" else unmasked
        support = unmasked & np.where(margins.reach == 0, scores == top, inside)
        r, e, log = support.astype(np.float64), np.zeros_like(scores), np.zeros_like(scores)
    else:
        support = unmasked & (margins.reach > 0) & (margins.q > 0)
        r, e, log = powers(margins.x, margins.q, law.order, support)
    r_total = total(r)
    p = r / r_total
    slope = np.minimum(e / r_total * (law.order / margins.reach), LARGEST_SLOPE)
    return RowState(p, slope, p, log, top - scores, support, margins.reach, np.log(r_total))


def _given_heavy(scores: Floats, top: Floats, unmasked: Flags, law: Law) -> RowState:
    """Fixed or Anchored at a negative order."""
    weigh = fixed_heavy if law.kind == "fixed" else anchored_heavy
    r, slope, log, support, reach = weigh(scores, top, unmasked, law.order, law.parameter)
    r_total = total(r)
    p = r / r_total
    slope = np.minimum(slope / r_total, LARGEST_SLOPE)
    return RowState(p, slope, p, log, top - scores, support, reach, np.log(r_total))


def _adaptive(scores: Floats, top: Floats, unmasked: Flags, alive: Any, law: Law) -> EntmaxRows:
    if law.order < 0:
        half = _scaled_gaps(scores / 2, top / 2, law.parameter, 1.0)
        return solve_heavy(np.where(alive, half, 0.0), law.order, unmasked | ~alive)
    z = np.where(alive, _scaled_gaps(scores, top, law.parameter, 1.0), 0.0)
    return solve(z, law.order)


def _limit(scores: Floats, top: Floats, unmasked: Flags, law: Law) -> RowState:
    """Order ∞: the Gaussian, or where γ is a constant, argmax shared among ties."""
    gap = top - scores
    if law.kind == "anchored":
        support, z, rate = scores == top, np.zeros_like(scores), 0.0
    elif law.kind == "adaptive":
        support, z, rate = unmasked, _scaled_gaps(scores, top, law.parameter, 1.0), law.parameter
    else:
        support, z = unmasked, _scaled_gaps(scores, top, 1.0, law.parameter)
        rate = np.float64(1.0) / law.parameter / law.parameter
    r = np.where(support, np.exp(-z), 0.0)
    r_total = total(r)
    p = r / r_total
    return RowState(p, rate * p, p, np.zeros_like(p), gap, support, np.full_like(top, np.inf), np.log(r_total))


def _state(scores: Floats, law: Law) -> RowState:
    unmasked = scores > -np.inf
    alive = unmasked.any(axis=1, keepdims=True)
    top = np.where(alive, scores.max(axis=1, keepdims=True), 0.0)
    if law.order == np.inf:
        state = _limit(scores, top, unmasked, law)
    elif law.kind != "adaptive" or law.order == 0:
        given = _given_heavy if law.order < 0 else _given_bandwidth
        state = given(scores, top, unmasked, law)
    else:
        p, slope, share, log, support, reach, log_total = _adaptive(scores, top, unmasked, alive, law)
        slope = np.minimum(law.parameter * slope, LARGEST_SLOPE)
        state = RowState(p, slope, share, log, top - scores, support, reach, np.where(alive, log_total, -np.inf))
    inside = state.support & unmasked
    p, slope, share, log, gap = (
        np.where(inside, part, 0.0) for part in (state.p, state.slope, state.share, state.log, state.gap)
    )
    return RowState(p, slope, share, log, gap, inside, state.reach, state.log_normalizer)


def _psi(x: Floats) -> Floats:
    """``(x + expm1(−x))/x²`` for |x| ≤ 1: the series ``Σ (−x)^j/(j + 2)!``, of one sign for x ≤ 0."""
    total = np.zeros_like(x)
    for j in range(18, -1, -1):
        total = total * -x + 1 / math.factorial(j + 2)
    return total


def _bend(state: RowState, law: Law) -> Floats:
    """``n²(ξ_i − ξ_top)`` with ``ξ = u log u − u + 1``: the gradient in α is ``−Σ_i (∂L/∂z_i)·bend_i``.

    With ``1 − x = 1 − d/γ`` and R the normalizer it is ``û·(n x log R + n²((1 − x)log(1 − x) + x))``: terms of one
    sign, also where n and γ are negative, so nothing cancels; at n = ∞ it is ``d log R + d²/2``. This equals G2, since
    ``Σ ∂L/∂z = 0``.
    """
    n = law.order
    z = law.parameter * state.gap
    if n == np.inf:
        return z * state.log_normalizer + z * z / 2
    x = z / state.reach
    near = np.clip(state.log, -1.0, 1.0)
    shallow = (1.0 - x) * (n * near) ** 2 * _psi(near)
    deep = n * n * (np.exp(state.log) * state.log + x)
    u_top = state.reach / n
    return u_top * (n * x * state.log_normalizer + np.where(state.log == near, shallow, deep))


def _gradients(scores: Floats, cotangent: Floats, law: Law) -> RowGradients:
    state = _state(scores, law)
    n, parameter = law.order, law.parameter
    top = state.share.argmax(axis=1)[:, None]
    g_top = np.take_along_axis(cotangent, top, axis=1)
    centered = cotangent - _mean(state, cotangent)
    # Where one share is nearly 1 its cotangent is nearly the mean; the difference is a sum over the others.
    np.put_along_axis(centered, top, _mean(state, g_top - cotangent), axis=1)
    through = state.slope * centered
    nothing = np.zeros(len(scores))
    if law.kind == "adaptive":
        share_top = np.take_along_axis(state.share, top, axis=1)
        others = total(state.slope * (g_top - cotangent))
        np.put_along_axis(through, top, share_top * others, axis=1)
        alpha = -_moment(state, through, _bend(state, law)) / parameter
        far = _heavy_moment(scores, centered, state, law) if n < 0 else _moment(state, through, state.gap)
        of_parameter = -far / parameter
        return RowGradients(through, -alpha / n / n, alpha, of_parameter)
    order = nothing if n == np.inf else _moment(state, state.p * centered, state.log)
    moment = _heavy_moment(scores, centered, state, law) if n < 0 else total(through * state.gap)[:, 0]
    if law.kind == "anchored":
        return RowGradients(_through_anchor(through, scores), order, nothing, moment / parameter)
    of_parameter = moment * (2 / parameter if n == np.inf else parameter / np.abs(state.reach[:, 0]))
    return RowGradients(through, order, nothing, np.where(state.support.any(axis=1), of_parameter, 0.0))


def _mean(state: RowState, values: Floats) -> Floats:
    return total(state.share * values)


def _moment(state: RowState, balanced: Floats, values: Floats) -> Floats:
    """``Σ balanced·values`` where balanced sums to 0, so that the value at the largest share may be subtracted.

    A key whose weight underflows contributes nothing, although the square of its gap may overflow.
    """
    largest = np.take_along_axis(values, state.share.argmax(axis=1)[:, None], axis=1)
    return total(balanced * np.where(balanced != 0, values - largest, 0.0))[:, 0]


def _heavy_moment(scores: Floats, centered: Floats, state: RowState, law: Law) -> Floats:
    """``Σ c_i d_i = |n| Σ p_i (g_i − centre) x_i/(1 + x_i)``, ``x = d/|γ|``, for a negative order.

    A gap may overflow, and a c underflow, although their product is an ordinary number.
    """
    top = scores.max(axis=1, keepdims=True)
    half = np.where(state.support, top / 2 - scores / 2, 0.0)
    x = half * (law.parameter if law.kind == "adaptive" else 1.0) / (np.abs(state.reach) / 2)
    share = np.where(x > 1.0, 1.0 / (1.0 + 1.0 / x), x / (1.0 + x))
    return total(-law.order * state.p * centered * np.where(state.support, share, 0.0))[:, 0]


def _through_anchor(through: Floats, scores: Floats) -> Floats:
    """Add the gradient through max s, in equal shares at a tied maximum, where any split is a subgradient."""
    tops = scores == scores.max(axis=1, keepdims=True)
    count = tops.sum(axis=1, keepdims=True)
    others = np.where(tops & (count == 1), 0.0, through)
    return others - np.where(tops, total(others) / count, 0.0)


def _blocks(rows: int, length: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, length))
    for start in range(0, rows, size):
        yield slice(start, start + size)


class NumpyCore:
    """The row core on NumPy arrays."""

    def forward(self, scores: Floats, law: Law) -> WeightedRows:
        """Weights of (R, m) scores."""
        parts = []
        with np.errstate(all="ignore"):
            for block in _blocks(*scores.shape):
                state = _state(scores[block], law)
                empty = ~state.support.any(axis=1)
                parts.append((state.p, state.support, state.reach[:, 0], state.log_normalizer[:, 0], empty))
        return WeightedRows(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def backward(self, scores: Floats, cotangent: Floats, law: Law) -> RowGradients:
        """Vector-Jacobian product with a (R, m) cotangent."""
        parts = []
        with np.errstate(all="ignore"):
            for block in _blocks(*scores.shape):
                found = _gradients(scores[block], cotangent[block], law)
                parts.append((found.scores, found.order, found.alpha, found.parameter))
        return RowGradients(*(np.concatenate(part) for part in zip(*parts, strict=True)))


CORE = NumpyCore()
