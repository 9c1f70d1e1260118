"""Scores whose differences reach the largest number of the dtype, or overflow it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.builders import scored
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import uniforms
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("ends", "overflow", "below")


class HugeGaps:
    """The feature says where the scores are.

    ``ends`` has the largest numbers of both signs and 0, ``overflow`` has gaps beyond the largest number, and ``below``
    has keys near 0 beside some at the negative end.
    """

    id = "huge_gaps"
    title = "gaps that overflow"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature."""
        if op in {"entmax", "weights"}:
            yield from (((3, 8), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Scores that are all finite."""
        feature = one_of(case, _FEATURES)
        largest = FORMATS[case.dtype].largest
        draw = uniforms(generator, case.shape)
        place = np.arange(case.size)
        if feature == "ends":
            rows = np.where(draw < 0.4, -largest, np.where(draw < 0.7, 0.0, largest))
            # Every row has at least one key at each end.
            rows = np.where(place == 0, largest, np.where(place == case.size - 1, -largest, rows))
        elif feature == "overflow":
            rows = np.where(place == 1, 0.75 * largest, -largest * (0.5 + draw / 2))
        else:
            rows = np.where(draw < 0.5, -largest * (0.5 + draw / 2), draw)
            rows = np.where(place == 2, 0.5, rows)
        return scored(case, rows)


FAMILY = HugeGaps()
