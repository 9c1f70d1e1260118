"""Scores of all magnitudes: normal ones times 10^k, from nearly tied ones to gaps that overflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import cast, normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Scales:
    """The feature is the power of ten; scores beyond the range of a dtype become its largest number."""

    id = "scales"
    title = "scores times 10^k"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Powers from −30 to 30 for scores, from −3 to 3 for queries and keys."""
        if op in {"entmax", "weights"}:
            powers = (
                (-8, 1, 4, 30, -30, -2) if suite != "exhaustive" else (-300, -30, -15, -8, -4, -2, 1, 2, 4, 8, 30, 300)
            )
            yield from (((2, 12), str(power)) for power in powers)
        else:
            shape = (2, 12, 4, 2) if op == "regression" else (2, 1, 1, 12, 4, 2)
            yield from ((shape, str(power)) for power in (-1, -3, 1))

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normals times 10^k."""
        scale = 10.0 ** whole_number(case, -300, 300)
        if case.op in {"entmax", "weights"}:
            with np.errstate(over="ignore", under="ignore"):
                rows = cast(scale * normals(generator, case.shape), case.dtype).astype(np.float64)
                return scored(case, settle(case, rows))
        return Inputs(mixed(case, generator, scale))


FAMILY = Scales()
