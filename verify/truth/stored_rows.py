"""What storage roundings may add to gradients of rows of weights, and how far they may move the weights of a mean.

Everything is in float64 and sets the size of allowed errors; nothing here decides what is true. Arrays are (R, S):
R rows of S keys, with weight 0 where a key has none. Source: docs/theory.md §4.
"""

from __future__ import annotations

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive, Anchored
from kernelproof.verify.records import Floats
from kernelproof.verify.truth.units import RowUnits


def _sum(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=-1, keepdims=True))


def stored_error(weights: Floats, u: float, eta: float) -> Floats:
    """How far storing a weight may move it: u of itself, and near underflow η, but never more than itself."""
    return np.asarray(u * weights + np.minimum(eta, weights))


def stored_slopes(weights: Floats, low: Floats, high: Floats, order: float, u: float, eta: float) -> Floats:
    """How far ``p^(1 − 1/n)`` may move, of a finite order, where a p between `low` and `high` is stored.

    It is infinite between the orders 0 and 1 where p may be 0.
    """
    power = 1.0 - 1.0 / order
    low, high = low - stored_error(low, u, eta), high + stored_error(high, u, eta)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        own, above, below = (np.where(each > 0, np.maximum(each, 0.0) ** power, 0.0) for each in (weights, high, low))
        moved = np.maximum(np.abs(above - own), np.abs(own - below))
    return np.where((low <= 0) & (high > 0) & (0 < order < 1), np.inf, moved)


def _share(own: Floats, others: Floats) -> Floats:
    """``own/(own + others)`` of numbers that are cut at 0."""
    own, others = np.maximum(own, 0.0), np.maximum(others, 0.0)
    total = own + others
    return np.asarray(own / np.where(total > 0, total, 1.0))


def of_products(units: RowUnits, g: Floats, u: float, eta: float) -> Floats:
    """(R, S) R of ``c_i = Σ_j J_ij g_j`` where the backward reads weights that were stored.

    It may store their products with g as well, before it subtracts the mean, as PyTorch's softmax on CUDA does.
    """
    p, size = units.weights, np.abs(g)
    live = p > 0
    if isinstance(units.rule, Adaptive) and units.order != INFINITY:
        return of_slopes(units, g, stored_slopes(p, p, p, units.order, u, eta), u, eta)
    off, mean = stored_error(p, u, eta), _sum(p * g)
    read = p + off
    out = off * np.abs(g - mean - p * g) + off**2 * size + read * (_sum(off * size) - off * size)
    stored = stored_error(read * size, u, eta)
    out = out + stored + read * _sum(stored)
    return with_nearest(units, np.where(live, units.stiffness * out, 0.0))


def of_slopes(units: RowUnits, g: Floats, off: Floats, u: float, eta: float, noise: Floats | float = 0.0) -> Floats:
    """(R, S) R of ``c_i = w_i(g_i − Σ_j w_j g_j/W)`` if each w is off by at most `off`, and each g by `noise`.

    The products w·g are stored. If w becomes w', c moves by ``o_i(g_i − g̃) − (w'_i/W')Σ_j o_j(g_j − g̃)``, which is
    linear in the share w'_i/W', so that the ends of its interval bound it.
    """
    own, size = units.slopes, np.abs(g) + noise
    with np.errstate(invalid="ignore", over="ignore"):
        others, rest = _sum(own) - own, _sum(off) - off
        far = off * np.abs(g - _sum(units.pi * g))
        moved, reach = own + off, (own + off) * noise
        stored = stored_error(moved * size, u, eta)
        out = np.maximum.reduce(
            [
                (far + reach) * (1 - share) + share * (_sum(far + reach) - far - reach) + share * _sum(stored)
                for share in (_share(own - off, others + rest), _share(moved, others - rest))
            ]
        )
        out = out + stored
    return np.where(moved > 0, np.where(np.isnan(out), np.inf, out), 0.0)


def with_nearest(units: RowUnits, by_score: Floats) -> Floats:
    """Add to the nearest key of `Anchored` what it passes on: all gaps are measured from it."""
    if not isinstance(units.rule, Anchored):
        return by_score
    nearest = (units.shift == 0) & (units.weights > 0)
    return np.where(nearest, by_score + _sum(by_score), by_score)


def of_order(units: RowUnits, g: Floats, u: float, eta: float) -> Floats:
    """(R,) R of the gradient in n, at order ∞ in α (G2), where the backward reads weights that were stored."""
    p = units.weights
    out = (np.abs(_order_slopes(units, p, g)) * stored_error(p, u, eta)).sum(axis=-1)
    return np.where(np.isnan(out), np.inf, out)


def order_in_box(units: RowUnits, g: Floats, low: Floats, high: Floats, moved: Floats, noise: Floats) -> float:
    """R of the gradient in n of one row whose weights are between `low` and `high`, to first order at both ends.

    Args:
        units: of the row, of a finite order.
        g: (S,) the upstream gradient of the weights, each off by `noise`.
        low: (S,) the least weights.
        high: (S,) the largest ones.
        moved: (S,) how far each score moves, in logits; margins of a fixed reach move with it.
        noise: (S,) see g.
    """
    p, n = units.weights, units.order
    slopes = np.maximum.reduce([np.abs(_order_slopes(units, each, g)) for each in (low, p, high)])
    live = high > 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        out = np.where(live, slopes * np.maximum(high - p, p - low), 0.0).sum()
        if isinstance(units.rule, Adaptive):
            ends = [np.where(each > 0, each, 1.0) ** (1.0 / n) for each in (high, low)]
            terms = high * np.maximum.reduce([np.abs(np.log(base) - 1.0 + 1.0 / base) for base in ends[: 1 + (n < 0)]])
            out += noise @ (terms + units.pi * terms.sum())
        else:
            reach = max(float(units.reach[0]), 1e-300)
            log = np.abs(np.log(np.where(p > 0, units.margins, reach) / reach))
            out += noise @ (high * (log + high @ log))
            bend = np.where(p > 0, (moved + moved.max(initial=0.0)) / units.margins, 0.0)
            out += (high * np.abs(g - p @ g)) @ bend
    return float(np.inf if np.isnan(out) else out)


def _order_slopes(units: RowUnits, p: Floats, g: Floats) -> Floats:
    """(R, S) the derivative in each weight of the gradient in n (at order ∞ in α), at weights p."""
    live = p > 0
    if units.flat or (units.order == INFINITY and not isinstance(units.rule, Adaptive)):
        return np.zeros_like(p)
    safe = np.where(live, p, 1.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if units.order == INFINITY:
            log = np.log(safe)
            spread, mean = _sum(p * log**2), _sum(p * g)
            slope = g * ((spread - log**2) / 2 - log) + mean * (log**2 + 2 * log) / 2
        elif isinstance(units.rule, Adaptive):
            n = units.order
            base = safe ** (1.0 / n)
            phi = np.log(base) - 1.0 + 1.0 / base
            slopes = np.where(live, p / base, 0.0)
            total = _sum(slopes)
            share = slopes / np.where(total > 0, total, 1.0)
            far = g - _sum(share * g)
            slope = far * (phi + (base - 1.0) / (n * base)) - _sum(p * phi) * (1 - 1 / n) * share / safe * far
        else:
            reach = units.reach
            inside = live & (units.weights > 0)
            log = np.log(np.where(inside, units.margins, 1.0) / np.where(inside & (reach > 0), reach, 1.0))
            slope = g * (log - _sum(p * np.where(live, log, 0.0))) - _sum(p * g) * log
    return np.where(live, slope, 0.0)


def weight_box(units: RowUnits, margins: Floats, delta: Floats) -> tuple[Floats, Floats]:
    """(S,) least and largest weights of one row over the box ``|δ_i| ≤ delta_i`` of its scores (in logits).

    At order ∞, and where the reach is fixed, the corners are exact: a weight rises in its own score and falls in every
    other. Under the adaptive rule at a finite order intervals for the threshold give intervals for the weights.

    Args:
        units: of the row.
        margins: (S,) γ − d of all keys, negative off the support, −∞ for a key that may have no weight.
        delta: (S,) the box.
    """
    p, n = units.weights, units.order
    adaptive = isinstance(units.rule, Adaptive)
    if units.flat:
        return p, p
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if n == INFINITY:
            move = units.stiffness * delta
            return _ratio(p * np.exp(-move), p * np.exp(move))
        if n < 0:
            return _heavy_box(units, delta)
        if not adaptive:
            top = float(margins.max(initial=0.0))
            move = delta + (float(delta[p > 0].max(initial=0.0)) if isinstance(units.rule, Anchored) else 0.0)
            low, high = ((np.clip(margins + sign * move, 0.0, None) / top) ** n for sign in (-1, 1))
            return _ratio(low, high)
        most = float(delta.max(initial=0.0))
        move = delta + most
        for _ in range(3):
            bases = [np.clip((margins + sign * move) / n, 0.0, None) for sign in (-1, 1)]
            # Below order 1 the slopes fall in u, and are infinite at 0: there the largest δ bounds the mean.
            if n < 1:
                break
            low, high = (np.where(base > 0, base, 0.0) ** (n - 1) * (base > 0) for base in bases)
            # The threshold moves by a mean of the δ with the weights w/W of some point of the box, its own among them:
            # of its own δ it leaves a key the share 1 − w/W.
            others = high.sum() - high
            share = np.divide(others, low + others, out=np.zeros_like(low), where=others > 0)
            mean = np.divide(
                (high @ delta) - high * delta, low + low.sum() - low, out=np.full_like(low, np.inf), where=low.sum() > 0
            )
            move = np.minimum(move, share * delta + np.minimum(share * most, mean))
        low, high = (np.minimum(base, 1.0) ** n for base in bases)
        return low, high


def _heavy_box(units: RowUnits, delta: Floats) -> tuple[Floats, Floats]:
    """`weight_box` for a negative order: a weight falls as its base grows, and all keys have one."""
    live, n = units.weights > 0, units.order
    if not isinstance(units.rule, Adaptive):
        move = delta + (float(delta[live].max(initial=0.0)) if isinstance(units.rule, Anchored) else 0.0)
        reach = units.reach
        low, high = (
            np.where(live, np.clip(units.margins + sign * move, 0.0, None) / reach, np.inf) ** n for sign in (1, -1)
        )
        return _ratio(low, high)
    most = float(delta.max(initial=0.0))
    move = delta + most
    for _ in range(3):
        # No base is below 1, where a single key has all of the weight.
        bases = [np.where(live, np.clip((units.margins + sign * move) / -n, 1.0, None), np.inf) for sign in (1, -1)]
        low, high = (base ** (n - 1) for base in bases)
        others = high.sum() - high
        share = np.divide(others, low + others, out=np.zeros_like(low), where=others > 0)
        mean = (high @ delta - high * delta) / np.maximum(low + low.sum() - low, 1e-300)
        move = np.minimum(move, share * delta + np.minimum(share * most, mean))
    low, high = (base**n for base in bases)
    return low, high


def _ratio(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The extremes of ``r_i/Σ r`` for r between `low` and `high`."""
    below, above = low.sum() - low, high.sum() - high
    least, most = low + above, high + below
    return low / np.where(least > 0, least, 1.0), high / np.where(most > 0, most, 1.0)
