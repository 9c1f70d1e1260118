"""Rows longer than a tile of any usual kernel: faults that only a long row shows."""

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


class LongRows:
    """The feature is the standard deviation of the scores: small ones keep many keys in the support."""

    id = "long_rows"
    title = "rows of hundreds of keys"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Lengths above 2^8 and 2^9, from the standard suite on between 2^9 and 2^10 and above; more than one row."""
        if op in {"entmax", "weights"}:
            yield (2, 257), "1/4"
            yield (2, 513), "2"
            if suite != "quick":
                yield (3, 777), "1"
                yield (2, 1025), "2"

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal scores."""
        spread = {"1/4": 0.25, "1": 1.0, "2": 2.0}[one_of(case, ("1/4", "1", "2"))]
        return scored(case, settle(case, spread * normals(generator, case.shape)))


FAMILY = LongRows()
