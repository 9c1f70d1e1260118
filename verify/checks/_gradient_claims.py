"""What the script of a failure claims of gradients: what the check of gradients judges them by, also at kinks.

At a kink more than one gradient is right. Those of order 1 are a convex set, the hull of a few vectors: every entry
lies between the least and the largest entry of these, and so does every other combination of entries. Where each
entry does, but not the whole, there is a combination that does not (a plane separates a point from a convex set), and
the script claims that one. Between orders 1 and 2 the box of the inputs gives an interval for each entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Adaptive
from kernelproof.verify.checks._kinks import boxed, crossing, hulled, loose_rows, open_entries, reach_of, row_of
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.claims import Claim, Seen, elements, interval, lacking, rounded
from kernelproof.verify.judging.errors import near_kink
from kernelproof.verify.judging.grades import limit_of, sharp_of
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.row_gradients import SCORES, empty_elements, spoiled_elements
from kernelproof.verify.records import Contract, Flags, Floats, Inputs, Truth, Values
from kernelproof.verify.truth.kink_box import STEPS
from kernelproof.verify.truth.kink_hull import corners_of, hull_distance

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_ROUNDING = 2.0**-40
"""Added to every bound that is computed in float64, relative to it: far above its rounding, far below what κ allows."""


def gradient_claims(case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
    """Claim that every gradient of every call is right, or one of those that are right."""
    for one in seen.values():
        truth = one.truth
        if one.call.mode != "vjp" or truth is None or truth.gradients is None or one.outcome.error is not None:
            continue
        for name, values in truth.gradients.items():
            if (fault := lacking(one, name, values.head.shape)) is not None:
                yield fault
                continue
            raw = np.asarray(one.outcome.arrays[name]).astype(np.float64)
            yield from _Array(name, one, raw, values, truth, case.at_order(one.call.order), contract).claims()


@dataclass(frozen=True)
class _Array:
    """The gradient `raw` of one array, or of one number, with its truth."""

    name: str
    one: Seen
    raw: Floats
    values: Values
    truth: Truth
    case: Case
    contract: Contract

    @property
    def held(self) -> str:
        return f'{self.one.variable}["{self.name}"]'

    @property
    def precision(self) -> Precision:
        return precision_of(self.case.dtype, self.contract, self.case.op)

    @property
    def inputs(self) -> Inputs:
        return self.one.call.inputs

    def claims(self) -> Iterator[Claim]:
        truth, raw, case = self.truth, self.raw, self.case
        terms = 1 if self.name in SCORES else max(truth.support.shape)
        radius = self.values.radius + crossing(self.name, case, truth, self.inputs, self.precision, raw)
        limit = limit_of(self.contract.grade)
        loose = loose_rows(case, truth, self.precision)
        open_ = np.broadcast_to(open_entries(self.name, case, truth, loose, raw.shape), raw.shape)
        none = empty_elements(case, self.name, raw.shape, truth)
        # Nothing is claimed of empty rows that may be anything; where they may be NaN, the script reads NaN as 0.
        skipped = none & (self.contract.empty_row == "any")
        skipped = skipped | spoiled_elements(case, self.inputs, self.name, raw, truth, self.contract)
        nan = none & (self.contract.empty_row == "nan")
        if not raw.ndim:
            # The gradient in a number may be NaN, and nothing else but right.
            skipped, nan = (skipped | nan) & np.isnan(raw), np.zeros((), dtype=bool)
        allowance = allowance_of(replace(self.values, radius=radius), self.precision, terms=terms)
        allowed, least = allowance.at(limit), allowance.at(1.0)
        decided = np.isfinite(allowed) & ~open_ & ~skipped
        yield from elements(self.held, raw, self.values, allowed, decided & ~nan, self.precision.storage)
        for claim in elements(self.held, raw, self.values, allowed, decided & nan, self.precision.storage):
            value = float(np.nan_to_num(claim.value))
            yield replace(claim, expression=f"np.nan_to_num({claim.expression})", value=value)
        if open_.any():
            yield from self._at_kinks(open_ & ~skipped & ~nan, least, limit)

    def _at_kinks(self, open_: Flags, least: Floats, limit: float) -> Iterator[Claim]:
        case, truth, order = self.case, self.truth, float(self.case.kernel.order)
        rule, upstream = case.inner_rule, self.inputs.cotangent
        decided = np.zeros(truth.empty.shape, dtype=bool)
        if self.name in SCORES and isinstance(rule, Adaptive) and upstream is not None:
            near = near_kink(truth, self.precision)
            if order == 1:
                decided = hulled(truth, near)
                for r in np.flatnonzero(decided):
                    yield from self._in_hull(int(r), near[r], float(rule.exact), limit)
            elif 1 < order < 2:
                decided = boxed(truth, loose_rows(case, truth, self.precision))
                for r in np.flatnonzero(decided):
                    yield from self._in_box(int(r), limit)
        if (reach := reach_of(self.name, case, self.inputs)) is None:
            return
        if decided.any():
            open_ = open_ & ~decided.reshape(*self.raw.shape[:-1], 1)
        largest = FORMATS["float64"].largest
        reach = np.minimum(np.broadcast_to(reach, self.raw.shape) * (1 + _ROUNDING), largest)
        for index in np.argwhere(open_ & np.isfinite(self.values.head) & np.isfinite(least)):
            at = tuple(int(i) for i in index)
            expected = self._expected(at)
            if math.isfinite(expected):
                # Which gradients are right at this kink is not known; one beyond the reach of all is wrong.
                low, high = interval(float(self.values.head[at]), float(self.values.tail[at]), float(least[at]), 0.0)
                bound = float(reach[at])
                yield self._claim(at, expected, min(low, -bound), max(high, bound))

    def _expected(self, at: tuple[int, ...]) -> float:
        return rounded(float(self.values.head[at]), float(self.values.tail[at]), self.precision.storage)

    def _claim(self, at: tuple[int, ...], expected: float, low: float, high: float) -> Claim:
        return Claim(f"{self.held}{list(at) if at else '[()]'}", expected, low, high, float(self.raw[at]))

    def _place(self, r: int) -> tuple[int, ...]:
        """The index of row `r`."""
        return tuple(int(i) for i in np.unravel_index(r, self.raw.shape[:-1])) if self.raw.ndim > 1 else ()

    def _in_hull(self, r: int, edge: Flags, scale: float, limit: float) -> Iterator[Claim]:
        """Claim that every entry lies between the corners, and one combination if only that shows the fault."""
        width = self.raw.shape[-1]
        upstream = np.asarray(self.inputs.cotangent).astype(np.float64).reshape(-1, width)[r]
        got, place, inside = self.raw.reshape(-1, width)[r], self._place(r), self.truth.support[r] & ~edge
        corners = corners_of(upstream, inside, edge, scale)
        unit, fixed = self.precision.unit, allowance_of(self.values, self.precision).fixed.reshape(-1, width)[r]
        size = float(np.abs(scale * upstream).max(initial=0.0))
        share = min(sharp_of("E", unit), limit) * unit + 64 * 2.0**-53 + (float(fixed.max()) / size if size else 0.0)
        slack = (share + _ROUNDING) * size
        exact, shown = np.array([self._expected((*place, key)) for key in range(width)]), False
        for key in range(width):
            low, high = float(corners[:, key].min()) - slack, float(corners[:, key].max()) + slack
            yield (claim := self._claim((*place, key), float(exact[key]), low, high))
            shown = shown or not claim.met
        if shown or size == 0.0 or hull_distance(got, upstream, inside, edge, scale) <= share:
            return
        row = self.held + (str(list(place)) if place else "")
        for weights in _separating(got / size, corners / size):
            ends = corners @ weights
            wide = slack * float(np.abs(weights).sum())
            low, high = float(ends.min()) - wide, float(ends.max()) + wide
            value = float(np.dot(weights, got))
            if not low <= value <= high:
                yield Claim(f"np.dot({_short(weights)}, {row})", float(weights @ exact), low, high, value)
                return

    def _in_box(self, r: int, limit: float) -> Iterator[Claim]:
        """Claim every entry to lie within the box of its inputs."""
        row, free = row_of(self.case, self.truth, self.inputs, r, self.contract)
        place = self._place(r)
        low, high = row.interval(limit if math.isfinite(limit) else STEPS[-1])
        places = iter(np.argwhere(free)[:, 0].tolist())
        for key, least, most in zip(places, low.tolist(), high.tolist(), strict=True):
            expected = self._expected((*place, key))
            if math.isfinite(expected) and math.isfinite(least) and math.isfinite(most):
                yield self._claim((*place, key), expected, least, most)
        for key in np.flatnonzero(~free).tolist():
            yield self._claim((*place, key), 0.0, 0.0, 0.0)


def _separating(got: Floats, corners: Floats) -> Iterator[Floats]:
    """Combinations of entries for which `got` may lie beyond all `corners`: their sum, then the best one, short first.

    The best one is that of the linear program ``max ⟨f, got⟩ − t`` with ``⟨f, corner⟩ ≤ t`` and ``Σ|f| ≤ 1``, whose
    value is the largest entry by which `got` misses the nearest point of the hull.
    """
    count, width = corners.shape
    yield np.ones(width)
    goal = np.concatenate([-got, got, [1.0]])
    above = np.hstack([corners, -corners, -np.ones((count, 1))])
    bounded = np.concatenate([np.ones(2 * width), [0.0]])[None, :]
    sides = [(0.0, None)] * (2 * width) + [(None, None)]
    from scipy.optimize import linprog  # noqa: PLC0415 (half of the start of a process)

    found: Any = linprog(goal, np.vstack([above, bounded]), np.append(np.zeros(count), 1.0), bounds=sides)
    if found.status != 0:
        return
    best = found.x[:width] - found.x[width : 2 * width]
    largest = float(np.abs(best).max())
    if largest > 0:
        for digits in (1, 3, 17):
            yield np.asarray(np.round(best / largest, digits)) + 0.0


def _short(weights: Floats) -> str:
    return f"[{', '.join(repr(int(x) if x == int(x) else float(x)) for x in weights)}]"
