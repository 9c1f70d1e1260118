"""The truth of cases of a variant, with its condition units.

The units are first order, as in `units`: an error of one unit roundoff in every gap d_j, one in the argument t of the
profile, and one in the result. They set the size of the allowed error and never decide what is true.

Source: docs/theory.md §4; docs/variants.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from flint import arb, ctx

from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.variant.definition import Constant, Root, Variant
from kernelproof.reference.variant.jets import ball
from kernelproof.reference.variant.ops import RowOfVariant, collect, rows_vjp, solve_rows
from kernelproof.reference.variant.row_solver import Term, balance, second_slope, solve, vjp
from kernelproof.reference.variant.user_calls import X
from kernelproof.verify.records import Floats, Inputs, Truth, Values

BITS = 128
LARGEST = Fraction(2**1000)
"""Gaps are cut off here, so that sums of them stay finite; a key this far away has no slope."""
GRADIENT_KEYS = 32
"""Rows of at most this many keys have gradients: the cost of their units is cubic in the number of keys."""


@dataclass(frozen=True, eq=False)
class _Slopes:
    """One solved row over its support, in float64: K and t with their derivatives, and the derivatives of γ.

    K (`value`) and its derivatives are divided by Σ K. `first` is ∂K/∂t, `second` ∂²K/∂t², `by_gap` ∂t/∂d, `by_gamma`
    ∂t/∂γ, and `moved` ∂γ/∂d. For the equation E of γ, `share` is ∂E/∂K, 0 if γ is given, and `bend` is
    ∂²E/∂K_j∂K_l, (S, S). All other arrays are (S,).
    """

    ratio: bool
    gaps: Floats
    gamma: float
    value: Floats
    first: Floats
    second: Floats
    t: Floats
    by_gap: Floats
    by_gamma: Floats
    share: Floats
    bend: Floats

    @property
    def total(self) -> float:
        """Σ K."""
        return float(self.value.sum())

    @cached_property
    def rate(self) -> float:
        """∂E/∂γ; 0 where γ is given."""
        return float(self.share @ (self.first * self.by_gamma))

    @cached_property
    def moved(self) -> Floats:
        """∂γ/∂d_k."""
        return -self.share * self.first * self.by_gap / self.rate if self.rate else np.zeros_like(self.gaps)

    @cached_property
    def terms_by_gap(self) -> Floats:
        """∂K_i/∂d_k, (S, S)."""
        return np.diag(self.first * self.by_gap) + np.outer(self.first * self.by_gamma, self.moved)

    @cached_property
    def jacobian(self) -> Floats:
        """∂w_i/∂d_k, (S, S)."""
        weights = self.value / self.total
        return np.asarray((self.terms_by_gap - np.outer(weights, self.terms_by_gap.sum(axis=0))) / self.total)

    def weight_unit(self) -> Floats:
        """(S,) how far errors of one unit roundoff in gaps, arguments and results move each weight, over u."""
        weights = self.value / self.total
        own = np.abs(self.first * self.t) / self.total
        return np.asarray(weights + own + weights * own.sum() + np.abs(self.jacobian) @ self.gaps)

    def gradient_unit(self, g: Floats) -> Floats:
        """(S,) how far errors of one unit roundoff in the gaps and in each term move ∂L/∂d, over u."""
        weights, total = self.value / self.total, self.total
        pull = (g - weights @ g) / total
        size = (np.abs(g) + np.abs(weights @ g)) / total
        across = float(pull @ (self.first * self.by_gamma))
        plain = np.abs(size * self.first * self.by_gap) + np.abs(self.moved) * float(
            size @ np.abs(self.first * self.by_gamma)
        )
        return np.asarray(plain + np.abs(self._second_order(pull, across, g)) @ self.gaps)

    def _second_order(self, pull: Floats, across: float, g: Floats) -> Floats:
        """∂²L/∂d_j ∂d_k, (S, S)."""
        total, a, b = self.total, self.by_gap, self.by_gamma
        count = len(self.gaps)
        eye = np.eye(count)
        t_moved = np.diag(a) + np.outer(b, self.moved)
        first_moved = self.second[:, None] * t_moved
        if self.ratio:
            a_moved = -np.ones((count, 1)) * self.moved / self.gamma**2
            b_moved = -eye / self.gamma**2 + 2 * np.outer(self.gaps, self.moved) / self.gamma**3
        else:
            a_moved = b_moved = np.zeros((count, count))
        total_moved = self.terms_by_gap.sum(axis=0)
        pull_moved = -(g @ self.jacobian)[None, :] / total - np.outer(pull, total_moved) / total
        inner = first_moved * b[:, None] + self.first[:, None] * b_moved
        across_moved = pull @ inner + (self.first * b) @ pull_moved
        outer = first_moved * a[:, None] + self.first[:, None] * a_moved
        found = pull_moved * (self.first * a)[:, None] + pull[:, None] * outer + np.outer(self.moved, across_moved)
        if self.rate:
            share_moved = self.bend @ self.terms_by_gap
            rate_moved = self.share @ inner + (self.first * b) @ share_moved
            moved_moved = -(self.share[:, None] * outer + share_moved * (self.first * a)[:, None]) / self.rate
            moved_moved -= np.outer(self.moved, rate_moved) / self.rate
            found = found + across * moved_moved
        return np.asarray(found)


def slopes_of(variant: Variant, each: RowOfVariant) -> _Slopes:
    """The derivatives of a solved row as float64."""
    with ctx.workprec(BITS + 32):
        return _slopes(variant, each)


def _slopes(variant: Variant, each: RowOfVariant) -> _Slopes:
    found = each.found
    assert found is not None
    terms = found.terms
    bandwidth = variant.bandwidth
    # Divided by their sum, so that floats can hold them: a profile may take values of any size.
    total = X.total([term.value for term in terms])
    share, bend = np.zeros(found.size), np.zeros((found.size, found.size))
    if isinstance(bandwidth, Root):
        by_term = balance(variant, bandwidth, terms).by_term
        share = np.array([float(part * total) for part in by_term])
        if not bandwidth.rises:
            bend = _bend(variant, bandwidth, terms, by_term, total)
    return _Slopes(
        ratio=variant.geometry == "ratio",
        gaps=_floats(each.gaps[: found.size]),
        gamma=float(found.gamma),
        value=np.array([float(term.value / total) for term in terms]),
        first=np.array([float(term.slope / total) for term in terms]),
        second=np.array([float(second_slope(variant, term) / total) for term in terms]),
        t=np.clip([float(term.t) for term in terms], -float(LARGEST), float(LARGEST)),
        by_gap=np.array([float(term.t_gap) for term in terms]),
        by_gamma=np.array([float(term.t_gamma) for term in terms]),
        share=share,
        bend=bend,
    )


def _floats(gaps: list[Fraction]) -> Floats:
    """Gaps as float64; cut at `LARGEST`."""
    return np.array([float(min(gap, LARGEST)) for gap in gaps])


def _bend(variant: Variant, root: Root, terms: list[Term], by_term: list[arb], total: arb) -> Floats:
    """∂²E/∂K_j∂K_l by difference quotients with steps of 2^-40·K_j; a mass needs none, because its E is linear."""
    columns = []
    for at, each in enumerate(terms):
        step = each.value.mid() * arb((1, -40))
        moved = [*terms[:at], replace(each, value=each.value + step), *terms[at + 1 :]]
        there = balance(variant, root, moved).by_term
        columns.append([float((b - a) / step * total * total) for a, b in zip(by_term, there, strict=True)])
    return np.array(columns).T


def truth_of_variant(variant: Variant, inputs: Inputs, scores: Floats) -> Truth:
    """Prove the outputs of a case of a variant; `scores` (..., m) float64, finite or −∞."""
    size = scores.shape[-1]
    flat = scores.reshape(-1, size) if scores.size else np.empty((int(np.prod(scores.shape[:-1])), size))
    picked = flat if inputs.rows is None else flat[inputs.rows]
    rows = solve_rows(variant, picked, BITS)
    found = collect(variant, rows, picked.shape)
    unit, margin_unit = np.zeros(picked.shape), np.zeros(picked.shape)
    for r, each in enumerate(rows):
        if each.found is not None:
            keys = each.row.keys
            slopes = slopes_of(variant, each)
            unit[r, keys[: each.found.size]] = slopes.weight_unit()
            all_gaps = _floats(each.gaps)
            edge = 1.0 if variant.geometry == "shift" else float(variant.exact_edge or 1)
            own = float(np.abs(slopes.moved) @ slopes.gaps) + abs(slopes.gamma)
            margin_unit[r, keys] = all_gaps + abs(edge) * own
    gradients = None
    if inputs.cotangent is not None and inputs.rows is None and flat.size and size <= GRADIENT_KEYS:
        upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(flat.shape)
        gradients = _gradients(variant, rows, upstream, scores.shape)
    return Truth(
        output=_values(found.weights, unit),
        support=found.support,
        boundary=found.boundary,
        empty=found.empty,
        unsure=found.unsure,
        kink=found.kink,
        margin=found.margin,
        margin_unit=margin_unit,
        weights=np.asarray(found.weights.split()[0]).reshape(picked.shape),
        gradients=gradients,
    )


def _values(enclosure: Enclosure, unit: Floats) -> Values:
    head, tail, radius = enclosure.split()
    return Values(head, tail, radius, unit.reshape(enclosure.shape))


def corner_of_variant(
    variant: Variant, scores: Floats, key: int
) -> Callable[[Fraction, int], tuple[Fraction, Fraction]]:
    """(κu, sign) -> a proved interval of weight `key` at the corner of the box where it is largest, or smallest.

    If the equation of a variant is a mass or its γ is given, a weight falls with its own gap and rises with every
    other: its own term falls, and either the sum of the terms is fixed or the other terms fall. For other equations the
    corners are still points of the box, so a number between them is rightly admitted; a number that is not between them
    may be admissible too, and `Accuracy` leaves it undecided.

    Raises:
        UndecidedError: a corner lies too close to an edge.
    """
    live = [Fraction(float(score)) if np.isfinite(score) else None for score in scores]
    top = max(score for score in live if score is not None)

    def corner(step: Fraction, sign: int) -> tuple[Fraction, Fraction]:
        if live[key] is None:
            return Fraction(0), Fraction(0)
        gaps = {
            j: (top - score) * (1 - sign * step if j == key else 1 + sign * step)
            for j, score in enumerate(live)
            if score is not None
        }
        least = min(gaps.values())
        order = sorted(gaps, key=lambda j: gaps[j])
        found = solve(variant, [gaps[j] - least for j in order], BITS)
        place = order.index(key)
        if place >= found.size:
            return Fraction(0), Fraction(0)
        weight = found.weights[place]
        low, high = (Fraction(np.nextafter(float(end()), way)) for end, way in ((weight.lower, -1), (weight.upper, 2)))
        return max(low, Fraction(0)), high

    return corner


def box_decides(rule: object) -> bool:
    """Whether the corners of a box bound the weights in it, which some equations of variants do not guarantee."""
    return not isinstance(rule, Variant) or isinstance(rule.bandwidth, Constant) or rule.bandwidth.rises


def _gradients(variant: Variant, rows: list[RowOfVariant], g: Floats, shape: tuple[int, ...]) -> dict[str, Values]:
    found = rows_vjp(variant, rows, g, BITS, shape)
    unit = np.zeros(g.shape)
    scalars = dict.fromkeys(variant.parameters, 0.0)
    for r, each in enumerate(rows):
        if each.found is None:
            continue
        keys = each.row.keys[: each.found.size]
        own, moved = g[r, keys], slopes_of(variant, each)
        by_gap = moved.gradient_unit(own)
        unit[r, keys] = by_gap
        # Gaps are measured from the largest score, so its gradient has the errors of all of them.
        unit[r, keys[: each.row.tied]] += by_gap.sum()
        for name in scalars:
            scalars[name] += _parameter_unit(variant, each, g[r, each.row.keys], name)
    out = {name: _values(found[name], np.asarray(scalars[name])) for name in scalars}
    return {**out, "scores": _values(found["scores"], unit)}


def _parameter_unit(variant: Variant, each: RowOfVariant, g: Floats, name: str) -> float:
    """How far one unit roundoff in the gaps and in each term moves ∂L/∂θ, over u; `g` covers all keys not masked.

    ``∂²L/∂θ∂d`` is a difference quotient of ``∂L/∂d`` with the step 2^-40·θ; its error, of that order, is small enough
    for a unit.
    """
    assert each.found is not None
    exact = variant.exact_parameters[name]
    step = (abs(exact) or Fraction(1)) / 2**40
    moved = replace(variant, parameters={**variant.parameters, name: exact + step})
    upstream = [Fraction(value) for value in g.tolist()]
    cotangent = upstream[: each.found.size]
    with ctx.workprec(BITS + 32):
        here = vjp(variant, each.found, cotangent)
        # A key at the edge may enter; then the row is a kink, or the key has almost no slope.
        beside = solve(moved, each.gaps, BITS)
        there = vjp(moved, beside, upstream[: beside.size])
        pairs = list(zip(here.by_gap, there.by_gap, strict=False))
        mixed = np.array([float((b - a) / ball(step)) for a, b in pairs])
        absolute = vjp(variant, each.found, [abs(value) for value in cotangent])
        terms = abs(float(here.by_parameter[name])) + abs(float(absolute.by_parameter[name]))
        total = X.total([term.value for term in each.found.terms])
        direct = [abs(term.by_parameter[name] / total) for term in each.found.terms]
        terms += float(sum(2 * d * abs(ball(value)) for d, value in zip(direct, cotangent, strict=True)))
    gaps = _floats(each.gaps[: len(mixed)])
    return terms + float(np.abs(mixed) @ gaps)
