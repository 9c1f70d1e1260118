"""Rows of many lengths: 0, 1, 2, powers of two and their neighbours, and long rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import mixed, mixed_shapes, sampled_rows, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_ESSENTIAL = {"quick": ((2, 3, 1), (2, 3, 4, 2)), "standard": ((2, 1), (2, 2), (2, 3, 5), (2, 3, 4, 7))}
_SHORT = (0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 127, 129)
_LONG = (255, 256, 257, 1023, 2049, 1025, 4097, 100_000)
MANY = {
    "regression": (((130, 260, 40, 5), "block"),),
    "attention": (((3, 3, 130, 260, 40, 5), "block"), ((2, 2, 2, 130, 130, 40, 5), "causal")),
}
"""More queries, keys and columns than most kernels take at once, and several heads; some rows are checked."""
ROWS = 4
"""Rows of a large array that are checked beside those at the edges of blocks."""


def essential(suite: str) -> tuple[tuple[int, ...], ...]:
    """The shapes of scores that `suite` tries at every order: of one and two keys, and of rank 3 and 4."""
    return _ESSENTIAL.get(suite, _ESSENTIAL["standard"])


class Lengths:
    """The shape gives the length; ``block`` and ``causal`` ask for many rows, of which some are checked."""

    id = "lengths"
    title = "rows of every length"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Lengths 0, 1, 2, and 2^k − 1, 2^k, 2^k + 1."""
        if op in {"entmax", "weights"}:
            yield from (((2, size), "length") for size in _SHORT)
            yield (300, 20), "block"
            yield from ((shape, "length") for shape in essential(suite) if len(shape) > 2)
            if suite != "quick":
                yield from (((1, size), "length") for size in _LONG[: 5 if suite == "standard" else None])
                yield (0, 5), "length"
            if suite == "exhaustive":
                yield (2000, 513), "block"
        else:
            sizes = (0, 1, 2, 7, 9, 17) if suite != "exhaustive" else _SHORT
            for size in sizes:
                yield ((2, size, 3, 2) if op == "regression" else (2, 1, 1, size, 4, 2)), "length"
            yield ((40, 9, 3, 2) if op == "regression" else (2, 1, 30, 9, 4, 2)), "block"
            if suite == "exhaustive":
                yield from MANY[op]

    def once(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """The recipes that a run tries at one order and rule of each dtype only, because their truth takes long."""
        if suite == "standard":
            yield from MANY.get(op, ())

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs."""
        wanted = 10**9 if one_of(case, ("length", "block", "causal")) == "length" else ROWS
        if case.op in {"entmax", "weights"}:
            count = int(np.prod(case.shape[:-1]))
            values = settle(case, 2.0 * normals(generator, case.shape))
            return scored(case, values, sampled_rows(generator, count, wanted))
        count = int(np.prod(mixed_shapes(case)["q"][:-1]))
        options = {"causal": True} if case.feature == "causal" else {}
        return Inputs(mixed(case, generator), options, rows=sampled_rows(generator, count, wanted))


FAMILY = Lengths()
