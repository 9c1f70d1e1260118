"""Normal scores, and normal queries, keys and values: the ordinary input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_SCORED = (((3, 8), "1"), ((2, 33), "2"), ((2, 2, 16), "4"), ((17,), "1/2"))
_RECIPES = {
    "entmax": _SCORED,
    "weights": _SCORED,
    "regression": (((3, 12, 4, 3), "1"), ((2, 2, 9, 3, 2), "1/2"), ((2, 16, 8, 4), "1")),
    "attention": (((2, 1, 2, 12, 4, 3), "1"), ((2, 4, 2, 2, 9, 8, 2), "2"), ((4, 2, 1, 16, 4, 2), "keynorm")),
}


class Random:
    """The feature is the standard deviation; ``keynorm`` asks attention for the ‖k‖² term."""

    id = "random"
    title = "normal scores"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Four small shapes of rank 1 to 3; long rows in the exhaustive suite."""
        yield from _RECIPES[op]
        if suite == "exhaustive" and op in {"entmax", "weights"}:
            yield from (((4, 512), "2"), ((2, 1024), "1"))

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normals times the feature."""
        keynorm = case.feature == "keynorm"
        top, _, bottom = case.feature.partition("/")
        scale = 1.0 if keynorm else float(top) / float(bottom or 1)
        if case.op in {"entmax", "weights"}:
            return scored(case, settle(case, scale * normals(generator, case.shape)))
        return Inputs(mixed(case, generator, scale), {"key_norm_term": True} if keynorm else {})


FAMILY = Random()
