"""Many short rows, all of them checked: faults at the edges of blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_COUNTS = (9, 33, 129, 151, 257)


class Batches:
    """The shape says how many rows there are; the feature is the standard deviation of the scores."""

    id = "batches"
    title = "many short rows"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One row more than blocks of 2^3, 2^5, 2^7 and 2^8, and a number of rows that is not next to a block size."""
        if op in {"entmax", "weights"}:
            yield from (((count, 3), "1") for count in _COUNTS)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal scores, another draw in each row."""
        spread = float(one_of(case, ("1", "2")))
        return scored(case, settle(case, spread * normals(generator, case.shape)))


FAMILY = Batches()
