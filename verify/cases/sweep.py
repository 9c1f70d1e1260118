"""Rows that differ in one score only, which rises from row to row: a jagged function of it shows at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.building import on_grid, reach_of, scored, settle, whole_number
from kernelproof.verify.seams import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.case import Case


class Sweep:
    """Row r is ``[t_r, 0, …, 0]``; t rises in equal steps from −c to c over the rows of the case.

    The feature is c in tenths of the gap beyond which a key has no weight beside a single other one, or of 1 where
    that is larger: 12 goes a fifth beyond the last kink, on both sides.
    """

    id = "sweep"
    title = "one rising score"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Two keys, and three; more rows from the standard suite on."""
        if op in {"entmax", "weights"}:
            rows = 65 if suite == "quick" else 129
            yield (rows, 2), "12"
            yield (rows, 3), "12"
            if suite != "quick":
                yield (rows, 2), "1"

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Exact steps where the dtype has them; nothing is random."""
        reach = min(reach_of(case), 1.0) * whole_number(case, 1, 1000) / 10.0
        count = int(np.prod(case.shape[:-1]))
        rows = np.zeros((count, case.size))
        steps = np.arange(count)[:, None]
        rows[:, :1] = reach * (2 * steps - (count - 1)) / max(count - 1, 1)
        return scored(case, settle(case, on_grid(rows, case.dtype)))


FAMILY = Sweep()
