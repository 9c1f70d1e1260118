"""NaN and +∞: rows with one of them have no value, and the other rows must not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_KINDS = ("nan", "inf", "nan_masked", "all_nan", "two_inf")


class Special:
    """The feature says what the even rows hold.

    ``nan``, ``inf``, ``nan_masked`` (beside a −∞), ``all_nan`` and ``two_inf``: two +∞ share the weight in the limit.
    """

    id = "special"
    title = "NaN and +∞"
    keys = (5, 2**14)

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature of rows of scores; NaN queries for the other ops."""
        if op in {"entmax", "weights"}:
            yield from (((4, 7), feature) for feature in _KINDS)
        else:
            yield ((4, 7, 3, 2) if op == "regression" else (2, 1, 4, 7, 4, 2)), "nan"

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs with the special values; float8_e4m3fn has no infinity and gets NaN."""
        one_of(case, _KINDS if case.op in {"entmax", "weights"} else ("nan",))
        value = np.inf if case.feature.endswith("inf") and case.dtype != "float8_e4m3fn" else np.nan
        if case.op in {"entmax", "weights"}:
            rows = settle(case, normals(generator, case.shape))
            rows[::2, 2] = value
            if case.feature == "two_inf":
                rows[::2, 4] = value
            if case.feature == "nan_masked":
                rows[::2, 4] = -np.inf
            if case.feature == "all_nan":
                rows[::2] = np.nan
            return scored(case, rows)
        arrays = mixed(case, generator)
        arrays["q"][..., ::2, 1] = np.nan
        return Inputs(arrays)


FAMILY = Special()
