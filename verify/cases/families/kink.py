"""Rows with a key at the threshold, exactly or a few ulps off it, where the support changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import Adaptive
from kernelproof.verify.cases.builders import reach_of, scored
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import on_grid, step, uniforms
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

BISECTIONS = 200
DISTANCES = ("0", "-1", "+1", "-2", "+2", "-16", "+16")


def threshold_gap(gaps: Floats, order: float) -> float:
    """The gap d at which a further key would be at the threshold of `gaps`: Σ ((d − d_j)/n)^n = 1, in float64.

    >>> threshold_gap(np.array([0.0, 0.25]), 1.0)
    0.625
    """
    low, high = float(gaps.max()), float(order)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        with np.errstate(under="ignore"):
            mass = float((((middle - gaps) / order) ** order).sum())
        low, high = (middle, high) if mass < 1 else (low, middle)
    return high


class Kink:
    """The feature is the number of ulps by which the score of the key at the threshold is moved; 0 is the kink itself.

    The even rows have one key above the threshold, or equal ones: there the kink is exact at every order n that is a
    number of the dtype (a single key reaches to the gap n), and at order 1 for any dyadic gaps. The threshold of the
    odd rows is computed in float64.
    """

    id = "kink"
    title = "a key at the threshold"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """The kink itself, and offsets of ±1, 2 and 16 ulps."""
        if op in {"entmax", "weights"}:
            yield from (((4, 8), distance) for distance in DISTANCES)
            if suite == "exhaustive":
                yield from (((4, 64), distance) for distance in DISTANCES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Scores of at most 0: the best is 0, the last key lies at the threshold, the others on both sides of it."""
        distance = whole_number(case, -(2**16), 2**16)
        keys = case.size
        rows = int(np.prod(case.shape[:-1]))
        reach = reach_of(case)
        # Order ∞ and negative orders have no threshold; rows as for order 8 keep the case meaningful.
        order = float(case.kernel.order) if np.isfinite(reach) and case.kernel.order >= 0 else 8.0
        reach = reach if np.isfinite(reach) else 8.0
        adaptive = isinstance(case.parsed_rule, Adaptive)
        scale = reach / order if adaptive else 1.0
        built = np.empty((rows, keys))
        for row in range(rows):
            near = 1 if row % 2 == 0 else max(2, keys // 2)
            near = min(near, max(keys - 1, 1))
            edge, gaps = self._edge(reach, order, near, generator, case.dtype, scale, adaptive=adaptive)
            outer = edge * (1.5 + uniforms(generator, (keys - near - 1,))) if keys > near + 1 else np.empty(0)
            at = step(np.array([on_grid(np.array(-edge), case.dtype)]), distance, case.dtype)
            built[row] = np.concatenate([-gaps, -outer, at])[:keys]
        return scored(case, built)

    def _edge(
        self,
        reach: float,
        order: float,
        near: int,
        generator: np.random.Generator,
        dtype: str,
        scale: float,
        *,
        adaptive: bool,
    ) -> tuple[float, Floats]:
        """The gap of the threshold, and the gaps of the `near` keys above it."""
        if not adaptive:
            gaps = on_grid(reach * np.round(uniforms(generator, (near,)) * 8) / 16, dtype)
            gaps[0] = 0.0
            return reach, gaps
        if near == 1:
            return reach, np.zeros(1)
        if order == 1:
            # A power of two of dyadic gaps has a dyadic threshold: (1 + Σ d_j)/size.
            near_two = 2 ** int(np.log2(near))
            part = np.round(uniforms(generator, (near_two,)) * 4) / (32 * near_two)
            part[0] = 0.0
            edge = (1.0 + part.sum()) / near_two
            outside = np.full(near - near_two, 2.0)
            return float(edge * scale), np.concatenate([part, outside]) * scale
        bound = 0.5 * order * float(near) ** (-1 / order)
        gaps = on_grid(scale * bound * uniforms(generator, (near,)), dtype) / scale
        gaps[0] = 0.0
        return threshold_gap(gaps, order) * scale, gaps * scale


FAMILY = Kink()
