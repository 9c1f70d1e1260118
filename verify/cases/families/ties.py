"""Equal scores: several keys share the maximum or the threshold, or all scores are equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import cast, integers
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Ties:
    """The feature is the number of distinct values among the scores, or among the keys."""

    id = "ties"
    title = "equal scores"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Features of one, two, three and eight distinct values."""
        if op in {"entmax", "weights"}:
            yield from (((3, 16), "3"), ((2, 7), "1"), ((2, 24), "8"), ((4, 5), "2"))
            if suite == "exhaustive":
                yield from (((2, 512), "3"), ((2, 1000), "1"))
        else:
            shape = (2, 9, 3, 2) if op == "regression" else (2, 1, 1, 9, 4, 2)
            yield from ((shape, "3"), (shape, "1"))

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Values on a grid of 1/2, as many as the feature says; the first key of every row is the maximum."""
        distinct = whole_number(case, 1, 10**9 - 1)
        if case.op in {"entmax", "weights"}:
            pick = integers(generator, distinct, case.shape)
            pick[..., :1] = 0
            return scored(case, settle(case, 1.0 - 0.5 * pick.astype(np.float64)))
        arrays = mixed(case, generator)
        key = arrays["k"]
        pick = integers(generator, distinct, key.shape[:-1])
        dyadic = cast(np.round(2 * key.astype(np.float64)) / 2, case.dtype)
        arrays["k"] = np.take_along_axis(dyadic, pick[..., None] % max(key.shape[-2], 1), axis=-2)
        arrays["q"] = cast(np.round(2 * arrays["q"].astype(np.float64)) / 2, case.dtype)
        return Inputs(arrays)


FAMILY = Ties()
