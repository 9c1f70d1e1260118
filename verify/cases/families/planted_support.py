"""Rows whose support has a chosen size, to find off-by-one errors in the support."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive, Nearest
from kernelproof.verify.cases.builders import reach_of, scored
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import shuffle_rows, uniforms
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def planted_gaps(case: Case, size: int, generator: np.random.Generator) -> Floats:
    """(R, m) gaps of which exactly `size` in each row are in the support, however they are rounded.

    By the exact test (docs/theory.md §2) a key at gap d is in the support if Σ ((d − d_j)/n)^n < 1. Gaps below
    n·(2·size)^(−1/n) are in it, because the sum is at most 1/2; gaps of n or more are not.
    """
    rows, keys = int(np.prod(case.shape[:-1])), case.size
    reach, order = reach_of(case), float(case.kernel.order)
    adaptive = isinstance(case.parsed_rule, Adaptive)
    share = float((2.0 * size) ** (-1 / order)) if adaptive and order > 0 else 1.0
    near = 4.0 if reach == INFINITY else reach * share * 0.75
    far = 900.0 if reach == INFINITY else 1.25 * reach
    draw = uniforms(generator, (rows, keys))
    inside = np.arange(keys) < size
    gaps = np.where(inside, near * draw, far * (1.0 + draw))
    gaps[:, 0] = 0.0
    return np.asarray(gaps)


class PlantedSupport:
    """The feature is the size of the support: 1, 2, a number, half or all of the keys."""

    id = "planted_support"
    title = "support of a chosen size"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Sizes from 1 to m."""
        if op in {"entmax", "weights"}:
            yield from (((2, 12), size) for size in ("1", "2", "6", "11", "12"))
            if suite == "exhaustive":
                yield from (((2, 300), size) for size in ("1", "17", "150", "299", "300"))

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Scores whose best is 0 and whose support ends at −γ; a smaller k of `Nearest` makes the support smaller."""
        size = min(whole_number(case, 1, 10**9 - 1), case.size)
        if isinstance(case.parsed_rule, Nearest):
            size = min(size, case.parsed_rule.k)
        return scored(case, shuffle_rows(generator, -planted_gaps(case, size, generator)))


FAMILY = PlantedSupport()
