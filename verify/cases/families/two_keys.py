"""Two keys whose signed gap grows from row to row: the weight of the first key is a monotone function of it."""

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

    ``wide`` goes from all weight on one key through the tie to all weight on the other, ``small`` covers a thousandth
    of that range around the tie, and ``edge`` steps by ulps across the gap at which the second key loses its weight.
    """

    id = "two_keys"
    title = "two keys, a sweep of their gap"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature."""
        if op in {"entmax", "weights"}:
            count = 65 if suite == "quick" else 129
            yield from (((count, 2), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Gaps rounded to the dtype, so that successive gaps may be equal."""
        feature = one_of(case, _FEATURES)
        rows = int(np.prod(case.shape[:-1]))
        reach = reach_of(case)
        reach = reach if np.isfinite(reach) else 40.0
        middle = np.arange(rows) - (rows - 1) / 2
        if feature == "edge":
            # With two keys the kink is at this gap: a key with all the weight reaches exactly this far.
            gaps = np.concatenate([step(on_grid(np.array([reach]), case.dtype), int(at), case.dtype) for at in middle])
        else:
            gaps = reach * middle / max(rows / 2, 1) * (1.25 if feature == "wide" else 2.0**-10)
        sweep = np.zeros(case.shape)
        sweep[..., 0] = gaps.reshape(case.shape[:-1])
        return scored(case, settle(case, sweep))


FAMILY = TwoKeys()
