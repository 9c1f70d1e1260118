"""Storage roundings: R of docs/theory.md §4, the errors that a target may make by storing intermediate results.

A contract says which intermediate results are stored in the dtype of the arrays. What that may add to each output and
gradient follows from the inputs and the proved weights. It is computed in float64: it sets the size of allowed errors
and decides nothing. Nothing is added where the dtype of the arrays is no narrower than that of the computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive
from kernelproof.reference.variant.definition import Variant
from kernelproof.reference.weighting import PARAMETERS, effective
from kernelproof.verify.judging.allowance import rounded_weights
from kernelproof.verify.judging.errors import NEAR
from kernelproof.verify.judging.precision import Precision, eta, precision_of
from kernelproof.verify.judging.row_gradients import SCORES
from kernelproof.verify.records import Contract, Floats, Inputs, Truth, Values
from kernelproof.verify.truth.row_units import Proved, Rows
from kernelproof.verify.truth.stored_rows import (
    of_order,
    of_products,
    of_slopes,
    order_in_box,
    stored_error,
    stored_slopes,
    weight_box,
    with_nearest,
)
from kernelproof.verify.truth.truth import Means
from kernelproof.verify.truth.units import RowUnits

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def with_roundings(case: Case, inputs: Inputs, truth: Truth, contract: Contract) -> Truth:
    """`truth` with the errors that the roundings of `contract` may cause in its outputs and gradients.

    So may flushing in the gradients of weights: a weight, or its product with the upstream gradient, that is 0 instead
    of a number below the smallest normal one is off by at most that, as one that underflows is by η.
    """
    precision = precision_of(case.dtype, contract, case.op)
    if not truth.weights.size or not (precision.roundings or precision.flush):
        return truth
    if case.op in {"entmax", "weights"}:
        return _of_weights(case, inputs, truth, precision)
    if not precision.roundings:
        return truth
    return _of_means(case, inputs, truth, precision)


def _stored(values: Values, stored: Any) -> Values:
    return replace(values, stored=np.asarray(stored, dtype=np.float64).reshape(values.head.shape))


def _of_weights(case: Case, inputs: Inputs, truth: Truth, precision: Precision) -> Truth:
    output = _stored(truth.output, rounded_weights(truth.weights, precision))
    gradients = truth.gradients
    if gradients is not None:
        if isinstance(case.parsed_rule, Variant):
            # The profile may be any function: one rounding of every weight, to first order.
            u = precision.stored if precision.roundings else 0.0
            gradients = {name: _stored(each, u * each.unit) for name, each in gradients.items()}
        else:
            gradients = _of_weight_gradients(case, inputs, truth, gradients, precision)
    return replace(truth, output=output, gradients=gradients)


def _of_weight_gradients(
    case: Case, inputs: Inputs, truth: Truth, gradients: Mapping[str, Values], precision: Precision
) -> dict[str, Values]:
    shape = truth.weights.shape
    scores = np.asarray(next(iter(inputs.arrays.values()))).astype(np.float64).reshape(shape)
    g = np.asarray(inputs.cotangent).astype(np.float64).reshape(shape)
    rows = Rows(case, Proved(truth.weights, truth.support, truth.margin, truth.empty), scores)
    units = _units(rows, slice(None))
    u, least = precision.stored, eta(precision.storage)
    by_score, by_order = np.zeros(shape), np.zeros(len(g))
    if precision.flush:
        by_score = by_score + of_products(units, g, 0.0, precision.flushed_inside)
        by_order = by_order + of_order(units, g, 0.0, precision.flushed_inside)
    # The weights are off by as many roundings, and the gradient of stored exponentials is stored as they are.
    times = {"probabilities": 1, "exponentials": 2, "denominator": 1}
    for name in precision.roundings & times.keys():
        by_score = by_score + of_products(units, g, times[name] * u, least)
        by_order = by_order + of_order(units, g, times[name] * u, least)
    if "exponentials" in precision.roundings:
        by_score = by_score + u * np.abs(units.slopes * (g - (units.pi * g).sum(axis=-1, keepdims=True)))
    with np.errstate(invalid="ignore"):
        # ∞·0, as in `_of_mean_gradients`.
        by_parameter = np.abs(rows.coefficient() * by_score * units.shift).sum()
    found: dict[str, Any] = {
        PARAMETERS[type(rows.rule)]: by_parameter,
        "order": by_order.sum() if rows.order != INFINITY else 0.0,
        "alpha": by_order.sum() * (rows.order**2 if rows.order != INFINITY else 1.0),
    }
    return {
        name: _stored(each, by_score * rows.scale if name in SCORES else found[name])
        for name, each in gradients.items()
    }


def _units(rows: Rows, at: Any) -> RowUnits:
    """The sensitivities of the rows `at`, with weight 0 and margin ∞ off the support."""
    counted = rows.counted[at]
    weights = np.where(counted, rows.weights[at], 0.0)
    margins = np.where(counted, rows.margin[at], np.inf)
    return rows.units_of(weights, margins, np.where(counted, rows.shift[at], 0.0), rows.moved[at])


@dataclass
class _Sums:
    """R of each gradient of a mean, collected query by query."""

    arrays: dict[str, Floats]
    scalars: dict[str, float] = field(default_factory=dict)


def _of_means(case: Case, inputs: Inputs, truth: Truth, precision: Precision) -> Truth:
    arrays = {name: np.asarray(array).astype(np.float64) for name, array in inputs.arrays.items()}
    means = Means(case, inputs, arrays, "dots")
    pieces = means.pieces()
    numbers = range(len(pieces)) if inputs.rows is None else inputs.rows.tolist()
    queries = [_Query(case, truth, precision, at, pieces[number]) for at, number in enumerate(numbers)]
    stored = np.array([each.output() for each in queries]).reshape(truth.output.head.shape)
    unsure = truth.unsure | np.array([each.unsettled() for each in queries], dtype=bool)
    output = _stored(truth.output, stored)
    gradients = truth.gradients
    if gradients is not None and inputs.cotangent is not None and inputs.rows is None:
        found = _of_mean_gradients(means, queries, np.asarray(inputs.cotangent).astype(np.float64))
        gradients = {name: _stored(each, found[name]) for name, each in gradients.items()}
    return replace(truth, output=output, unsure=unsure, gradients=gradients)


def _of_mean_gradients(means: Means, queries: list[_Query], upstream: Floats) -> dict[str, Any]:
    """R of every gradient; q, k and v in the shapes that broadcast heads give them."""
    out: dict[str, Any] = {
        name: np.zeros(array.shape) for name, array in (("q", means.q), ("k", means.k), ("v", means.v))
    }
    scalars = {"order": 0.0, "alpha": 0.0, "h": 0.0, "beta": 0.0, "gamma": 0.0}
    lead, count = means.q.shape[:-2], means.q.shape[-2]
    heads, groups = lead[-1], means.k.shape[-3]
    distance = bool(means.options.get("key_norm_term", False))
    flat = upstream.reshape(-1, upstream.shape[-1])
    for place in np.ndindex(*lead):
        source = (*place[:-1], place[-1] // (heads // groups))
        start = int(np.ravel_multi_index(place, lead)) * count
        by_key = {name: np.zeros(out[name][source].shape) for name in "kv"}
        for t in range(count):
            query = queries[start + t]
            if not query.live.any():
                continue
            back = query.gradients(flat[start + t])
            q, k = means.q[place][t], means.k[source]
            reach = np.abs(k - q) if distance else np.abs(k)
            other = reach if distance else np.broadcast_to(np.abs(q), k.shape)
            # Nothing bounds an infinite R, whatever it is multiplied by: `judging.allowance` reads the NaN of ∞·0 as ∞.
            with np.errstate(invalid="ignore"):
                out["q"][(*place, t)] += back.by_score @ reach
                out["k"][source] += back.by_score[:, None] * other
            out["v"][source] += back.by_value
            by_key["k"] += back.slope[:, None] * ((q - k) if distance else q)
            by_key["v"] += query.weights[:, None] * flat[start + t]
            for name, value in back.scalars.items():
                scalars[name] += value
        if heads != groups and queries:
            # Heads that share keys are often expanded: then each has its own dK and dV, stored before they are added.
            for name, whole in by_key.items():
                out[name][source] += queries[0].precision.stored * np.abs(whole) + eta(queries[0].precision.storage)
    return {**out, **scalars}


@dataclass(frozen=True)
class _Back:
    """R of one query: (S,) of the gradient in its scores q·k, (S, e) in the values, and in the parameters.

    `slope` is the gradient in the scores itself.
    """

    by_score: Floats
    by_value: Floats
    slope: Floats
    scalars: dict[str, float]


class _Query:
    """One query with its keys and values: what storage roundings may do to its mean and its gradients."""

    def __init__(
        self,
        case: Case,
        truth: Truth,
        precision: Precision,
        at: int,
        piece: tuple[Floats, Floats, Floats, dict[str, Any]],
    ) -> None:
        q, k, v, options = piece
        self.case, self.precision = case, precision
        self.point, self.keys, self.values = q[0, 0], k[0], v[0]
        self.allowed = ~np.isneginf(options["mask"][0, 0])
        scale = options["scale"]
        self.factor = float(scale) if scale is not None else 1.0 / np.sqrt(max(q.shape[-1], 1))
        self.y = truth.output.head[at]
        scores, self.products, self.sizes = self._scores(options)
        proved = Proved(*(getattr(truth, name)[at : at + 1] for name in ("weights", "support", "margin", "empty")))
        self.rows = Rows(case, proved, scores[None], np.zeros((1, len(scores))))
        self.units = _units(self.rows, 0)
        self.weights, self.live = self.units.weights, self.units.weights > 0
        self.scores = scores
        self.margins, self.margin_unit = np.where(self.allowed, truth.margin[at], -np.inf), truth.margin_unit[at]
        kept = effective(case.mechanism)[2]
        if kept is not None:
            self.margins[np.argsort(-scores, kind="stable")[kept:]] = -np.inf
        self.delta = self._delta()

    def has(self, name: str) -> bool:
        return name in self.precision.roundings

    @property
    def u(self) -> float:
        return self.precision.stored

    @property
    def eta(self) -> float:
        return eta(self.precision.storage)

    def _scores(self, options: dict[str, Any]) -> tuple[Floats, Floats, Floats]:
        """(S,) the scores, ``|scale·q·k|`` and ``σ = scale·Σ|q_c k_c|``, or the same of distances."""
        bias = np.where(self.allowed, options["mask"][0, 0], -np.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            if options["key_norm_term"]:
                raw = -((self.point - self.keys) ** 2).sum(-1) / 2
                size = np.abs(self.keys) @ np.abs(self.point) + (self.keys**2).sum(-1) / 2
            else:
                raw, size = self.keys @ self.point, np.abs(self.keys) @ np.abs(self.point)
            return self.factor * raw + bias, np.abs(self.factor * raw), abs(self.factor) * size

    def _delta(self) -> Floats:
        """(S,) δ, how far the declared roundings may move each score."""
        u, least, scale = self.u, self.eta, abs(self.factor)
        delta = np.zeros(len(self.products))
        if self.has("scores"):
            delta = delta + u * self.products + least * scale
        if self.has("scaled_scores") and not (self.has("scores") and np.frexp(scale)[0] == 0.5):
            delta = delta + u * self.products + least
        # Queries and keys may be stored before they are multiplied by the scale, or after it.
        if self.has("queries"):
            delta = delta + u * self.sizes + least * max(scale, 1.0) * np.abs(self.keys).sum(-1)
        if self.has("keys"):
            delta = delta + u * self.sizes + least * max(scale, 1.0) * float(np.abs(self.point).sum())
        return np.where(self.allowed & np.isfinite(delta), delta, 0.0)

    def unsettled(self) -> bool:
        """Whether the roundings may change which keys `Nearest` keeps."""
        kept = effective(self.case.mechanism)[2]
        ranked = np.argsort(-self.scores, kind="stable")[: int(np.isfinite(self.scores).sum())]
        if kept is None or kept >= len(ranked) or not kept:
            return False
        a, b = ranked[kept - 1], ranked[kept]
        return bool(self.scores[a] - self.scores[b] <= self.delta[a] + self.delta[b])

    @property
    def _moved(self) -> Floats:
        """(S,) δ with what storing the exponentials adds, in logits.

        Keys that δ may move across the threshold, or next to it, may be moved by errors of the computation as well:
        first order at the truth knows nothing of them.
        """
        more = -np.log1p(-self.u) if self.has("exponentials") else 0.0
        moved = self.rows.scale * self.delta + np.where(self.live, more, 0.0)
        if self.rows.order == INFINITY or not moved.any():
            return np.asarray(moved)
        edge = NEAR * self.precision.unit * self.margin_unit
        close = np.isfinite(self.margins) & (np.abs(self.margins) <= 2 * (moved + moved.max() + edge))
        return np.asarray(moved + np.where(close, edge, 0.0))

    def _mean_of_weights(self) -> Floats:
        """(e,) R of the mean by storing the weights before they multiply the values."""
        if not self.has("weights"):
            return np.zeros_like(self.y)
        size = np.abs(self.values)
        # Where masked weights are exactly 0, storing them changes nothing.
        return np.asarray(self.u * (self.weights @ size) + np.minimum(self.eta, self.weights) @ size)

    def output(self) -> Floats:
        """(e,) R of the mean."""
        stored = self._mean_of_weights()
        if not self.live.any():
            return stored
        far = np.abs(self.values - self.y)
        moved = self._moved
        if moved.any():
            if self.rows.order == INFINITY:
                with np.errstate(over="ignore", invalid="ignore"):
                    gain = self.weights * np.expm1(self.units.stiffness * moved)
                    loss = float(self.weights @ np.exp(-self.units.stiffness * moved))
                    change = (gain @ far) / loss
            else:
                low, high = weight_box(self.units, self.margins, moved)
                change = np.maximum(high - self.weights, self.weights - low) @ far
            reach = far[self.allowed].max(axis=0)
            stored = stored + np.minimum(np.where(np.isnan(change), np.inf, change), reach)
        if self.has("exponentials"):
            stored = stored + self.eta * far[self.live].sum(axis=0)
        for name in ("denominator", "unnormalized_output"):
            stored = stored + (self.u * np.abs(self.y) if self.has(name) else 0.0)
        if self.has("unnormalized_output"):
            # It is divided by a sum of at least 1.
            stored = stored + self.eta
        return np.asarray(stored)

    def gradients(self, g: Floats) -> _Back:
        """R of all gradients for the upstream gradient g (e,)."""
        u, least, p, units = self.u, self.eta, self.weights, self.units
        local, noise = self.values @ g, np.abs(self.values) @ np.abs(g)
        finite = isinstance(units.rule, Adaptive) and units.order != INFINITY
        far = np.abs(local - float(units.pi @ local))
        slope = units.slopes * (local - float(units.pi @ local))
        by_value, by_score = np.zeros((len(p), len(g))), np.zeros(len(p))
        size, moved = np.abs(g), self._moved
        low, high = weight_box(units, self.margins, moved) if moved.any() else (p, p)
        e = np.maximum(high - p, p - low)
        if self.has("weights"):
            by_value = by_value + (u * p + np.where(high > 0, least, 0.0))[:, None] * size
        by_value = by_value + (1 + u) * e[:, None] * size
        # What scores move, they move in dP as well, if it is stored.
        noise = u * noise if moved.any() else 0.0 * noise
        if finite:
            held = (u, least) if self.has("weights") or self.has("probabilities") else (0.0, 0.0)
            by_score = of_slopes(units, local, stored_slopes(p, low, high, units.order, *held), *held, noise)
        else:
            off = stored_error(p, u, least)
            if self.has("weights"):
                # D = Σ g y is taken from the stored y.
                by_mean = float(size @ (u * np.abs(self.y) + least + self._mean_of_weights()))
                by_score = by_score + units.stiffness * (off * far + (p + off) * by_mean)
            if self.has("probabilities"):
                by_score = by_score + of_products(units, local, u, least)
            if moved.any():
                stiff = units.stiffness
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    bend = np.where(self.live & np.isfinite(units.margins), stiff * moved / units.margins, 0.0)
                    extra = (stiff * e + p * bend) * far + stiff * p * float((e @ np.abs(self.values)) @ size)
                by_score = by_score + np.where(np.isnan(extra), np.inf, extra)
                by_score = by_score + units.slopes * (noise + float(p @ noise) - p * noise)
        # dS is stored once, and once more where it is scaled, with the error of its factors. What is stored may be the
        # gradient in q·k, that in the score times the scale: underflow counts there.
        under = least * max(1.0, 1.0 / max(abs(self.factor) * self.rows.scale, least))
        for name in ("weights", "scaled_scores"):
            if self.has(name):
                by_score = by_score + u * (np.abs(slope) + by_score) + under
        by_score = np.where(self.allowed, with_nearest(units, by_score), 0.0)
        # The parameter multiplies scores that have moved themselves, and gaps move with two of them.
        shifts = self.rows.scale * (self.delta + float(self.delta[self.live].max(initial=0.0)))
        with np.errstate(invalid="ignore", over="ignore"):
            by_parameter = float((by_score * np.abs(units.shift) + (np.abs(slope) + by_score) * shifts).sum())
        by_parameter = np.inf if np.isnan(by_parameter) else abs(self.rows.coefficient()) * by_parameter
        scalars = {PARAMETERS[type(units.rule)]: by_parameter}
        if self.rows.order != INFINITY:
            held = (u, least) if self.has("weights") or self.has("probabilities") else (0.0, 0.0)
            ends = low - stored_error(low, *held), high + stored_error(high, *held)
            scalars["order"] = order_in_box(units, local, *ends, moved, noise)
        factor = self.rows.scale * abs(self.factor)
        return _Back(by_score * factor, by_value, slope * self.rows.scale * self.factor, scalars)
