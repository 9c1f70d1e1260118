"""Condition units of rows of weights, computed in groups of rows with supports of similar size (docs/theory.md §4).

Everything is first order and float64; nothing here decides what is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed
from kernelproof.reference.weighting import effective
from kernelproof.verify.judging.errors import NEAR
from kernelproof.verify.records import Flags, Floats
from kernelproof.verify.truth.units import RowUnits

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

GROUP = 1 << 16
"""Numbers in a matrix of the rows whose units are computed together: they should fit the caches of the processor."""


@dataclass(frozen=True, eq=False)
class Proved:
    """What the oracle proved about R rows, in float64."""

    weights: Floats
    support: Flags
    margin: Floats
    empty: Flags


class Rows:
    """Rows of weights, with the input error of each score and the first-order sensitivities of each row."""

    def __init__(self, case: Case, proved: Proved, scores: Floats, moved: Floats | None = None) -> None:
        self.mechanism = case.mechanism
        kernel, self.rule, _ = effective(self.mechanism)
        self.order = float(kernel.order)
        self.weights, self.support, self.margin, self.empty = (
            proved.weights,
            proved.support,
            proved.margin,
            proved.empty,
        )
        self.scale = float(self.rule.exact) if isinstance(self.rule, Adaptive) else 1.0
        self.scores = scores
        with np.errstate(invalid="ignore", over="ignore"):
            top = np.max(np.where(np.isfinite(scores), scores, -np.inf), axis=-1, initial=-np.inf, keepdims=True)
            self.gaps = np.where(np.isfinite(scores), np.maximum(top - scores, 0.0), 0.0)
        self.moved = moved_by_rule(self.rule, scores, self.gaps) if moved is None else moved
        if self.order < 0:
            self.margin = heavy_margins(self.rule, self.order, proved.weights, scores, self.gaps)
        # The support, without weights that underflow float64.
        self.counted = self.support & (self.weights > 0) & ~self.empty[:, None]

    def __len__(self) -> int:
        return len(self.weights)

    def keys(self, r: int) -> NDArray[np.intp]:
        """The keys of row r that have units."""
        return np.flatnonzero(self.counted[r])

    def groups(self, power: int) -> Iterator[Group]:
        """Yield the rows that have such keys, in groups of similar key counts S.

        A row counts as S^power numbers; a group has at most `GROUP` of them, or a single row.
        """
        counts = self.counted.sum(axis=1)
        rows = np.argsort(counts, kind="stable")[int((counts == 0).sum()) :]
        while len(rows):
            # All rows of a group are padded to the length of its last row, the longest.
            sizes = counts[rows].astype(np.int64) ** power * np.arange(1, len(rows) + 1)
            taken = max(int(np.searchsorted(sizes, GROUP, side="right")), 1)
            picked, rows = rows[:taken], rows[taken:]
            size = int(counts[picked[-1]])
            keys = np.argsort(~self.counted[picked], axis=1, kind="stable")[:, :size]
            yield Group(self, picked, keys, np.take_along_axis(self.counted[picked], keys, axis=1))

    def units(self, r: int, keys: NDArray[np.intp]) -> RowUnits:
        """The sensitivities of row r over `keys`."""
        return self.units_of(self.weights[r, keys], self.margin[r, keys], self.shift[r, keys], self.moved[r, keys])

    @property
    def shift(self) -> Floats:
        """(R, m) what the rule's parameter acts on."""
        return self.scores if isinstance(self.rule, Fixed) else self.gaps

    def units_of(self, weights: Floats, margins: Floats, shift: Floats, moved: Floats) -> RowUnits:
        """The sensitivities of rows or groups of keys; `shift` and `moved` in the unit of the scores."""
        rate = self.scale if isinstance(self.rule, Adaptive) else 1.0
        if self.order == INFINITY and isinstance(self.rule, Fixed):
            rate = 1.0 / float(self.rule.exact) ** 2
        elif self.order == INFINITY:
            rate = 1.0
        with np.errstate(over="ignore"):
            shift, moved = np.clip(shift * self.scale, -1e300, 1e300), np.clip(moved * self.scale, 0.0, 1e300)
        return RowUnits(
            weights=weights, margins=margins, order=self.order, rule=self.rule, rate=rate, shift=shift, moved=moved
        )

    def weight_unit(self) -> Floats:
        """(R, m) unit of every weight; 0 off the support."""
        out = np.zeros_like(self.weights)
        for group in self.groups(1):
            group.put(out, group.units.weight)
        return out

    def margin_unit(self) -> Floats:
        """(R, m) how far one unit roundoff in the scores moves γ − d, over u: the error of d plus that of γ."""
        with np.errstate(over="ignore"):
            moved = np.clip(self.moved * self.scale, 0.0, 1e300)
        if not isinstance(self.rule, Adaptive):
            finite = np.where(np.isfinite(self.margin), np.abs(self.margin), 0.0)
            with np.errstate(over="ignore"):
                return np.asarray(moved + finite.max(axis=1, initial=0.0, keepdims=True))
        out = moved.copy()
        for group in self.groups(1):
            slopes = group.units.slopes
            share = slopes / np.maximum(slopes.max(axis=1, keepdims=True), 1e-300)
            total = share.sum(axis=1, keepdims=True)
            out[group.rows] += ((share / np.where(total > 0, total, 1.0)) * group.units.moved).sum(axis=1)[:, None]
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
        """The factor of ``Σ J x`` in the gradient of the rule's parameter."""
        parameter = float(self.rule.exact)
        return {Fixed: -2.0, Anchored: 1.0, Adaptive: -1.0}[type(self.rule)] / parameter


class Group:
    """Rows with similar numbers of keys, padded to one length.

    Attributes:
        rows: (G,) row numbers.
        keys: (G, S) the keys of each row, padded with other keys where a row has fewer.
        real: (G, S) which entries of `keys` are not padding.
        units: the sensitivities of all rows, (G, S).
    """

    def __init__(self, of: Rows, rows: NDArray[np.intp], keys: NDArray[np.intp], real: Flags) -> None:
        self.rows, self.keys, self.real = rows, keys, real
        weights = self.pick(of.weights)
        margins = np.where(real, of.margin[rows[:, None], keys], np.inf)
        self.units = of.units_of(weights, margins, self.pick(of.shift), self.pick(of.moved))

    def pick(self, array: Floats) -> Floats:
        """(G, S) entries of (R, m) at the keys, 0 in the padding."""
        return np.where(self.real, array[self.rows[:, None], self.keys], 0.0)

    def put(self, out: Floats, values: Floats) -> None:
        """Write (G, S) values to their places in (R, m)."""
        rows = np.broadcast_to(self.rows[:, None], self.keys.shape)
        out[rows[self.real], self.keys[self.real]] = values[self.real]


def heavy_margins(
    rule: Fixed | Anchored | Adaptive, order: float, weights: Floats, scores: Floats, gaps: Floats
) -> Floats:
    """(R, m) |γ| + d in the unit of the logits, for a negative order; ∞ where a weight underflows.

    Under `Adaptive` it follows from the weights, ``|n|·p^(1/n)``.
    """
    with np.errstate(divide="ignore", over="ignore"):
        if isinstance(rule, Adaptive):
            return np.asarray(-order * weights ** (1.0 / order))
        if isinstance(rule, Anchored):
            return float(rule.exact) + gaps
        return np.asarray(np.where(np.isfinite(scores), float(rule.exact) ** 2 / 2 - scores, np.inf))


def moved_by_rule(rule: Any, scores: Floats, gaps: Floats) -> Floats:
    """The input error of scores given directly: |s| if the rule reads distances D = −2s, the gaps otherwise."""
    return np.abs(np.where(np.isfinite(scores), scores, 0.0)) if isinstance(rule, Fixed) else gaps
