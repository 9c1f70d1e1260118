"""The truth of a case: what the oracle proves about its outputs, and the condition units of each.

Everything is computed once per case and shared by all targets and checks. Source: docs/theory.md §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof import reference
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed
from kernelproof.reference.ops.weights import PARAMETERS, Weighting
from kernelproof.reference.weighting import effective
from kernelproof.verify.measure import NEAR
from kernelproof.verify.seams import Array, Floats, Inputs, Truth, Values
from kernelproof.verify.units import RowUnits

if TYPE_CHECKING:
    from kernelproof.verify.case import Case

PRECISION = 128
"""Bits of the truth: its radius is far below a unit roundoff of float64."""


def has_two_units(case: Case, inputs: Inputs) -> bool:
    """True if the units of errors depend on how a target computes distances."""
    return case.op == "regression" or bool(inputs.options.get("key_norm_term"))


def truth_of(case: Case, inputs: Inputs, scores: str = "differences") -> Truth | None:
    """What is proved about `case`; None where an input is NaN or +∞, for which the op has no value.

    Args:
        case: the recipe.
        inputs: what it makes.
        scores: "differences" or "dots", as in `Contract`; it changes units only.

    Raises:
        UndecidedError: the oracle cannot decide a support.
    """
    arrays = {name: np.asarray(array).astype(np.float64) for name, array in inputs.arrays.items()}
    if any(bool((np.isnan(array) | np.isposinf(array)).any()) for array in arrays.values()):
        return None
    scored = case.op in {"entmax", "weights"}
    return _Scored(case, inputs, arrays).truth() if scored else _Mixed(case, inputs, arrays, scores).truth()


def _values(enclosure: Enclosure, unit: Floats, shape: tuple[int, ...] | None = None) -> Values:
    head, tail, radius = enclosure.split()
    target = enclosure.shape if shape is None else shape
    return Values(head.reshape(target), tail.reshape(target), radius.reshape(target), np.asarray(unit).reshape(target))


class _Rows:
    """Units of the rows of a weighting: what moves each score, and the row's first-order sensitivities."""

    def __init__(self, case: Case, weighting: Weighting, scores: Floats, moved: Floats) -> None:
        self.mechanism = reference.Mechanism(case.kernel, case.parsed_rule)
        kernel, self.rule, _ = effective(self.mechanism)
        self.order = float(kernel.order)
        size = weighting.support.shape[-1]
        shape = (len(scores), size)
        self.weights = weighting.weights.split()[0].reshape(shape)
        self.support = weighting.support.reshape(shape)
        self.margin = weighting.margin.reshape(shape)
        self.empty = weighting.empty.reshape(-1)
        self.scale = float(self.rule.exact) if isinstance(self.rule, Adaptive) else 1.0
        self.scores, self.moved = scores, moved
        with np.errstate(invalid="ignore", over="ignore"):
            top = np.max(np.where(np.isfinite(scores), scores, -np.inf), axis=-1, initial=-np.inf, keepdims=True)
            self.gaps = np.where(np.isfinite(scores), np.maximum(top - scores, 0.0), 0.0)

    def __len__(self) -> int:
        return len(self.weights)

    def keys(self, r: int) -> NDArray[np.intp]:
        """The support of row r, without weights that underflow float64."""
        return np.flatnonzero(self.support[r] & (self.weights[r] > 0)) if not self.empty[r] else np.empty(0, np.intp)

    def units(self, r: int, keys: NDArray[np.intp]) -> RowUnits:
        """The sensitivities of row r over `keys`."""
        rate = self.scale if isinstance(self.rule, Adaptive) else 1.0
        if self.order == INFINITY and isinstance(self.rule, Fixed):
            rate = 1.0 / float(self.rule.exact) ** 2
        elif self.order == INFINITY:
            rate = 1.0
        shift = self.scores[r] if isinstance(self.rule, Fixed) else self.gaps[r]
        return RowUnits(
            weights=self.weights[r, keys],
            margins=self.margin[r, keys],
            order=self.order,
            rule=self.rule,
            rate=rate,
            shift=np.clip(shift[keys] * self.scale, -1e300, 1e300),
            moved=np.clip(self.moved[r, keys] * self.scale, 0.0, 1e300),
        )

    def weight_unit(self) -> Floats:
        """(R, m) unit of every weight; 0 off the support."""
        out = np.zeros_like(self.weights)
        for r in range(len(self)):
            keys = self.keys(r)
            out[r, keys] = self.units(r, keys).weight if len(keys) else 0.0
        return out

    def margin_unit(self) -> Floats:
        """(R, m) what one unit roundoff of the scores moves γ − d by, over u: own error and that of γ."""
        moved = np.clip(self.moved * self.scale, 0.0, 1e300)
        out = moved.copy()
        for r in range(len(self)):
            keys = self.keys(r)
            if isinstance(self.rule, Adaptive) and len(keys):
                slopes = self.units(r, keys).slopes
                share = slopes / max(slopes.max(), 1e-300)
                out[r] += float(share / share.sum() @ moved[r, keys]) if share.any() else 0.0
            elif not isinstance(self.rule, Adaptive):
                out[r] += float(np.abs(self.margin[r][np.isfinite(self.margin[r])]).max(initial=0.0))
        return out

    def unsettled(self, unit: float) -> NDArray[np.bool_]:
        """(R,) rows where rounding of the scores may change which keys Nearest keeps, or argmax chooses."""
        kept = effective(self.mechanism)[2]
        argmax = self.order == INFINITY and isinstance(self.rule, Anchored)
        out = np.zeros(len(self), dtype=bool)
        for r in range(len(self)):
            ranked = np.argsort(-self.scores[r], kind="stable")[: int(np.isfinite(self.scores[r]).sum())]
            edges = [kept] if kept is not None and kept < len(ranked) else []
            for edge in edges + ([1] if argmax and len(ranked) > 1 else []):
                a, b = ranked[edge - 1], ranked[edge]
                band = NEAR * unit * (self.moved[r, a] + self.moved[r, b])
                out[r] |= bool(self.scores[r, a] - self.scores[r, b] <= band)
        return out

    def coefficient(self) -> float:
        """What multiplies ``Σ J x`` in the gradient of the rule's parameter."""
        parameter = float(self.rule.exact)
        return {Fixed: -2.0, Anchored: 1.0, Adaptive: -1.0}[type(self.rule)] / parameter


def _moved_by_rule(rule: Any, scores: Floats, gaps: Floats) -> Floats:
    """The input error of scores given directly: |s| where the rule reads distances D = −2s, gaps else."""
    return np.abs(np.where(np.isfinite(scores), scores, 0.0)) if isinstance(rule, Fixed) else gaps


class _Scored:
    """entmax and weights: rows of scores given directly."""

    def __init__(self, case: Case, inputs: Inputs, arrays: dict[str, Floats]) -> None:
        self.case, self.inputs = case, inputs
        self.name, array = next(iter(arrays.items()))
        self.array = array
        size = array.shape[-1]
        self.flat = array.reshape(-1, size) if array.size else np.empty((int(np.prod(array.shape[:-1])), size))
        self.picked = self.flat if inputs.rows is None else self.flat[inputs.rows]

    def _rows(self, scores: Floats) -> tuple[Weighting, _Rows]:
        case = self.case
        weighting = reference.weights(
            scores, case.kernel, case.parsed_rule, precision=PRECISION, empty=self.inputs.options.get("empty", "nan")
        )
        rule = effective(reference.Mechanism(case.kernel, case.parsed_rule))[1]
        rows = _Rows(case, weighting, scores, np.zeros_like(scores))
        rows.moved = _moved_by_rule(rule, scores, rows.gaps)
        return weighting, rows

    def truth(self) -> Truth:
        weighting, rows = self._rows(self.picked)
        gradients = None
        if self.inputs.cotangent is not None and self.inputs.rows is None and self.flat.size:
            gradients = self._gradients(rows, np.asarray(self.inputs.cotangent).astype(np.float64))
        return Truth(
            output=_values(weighting.weights, rows.weight_unit()),
            support=weighting.support,
            boundary=weighting.boundary,
            empty=weighting.empty,
            unsure=weighting.unsure,
            kink=weighting.kink,
            margin=weighting.margin,
            margin_unit=rows.margin_unit(),
            gradients=gradients,
        )

    def _gradients(self, rows: _Rows, cotangent: Floats) -> dict[str, Values]:
        case = self.case
        found = reference.weights_vjp(self.array, cotangent, case.kernel, case.parsed_rule, precision=PRECISION)
        upstream = cotangent.reshape(self.flat.shape)
        score_unit = np.zeros_like(self.flat)
        scalar = {"order": 0.0, "alpha": 0.0, PARAMETERS[type(rows.rule)]: 0.0}
        for r in range(len(rows)):
            keys = rows.keys(r)
            if not len(keys):
                continue
            units, g = rows.units(r, keys), upstream[r, keys]
            score_unit[r, keys] = units.score_gradient(g) * rows.scale
            scalar[PARAMETERS[type(rows.rule)]] += units.parameter_gradient(g, rows.coefficient())
            by_order = units.order_gradient(g)
            scalar["order"] += by_order if rows.order != INFINITY else 0.0
            scalar["alpha"] += by_order * (rows.order**2 if rows.order != INFINITY else 1.0)
        wanted = _wanted(case, found)
        out = {key: _values(found[source], np.asarray(scalar[key])) for key, source in wanted.items() if key in scalar}
        out[self.name] = _values(found["scores"], score_unit, self.array.shape)
        return out


def _wanted(case: Case, found: dict[str, Enclosure]) -> dict[str, str]:
    """Which gradients of `found` a target gives for this case, by the target's name for them."""
    skip = {"scores", "q", "k", "v", "alpha"}
    names = {name: name for name in found if name not in skip}
    if case.op == "entmax":
        key = "order" if case.alpha is None else "alpha"
        names = {key: key}
    return names


class _Mixed:
    """regression and attention: values weighted by keys."""

    def __init__(self, case: Case, inputs: Inputs, arrays: dict[str, Floats], scores: str) -> None:
        self.case, self.inputs, self.arrays, self.convention = case, inputs, arrays, scores
        options = dict(inputs.options)
        self.empty = options.pop("empty", "nan")
        self.options = options
        if case.op == "regression":
            self.q, self.k, self.v = (arrays[name][..., None, :, :] for name in "qkv")
            self.options = {"scale": 1.0, "key_norm_term": True}
        else:
            self.q, self.k, self.v = (arrays[name] for name in "qkv")

    def truth(self) -> Truth:
        found = [
            (row, *self._solve(q, k, v, options))
            for row, (q, k, v, options) in enumerate(self._pieces())
            if self.inputs.rows is None or row in set(self.inputs.rows.tolist())
        ]
        size, width = self.k.shape[-2], self.v.shape[-1]
        unit = FORMATS[self.case.dtype].unit_roundoff
        parts = [item[1] for item in found]
        rows = [item[2] for item in found]
        y_unit = np.array([item[3] for item in found]).reshape(len(found), width)
        gradients = None
        if self.inputs.cotangent is not None and self.inputs.rows is None:
            gradients = self._gradients(rows)

        def stack(field: str) -> Any:
            pieces = [np.asarray(getattr(part.weighting, field)).reshape(1, size) for part in parts]
            return np.concatenate(pieces) if pieces else np.empty((0, size))

        def flags(field: str) -> Any:
            return np.array([bool(getattr(part.weighting, field).any()) for part in parts], dtype=bool)

        splits = [part.y.split() for part in parts]
        head, tail, radius = (
            np.array([split[i].reshape(width) for split in splits]).reshape(len(found), width) for i in range(3)
        )
        return Truth(
            output=Values(head, tail, radius, y_unit),
            support=stack("support").astype(bool),
            boundary=stack("boundary").astype(bool),
            empty=flags("empty"),
            unsure=flags("unsure") | np.array([bool(row.unsettled(unit).any()) for row in rows], dtype=bool),
            kink=flags("kink"),
            margin=stack("margin"),
            margin_unit=np.concatenate([row.margin_unit() for row in rows]) if rows else np.empty((0, size)),
            gradients=gradients,
        )

    def _pieces(self) -> list[tuple[Floats, Floats, Floats, dict[str, Any]]]:
        """One query row at a time, with its keys and the options that concern it."""
        lead = self.q.shape[:-2]
        heads, groups = lead[-1], self.k.shape[-3]
        count, size = self.q.shape[-2], self.k.shape[-2]
        allowed = _bias(self.options, (*lead, count, size))
        scale = self.options.get("scale")
        pieces = []
        for place in np.ndindex(*lead):
            source = (*place[:-1], place[-1] // (heads // groups))
            for t in range(count):
                options = {
                    "scale": scale,
                    "key_norm_term": self.options.get("key_norm_term", False),
                    "mask": allowed[(*place, t)][None, None, :],
                }
                pieces.append((self.q[place][t][None, None, :], self.k[source][None], self.v[source][None], options))
        return pieces

    def _solve(self, q: Floats, k: Floats, v: Floats, options: dict[str, Any]) -> tuple[Any, _Rows, Floats]:
        case = self.case
        found = reference.attention(
            q, k, v, case.kernel, case.parsed_rule, empty=self.empty, precision=PRECISION, **options
        )
        scale = options["scale"] if options["scale"] is not None else 1.0 / np.sqrt(max(q.shape[-1], 1))
        point, keys = q[0, 0], k[0]
        squares = ((point - keys) ** 2).sum(-1)
        products = np.abs(keys) @ np.abs(point)
        if not options["key_norm_term"]:
            scores, moved = scale * (keys @ point), scale * products
        elif self.convention == "differences":
            # Differences are exact to a rounding each; squares and sums keep the relative error.
            scores, moved = -scale * squares / 2, scale * squares
        else:
            scores, moved = -scale * squares / 2, scale * (products + (keys**2).sum(-1) / 2)
        if options["scale"] is None:
            # 1/√d by a root and a division is within two roundings of the float nearest to it.
            moved = moved + 2 * np.abs(scores)
        bias = options["mask"][0, 0]
        scores = np.where(np.isneginf(bias), -np.inf, scores + np.where(np.isneginf(bias), 0.0, bias))
        rows = _Rows(case, found.weighting, scores[None], moved[None])
        picked = rows.keys(0)
        width = v.shape[-1]
        unit = rows.units(0, picked).mean(v[0][picked]) if len(picked) else np.zeros(width)
        return found, rows, unit

    def _gradients(self, rows: list[_Rows]) -> dict[str, Values]:
        case, arrays = self.case, self.arrays
        upstream = np.asarray(self.inputs.cotangent).astype(np.float64)
        if case.op == "regression":
            q, k, v = (arrays[name] for name in "qkv")
            found = reference.regression_vjp(q, k, v, upstream, case.kernel, case.parsed_rule, precision=PRECISION)
        else:
            found = reference.attention_vjp(
                self.q, self.k, self.v, upstream, case.kernel, case.parsed_rule, precision=PRECISION, **self.options
            )
        unit = self._gradient_units(rows, upstream.reshape(-1, upstream.shape[-1]))
        out = {name: _values(found[name], np.asarray(unit[name])) for name in _wanted(case, found)}
        out.update({name: _values(found[name], unit[name], arrays[name].shape) for name in "qkv"})
        return out

    def _gradient_units(self, rows: list[_Rows], upstream: Floats) -> dict[str, Any]:
        parameter = PARAMETERS[type(rows[0].rule)]
        unit: dict[str, Any] = {"order": 0.0, parameter: 0.0}
        unit.update({name: np.zeros(array.shape) for name, array in (("q", self.q), ("k", self.k), ("v", self.v))})
        lead, count = self.q.shape[:-2], self.q.shape[-2]
        heads, groups = lead[-1], self.k.shape[-3]
        scale = self.options.get("scale")
        factor = float(scale) if scale is not None else 1.0 / np.sqrt(max(self.q.shape[-1], 1))
        distance = self.options.get("key_norm_term", False)
        places = [(*place, t) for place in np.ndindex(*lead) for t in range(count)]
        for place, row, g in zip(places, rows, upstream, strict=True):
            keys = row.keys(0)
            if not len(keys):
                continue
            source = (*place[:-2], place[-2] // (heads // groups))
            units = row.units(0, keys)
            values, points, query = self.v[source][keys], self.k[source][keys], self.q[place]
            local, noise = values @ g, np.abs(values) @ np.abs(g)
            by_score = units.score_gradient(local, noise) * row.scale * factor
            reach = np.abs(points - query) if distance else np.abs(points)
            unit["q"][place] += by_score @ reach
            back = reach if distance else np.broadcast_to(np.abs(query), reach.shape)
            unit["k"][(*source, keys)] += by_score[:, None] * back
            unit["v"][(*source, keys)] += units.weight[:, None] * np.abs(g)
            unit[parameter] += units.parameter_gradient(local + np.sign(local) * noise, row.coefficient())
            unit["order"] += units.order_gradient(np.abs(local) + noise) if row.order != INFINITY else 0.0
        return unit


def _bias(options: dict[str, Any], shape: tuple[int, ...]) -> Floats:
    """What is added to the scores (..., H, T, S) by mask, causal and lengths."""
    bias = np.zeros(shape)
    mask = options.get("mask")
    if mask is not None:
        array: Array = np.asarray(mask)
        bias = bias + (np.where(array, 0.0, -np.inf) if array.dtype == bool else array.astype(np.float64))
    if options.get("causal"):
        count, size = shape[-2:]
        bias = np.where(np.arange(size) <= np.arange(count)[:, None] + (size - count), bias, -np.inf)
    if options.get("lengths") is not None:
        limit = np.asarray(options["lengths"])[..., None, None, None]
        bias = np.where(np.arange(shape[-1]) < limit, bias, -np.inf)
    return bias
