"""The truth of a case: what the oracle proves about its outputs, and the condition units of each.

Everything is computed once per case and shared by all targets and checks. Source: docs/theory.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof import reference
from kernelproof.reference.bulk.bulk_rows import Balls, certify
from kernelproof.reference.bulk.filter import pays
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.model import INFINITY
from kernelproof.reference.variant.definition import Variant
from kernelproof.reference.weighting import PARAMETERS
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Array, Contract, Floats, Inputs, Truth, Values
from kernelproof.verify.truth.row_units import Proved, Rows
from kernelproof.verify.truth.variants import truth_of_variant

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

PRECISION = 128
"""Bits of the truth: its radius is far below a unit roundoff of float64."""


def has_two_units(case: Case, inputs: Inputs) -> bool:
    """True if the units of errors depend on how a target computes distances."""
    return case.op == "regression" or bool(inputs.options.get("key_norm_term"))


def truth_of(case: Case, inputs: Inputs, scores: str = "differences") -> Truth | None:
    """Prove the outputs of `case`; None if an input is NaN or +∞, for which the op has no value.

    Args:
        case: the recipe.
        inputs: the inputs that the case makes.
        scores: "differences" or "dots", as in `Contract`; it changes units only.

    Raises:
        UndecidedError: the oracle cannot decide a support.
    """
    arrays = {name: np.asarray(array).astype(np.float64) for name, array in inputs.arrays.items()}
    if any(bool((np.isnan(array) | np.isposinf(array)).any()) for array in arrays.values()):
        return None
    if isinstance(case.parsed_rule, Variant):
        return truth_of_variant(case.parsed_rule, inputs, arrays["scores"])
    scored = case.op in {"entmax", "weights"}
    return _Scored(case, inputs, arrays).truth() if scored else Means(case, inputs, arrays, scores).truth()


@dataclass(frozen=True)
class Scored:
    """Scores of queries in float64: they set the size of an allowed error and decide nothing.

    Attributes:
        scores: (R, m), −∞ where masked.
        moved: (R, m) how far an input error of one unit roundoff moves each score, over u.
        values: (R, m, e) the values of the keys.
    """

    scores: Floats
    moved: Floats
    values: Floats


def scores_of_means(case: Case, inputs: Inputs, convention: str, rows: list[int]) -> Scored:
    """The scores of some rows of regression or attention; `convention` is that of `Contract.scores`."""
    arrays = {name: np.asarray(array).astype(np.float64) for name, array in inputs.arrays.items()}
    return Means(case, inputs, arrays, convention).scores(rows)


def _values(enclosure: Enclosure, unit: Floats, shape: tuple[int, ...] | None = None) -> Values:
    head, tail, radius = enclosure.split()
    target = enclosure.shape if shape is None else shape
    return Values(head.reshape(target), tail.reshape(target), radius.reshape(target), np.asarray(unit).reshape(target))


class _Scored:
    """entmax and weights: rows of scores given directly."""

    def __init__(self, case: Case, inputs: Inputs, arrays: dict[str, Floats]) -> None:
        self.case, self.inputs = case, inputs
        self.name, array = next(iter(arrays.items()))
        self.array = array
        size = array.shape[-1]
        self.flat = array.reshape(-1, size) if array.size else np.empty((int(np.prod(array.shape[:-1])), size))
        self.picked = self.flat if inputs.rows is None else self.flat[inputs.rows]

    def truth(self) -> Truth:
        case, picked = self.case, self.picked
        upstream = None
        if self.inputs.cotangent is not None and self.inputs.rows is None and self.flat.size:
            upstream = np.asarray(self.inputs.cotangent).astype(np.float64).reshape(self.flat.shape)
        found = certify(
            picked,
            *case.mechanism,
            upstream,
            empty=self.inputs.options.get("empty", "nan"),
            filtered=pays(picked.size),
            workers=1,
        )
        rows = Rows(case, Proved(found.weights.head, found.support, found.margin, found.empty), picked)
        unit = rows.weight_unit()
        return Truth(
            output=Values(found.weights.head, found.weights.tail, found.weights.radius, unit),
            support=found.support,
            boundary=found.boundary,
            empty=found.empty,
            unsure=found.unsure,
            kink=found.kink,
            margin=found.margin,
            margin_unit=rows.margin_unit(),
            weights=found.weights.head,
            gradients=None if upstream is None else self._gradients(rows, upstream, found.gradients or {}),
        )

    def _gradients(self, rows: Rows, upstream: Floats, found: Mapping[str, Balls]) -> dict[str, Values]:
        score_unit = np.zeros_like(self.flat)
        parameter, finite = PARAMETERS[type(rows.rule)], rows.order != INFINITY
        scalar = {"order": 0.0, "alpha": 0.0, parameter: 0.0}
        wanted = _wanted(self.case, found)
        for group in rows.groups(2):
            g = group.pick(upstream)
            group.put(score_unit, group.units.score_gradient(g) * rows.scale)
            if parameter in wanted:
                scalar[parameter] += float(group.units.parameter_gradient(g, rows.coefficient()).sum())
            if wanted.keys() & {"order", "alpha"}:
                by_order = float(group.units.order_gradient(g).sum())
                scalar["order"] += by_order if finite else 0.0
                scalar["alpha"] += by_order * (rows.order**2 if finite else 1.0)
        shapes = {self.name: self.array.shape}
        units = {self.name: score_unit, **{key: np.asarray(scalar[key]) for key in wanted if key in scalar}}
        sources = {**wanted, self.name: "scores"}
        out = {}
        for key, unit in units.items():
            numbers, shape = found[sources[key]], shapes.get(key, ())
            parts = (numbers.head, numbers.tail, numbers.radius, unit)
            out[key] = Values(*(np.asarray(part).reshape(shape) for part in parts))
        return out


def _wanted(case: Case, found: Mapping[str, Any]) -> dict[str, str]:
    """Which gradients of `found` a target gives for this case, by the target's name for them."""
    skip = {"scores", "q", "k", "v", "alpha"}
    names = {name: name for name in found if name not in skip}
    if case.op == "entmax":
        key = "order" if case.alpha is None else "alpha"
        names = {key: key}
    return names


class Means:
    """regression and attention: values weighted by keys."""

    def __init__(self, case: Case, inputs: Inputs, arrays: dict[str, Floats], scores: str) -> None:
        self.case, self.inputs, self.arrays, self.convention = case, inputs, arrays, scores
        self.options = _without_causal(inputs)
        self.empty = self.options.pop("empty", "nan")
        if case.op == "regression":
            self.q, self.k, self.v = (arrays[name][..., None, :, :] for name in "qkv")
            self.options = {"scale": 1.0, "key_norm_term": True}
        else:
            self.q, self.k, self.v = (arrays[name] for name in "qkv")

    def truth(self) -> Truth:
        """Prove every checked row, and the gradients if there is a cotangent."""
        found = [
            (row, *self._solve(q, k, v, options))
            for row, (q, k, v, options) in enumerate(self.pieces())
            if self.inputs.rows is None or row in set(self.inputs.rows.tolist())
        ]
        size, width = self.k.shape[-2], self.v.shape[-1]
        # What storage roundings move is added later, for a contract (`roundings`).
        unit = precision_of(self.case.dtype, Contract()).unit
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
            weights=np.concatenate([row.weights for row in rows]) if rows else np.empty((0, size)),
            gradients=gradients,
        )

    def pieces(self) -> list[tuple[Floats, Floats, Floats, dict[str, Any]]]:
        """The query rows one by one, each with its keys, its values and its options."""
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

    def row_scores(self, q: Floats, k: Floats, options: dict[str, Any]) -> tuple[Floats, Floats]:
        """(m,) scores of one query in float64, and how far an input error of one roundoff moves each, over u."""
        scale = options["scale"] if options["scale"] is not None else 1.0 / np.sqrt(max(q.shape[-1], 1))
        point, keys = q[0, 0], k[0]
        # The largest numbers overflow here: an infinite unit allows any error, and the truth itself is exact.
        with np.errstate(over="ignore", invalid="ignore"):
            squares = ((point - keys) ** 2).sum(-1)
            products = np.abs(keys) @ np.abs(point)
            if not options["key_norm_term"]:
                scores, moved = scale * (keys @ point), scale * products
            elif self.convention == "differences":
                # Each difference is rounded once; squares and sums keep its relative error.
                scores, moved = -scale * squares / 2, scale * squares
            else:
                scores, moved = -scale * squares / 2, scale * (products + (keys**2).sum(-1) / 2)
            if options["scale"] is None:
                # 1/√d, computed by a root and a division, is within two roundings of the float nearest to it.
                moved = moved + 2 * np.abs(scores)
            bias = options["mask"][0, 0]
            seen = np.where(np.isneginf(bias), 0.0, bias)
            scores = np.where(np.isneginf(bias), -np.inf, scores + seen)
            # An additive mask is an input too, and rounded where it is added.
            moved = moved + np.abs(seen)
        return scores, moved

    def scores(self, rows: list[int]) -> Scored:
        """The scores of some rows."""
        held = self.pieces()
        found = [self.row_scores(q, k, options) for q, k, _, options in (held[row] for row in rows)]
        values = np.array([held[row][2][0] for row in rows])
        return Scored(np.array([scores for scores, _ in found]), np.array([moved for _, moved in found]), values)

    def _solve(self, q: Floats, k: Floats, v: Floats, options: dict[str, Any]) -> tuple[Any, Rows, Floats]:
        case = self.case
        found = reference.attention(q, k, v, *case.mechanism, empty=self.empty, precision=PRECISION, **options)
        scores, moved = self.row_scores(q, k, options)
        weighting, size = found.weighting, len(scores)
        proved = Proved(
            weighting.weights.split()[0].reshape(1, size),
            weighting.support.reshape(1, size),
            weighting.margin.reshape(1, size),
            weighting.empty.reshape(-1),
        )
        rows = Rows(case, proved, scores[None], moved[None])
        picked = rows.keys(0)
        width = v.shape[-1]
        unit = rows.units(0, picked).mean(v[0][picked]) if len(picked) else np.zeros(width)
        return found, rows, unit

    def _gradients(self, rows: list[Rows]) -> dict[str, Values]:
        case, arrays = self.case, self.arrays
        upstream = np.asarray(self.inputs.cotangent).astype(np.float64)
        if case.op == "regression":
            q, k, v = (arrays[name] for name in "qkv")
            found = reference.regression_vjp(q, k, v, upstream, *case.mechanism, precision=PRECISION)
        else:
            found = reference.attention_vjp(
                self.q, self.k, self.v, upstream, *case.mechanism, precision=PRECISION, **self.options
            )
        unit = self._gradient_units(rows, upstream.reshape(-1, upstream.shape[-1]))
        out = {name: _values(found[name], np.asarray(unit[name])) for name in _wanted(case, found)}
        out.update({name: _values(found[name], unit[name], arrays[name].shape) for name in "qkv"})
        return out

    def _gradient_units(self, rows: list[Rows], upstream: Floats) -> dict[str, Any]:
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
            unit[parameter] += float(units.parameter_gradient(local + np.sign(local) * noise, row.coefficient()))
            unit["order"] += float(units.order_gradient(np.abs(local) + noise)) if row.order != INFINITY else 0.0
        return unit


def _without_causal(inputs: Inputs) -> dict[str, Any]:
    """The options of `inputs`, with the causal mask merged into the mask (..., T, S)."""
    options = {name: value for name, value in inputs.options.items() if name != "causal"}
    seen, mask = inputs.causal_keys, options.get("mask")
    if seen is None:
        return options
    if mask is None or mask.dtype == bool:
        both = seen if mask is None else mask & seen
    else:
        both = np.where(seen, mask.astype(np.float64), -np.inf)
    return {**options, "mask": both}


def _bias(options: dict[str, Any], shape: tuple[int, ...]) -> Floats:
    """The terms that the mask and the lengths add to the scores (..., H, T, S)."""
    bias = np.zeros(shape)
    mask = options.get("mask")
    if mask is not None:
        array: Array = np.asarray(mask)
        bias = bias + (np.where(array, 0.0, -np.inf) if array.dtype == bool else array.astype(np.float64))
    if options.get("lengths") is not None:
        limit = np.asarray(options["lengths"])[..., None, None, None]
        bias = np.where(np.arange(shape[-1]) < limit, bias, -np.inf)
    return bias
