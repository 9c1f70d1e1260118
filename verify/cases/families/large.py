"""Batches as large as those of a model: a fault in one row of a thousand shows in the sums over all rows.

Attention has as many queries as keys, in whole tiles: the shapes that fused kernels are made for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.builders import mixed, mixed_shapes, sampled_rows, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.inputs import GRADIENT_KEYS
from kernelproof.verify.cases.numbers import normals, words
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

SUITE = "large"
"""The only suite with this family; one such batch takes longer than the whole suite quick."""
_SHAPES = ((16384, 4096), (65536, 1024), (2048, 32768))
_SQUARES = (
    ((2, 2, 64, 64, 16, 16), "causal"),
    ((2, 2, 512, 512, 64, 64), "causal"),
    ((4, 2, 256, 256, 32, 32), "causal"),
    ((2, 2, 32, 32, 16, 16), "full"),
    ((2, 2, 200, 200, 64, 64), "full"),
)
_POOL = 1 << 16
_BLOCK = 1 << 22
"""The number of random numbers that are drawn at a time."""
ROWS = 256
"""Rows whose every weight has a truth; fewer if rows are long."""
_WEIGHTS = 1 << 20
QUERIES = 48
"""Queries that have a truth, in attention too large for gradients."""


class Large:
    """The feature is the standard deviation of the scores, with another draw in each row; or the mask of attention.

    A score is the sum of two numbers from a pool of normals, both picked by one random word: this takes a fraction of
    the time of drawing a normal for each score, and two scores are almost never equal.
    """

    id = "large"
    title = "batches of tens of millions of scores"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Rows of 2^10, 2^12 and 2^15 keys; and squares of 32 to 512 keys, the small ones with gradients."""
        if op == "entmax" and suite == SUITE:
            yield from ((shape, "2") for shape in _SHAPES)
        elif op == "attention" and suite == SUITE:
            yield from _SQUARES

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal scores, of which some rows are checked in full, including those at the edges of blocks."""
        if case.op not in {"entmax", "weights"}:
            options = {"causal": True} if one_of(case, ("causal", "full")) == "causal" else {}
            count = int(np.prod(mixed_shapes(case)["q"][:-1]))
            rows = None if case.size <= GRADIENT_KEYS else sampled_rows(generator, count, QUERIES)
            return Inputs(mixed(case, generator), options, rows=rows)
        spread = float(one_of(case, ("1", "2")))
        count, size = int(np.prod(case.shape[:-1])), case.size
        step = max(_BLOCK // max(size, 1), 1)
        pool = spread * 0.5**0.5 * normals(generator, (_POOL,))
        values = np.empty((count, size), dtype=FORMATS[case.dtype].dtype)
        for first in range(0, count, step):
            block = values[first : first + step]
            drawn = words(generator, block.size).reshape(block.shape)
            low, high = (drawn % _POOL).astype(np.intp), (drawn >> np.uint64(40)) % _POOL
            # The assignment may round in any way: its result is the input.
            block[...] = settle(case, pool[low] + pool[high.astype(np.intp)])
        wanted = max(min(ROWS, _WEIGHTS // max(size, 1)), 1)
        name = "z" if case.op == "entmax" else "scores"
        return Inputs({name: values.reshape(case.shape)}, rows=sampled_rows(generator, count, wanted))


FAMILY = Large()
