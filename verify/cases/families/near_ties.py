"""Scores a few ulps below the maximum, where a threshold form loses everything and the ratio form nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.builders import scored, settle
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import integers, normals, on_grid
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class NearTies:
    """The feature is the largest number of ulps by which the near half of the keys lie below the maximum."""

    id = "near_ties"
    title = "scores a few ulps apart"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Features of 1, 16 and 10^4 ulps."""
        if op in {"entmax", "weights"}:
            spread = ("1", "16", "10000") if suite != "exhaustive" else ("1", "4", "16", "256", "10000", "1000000")
            yield from (((2, 12), ulps) for ulps in spread)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """A maximum between 1/2 and 1, half of the keys below it by ulps, the others by about 1."""
        top = settle(case, np.full((*case.shape[:-1], 1), 0.75)) + 2.0**-3
        ulps = min(whole_number(case, 0, 10**9 - 1), 2 ** (FORMATS[case.dtype].precision - 2))
        near = integers(generator, ulps + 1, case.shape) * 2.0 ** (-FORMATS[case.dtype].precision)
        far = 0.25 + np.abs(normals(generator, case.shape))
        gap = np.where(np.arange(case.size) % 2 == 0, near, far)
        gap[..., :1] = 0.0
        return scored(case, on_grid(top, case.dtype) - gap)


FAMILY = NearTies()
