"""Subnormal numbers of the dtype: as scores, and as weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY
from kernelproof.verify.cases.builders import reach_of, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import cast, integers
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("scores", "weights")
_ENOUGH = 8.0
"""From this order on, a gap of the dtype gives a weight this small; below it, the gap rounds to the threshold."""


class Subnormals:
    """The feature ``scores`` has subnormal scores and gaps; ``weights`` has gaps that make weights subnormal."""

    id = "subnormals"
    title = "subnormal scores and weights"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature."""
        if op in {"entmax", "weights"}:
            yield from (((3, 8), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Multiples of the smallest subnormal; or a best key, and keys with 1 to 2^−p times the least normal weight."""
        feature = one_of(case, _FEATURES)
        target = FORMATS[case.dtype]
        draw = integers(generator, 2 ** (target.precision - 1), case.shape).astype(np.float64)
        if feature == "scores":
            return scored(case, cast(draw * float(target.smallest), case.dtype).astype(np.float64))
        rows = -self._gaps(case, 2.0 ** -(integers(generator, target.precision + 1, case.shape).astype(np.float64)))
        rows[..., 0] = 0.0
        return scored(case, settle(case, rows))

    def _gaps(self, case: Case, share: Floats) -> Floats:
        """The gaps at which a key beside a best one has the weight `share` of the smallest normal number."""
        order, reach = float(case.kernel.order), reach_of(case)
        # A sum of logarithms, because the product itself underflows if the dtype is float64.
        log = np.log(share) + FORMATS[case.dtype].emin * np.log(2.0)
        if reach == INFINITY:
            return np.asarray(-log)
        if order < 0:
            # Steeper than the flattest tails, whose gaps no format holds.
            return np.asarray(reach * np.expm1(np.minimum(log / order, 80.0)))
        return np.asarray(reach * -np.expm1(log / max(order, _ENOUGH)))


FAMILY = Subnormals()
