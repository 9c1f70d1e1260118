"""A large constant added to every score, to queries and keys alike, or to queries alone, with the sum exact.

A target that does not subtract the maximum fails here, and so does one that computes distances from dot products but
promises differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.builders import mixed, scored
from kernelproof.verify.cases.features import whole_number
from kernelproof.verify.cases.numbers import cast, integers
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


FAR = "far"
_DISTANCES = (128.0, 32.0)
"""Of even and odd queries. With a bandwidth of 3 the weights before normalization are exp(−910), which is 0 in every
dtype, and exp(−57), where rounded scores show beside the rounding of the weights; numbers of every dtype."""


class Offsets:
    """The feature is k, or −k for a negative offset: scores are ±10^k and multiples of a grid, exact in the dtype.

    With the feature ``far``, of regression, one column of the queries is far from that of the keys, which all have the
    same there: scores are large and nearly equal.
    """

    id = "offsets"
    title = "offsets ±10^k"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Powers up to 30 for scores; 2 and 3 for regression, whose distances do not change, and ``far``."""
        if op == "regression":
            yield from (((2, 8, 3, 2), "2"), ((2, 8, 3, 2), "3"), ((6, 8, 3, 2), FAR))
        if op in {"entmax", "weights"}:
            powers = (2, -3, 5, 30) if suite != "exhaustive" else (1, 2, -2, 3, -3, 5, -5, 8, 15, 30, -30)
            yield from (((2, 12), str(power)) for power in powers)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """c + j·g with g the spacing of the dtype above |c|, or 1/8 where that is finer."""
        if case.feature == FAR and case.op == "regression":
            arrays = mixed(case, generator)
            arrays["k"][..., :1] = 0.0
            for first, distance in enumerate(_DISTANCES):
                arrays["q"][..., first :: len(_DISTANCES), :1] = distance
            return Inputs(arrays)
        target = FORMATS[case.dtype]
        power = whole_number(case, -300, 300)
        size = min(10.0 ** abs(power), 2.0 ** np.floor(np.log2(target.largest) - 2))
        spacing = 2.0 ** (np.floor(np.log2(size)) + 1 - target.precision)
        grid = max(spacing, 0.125)
        center = np.copysign(np.round(size / grid) * grid, power)
        # Steps go toward 0, where the spacing of the dtype only gets finer.
        count = int(min(32, 2 ** (target.precision - 2)))
        toward = -grid if power > 0 else grid

        def moved(shape: tuple[int, ...]) -> Floats:
            return np.asarray(center + toward * integers(generator, count, shape).astype(np.float64))

        if case.op in {"entmax", "weights"}:
            return scored(case, moved(case.shape))
        arrays = mixed(case, generator)
        return Inputs({**arrays, **{name: cast(moved(arrays[name].shape), case.dtype) for name in ("q", "k")}})


FAMILY = Offsets()
