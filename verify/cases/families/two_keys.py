"""Two keys, the gap between them swept from row to row: the weight of the first is a monotone curve of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import reach_of, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import on_grid, step
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("wide", "small", "edge")


class TwoKeys:
    """Row i has the scores (t_i, 0) with t rising over the rows.

    ``wide`` goes from one key alone through the tie to the other alone, ``small`` stays within a thousandth of that
    around the tie, and ``edge`` steps by ulps over the gap at which the second key loses its weight.
    """

    id = "two_keys"
    title = "two keys, a sweep of their gap"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Each of them."""
        if op in {"entmax", "weights"}:
            count = 65 if suite == "quick" else 129
            yield from (((count, 2), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Gaps rounded to the dtype; equal ones may follow one another."""
        feature = one_of(case, _FEATURES)
        rows = int(np.prod(case.shape[:-1]))
        reach = reach_of(case)
        reach = reach if np.isfinite(reach) else 40.0
        middle = np.arange(rows) - (rows - 1) / 2
        if feature == "edge":
            # The kink of a row of two keys is at the gap itself: one key reaches as far as γ goes with all the mass.
            gaps = np.concatenate([step(on_grid(np.array([reach]), case.dtype), int(at), case.dtype) for at in middle])
        else:
            gaps = reach * middle / max(rows / 2, 1) * (1.25 if feature == "wide" else 2.0**-10)
        sweep = np.zeros(case.shape)
        sweep[..., 0] = gaps.reshape(case.shape[:-1])
        return scored(case, settle(case, sweep))


FAMILY = TwoKeys()
