"""The compiled filter of rows: whether loading it pays, which mechanisms it supports, and how it runs on all cores."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive, Fixed, Mechanism
from kernelproof.reference.weighting import effective

if TYPE_CHECKING:
    from kernelproof.reference.bulk.mass_terms import Order

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CHUNK = 1 << 15
"""Elements per call of the kernel."""
COMPILING = 1 << 18
"""Elements for which arb takes about as long as the filter takes to be compiled, once per machine."""
WORTH = 1 << 15
"""A batch of fewer elements goes directly to arb if its balls may be needed anyway."""


def pays(elements: int) -> bool:
    """Whether a batch of this many elements goes through the filter.

    It depends on the batch alone, not on what this process or machine did before: both ways prove the same numbers,
    and their enclosures differ in the last digits, which a record must not.
    """
    return elements >= WORTH


def is_loaded(elements: int) -> bool:
    """Whether the kernel is loaded or cached on disk, or worth compiling for this many elements."""
    if elements >= COMPILING or "kernelproof.reference.bulk.row_kernel" in sys.modules:
        return True
    return any((Path(__file__).parent / "__pycache__").glob("row_kernel.*.nbi"))


class RowFacts:
    """The arrays that the kernel fills, row by row."""

    def __init__(self, count: int, size: int, gradient_rows: int) -> None:
        self.weights = np.zeros((3, count, size))
        self.margin = np.zeros((count, size))
        self.state = np.zeros((count, size), dtype=np.uint8)
        self.status, self.kink, self.settled = np.zeros((3, count), dtype=np.uint8)
        self.empty, self.unsure = np.zeros((2, count), dtype=bool)
        self.gradient = np.zeros((3, gradient_rows, size))
        self.scalars = np.zeros((gradient_rows, 2, 3))

    def rows(self, part: slice) -> RowFacts:
        """Views of some of the rows."""
        views = copy(self)
        for name, array in vars(self).items():
            setattr(views, name, array[:, part] if name in {"weights", "gradient"} else array[part])
        return views


def kernel_of(mechanism: Mechanism) -> tuple[Any, ...] | None:
    """The leading arguments of the kernel, (order, given, anchored, head, tail); None if arb has to solve the rows."""
    from kernelproof.reference.bulk import batches  # noqa: PLC0415 (loads numba)

    kernel, rule, _ = effective(mechanism)
    if kernel.order == 0:
        return None
    order: Order | None
    if isinstance(rule, Adaptive):
        order = batches.order_of(kernel.order, rule.exact)
        return None if order is None else (order, False, False, 0.0, 0.0)
    if not isinstance(kernel.order, Fraction):
        order = batches.order_of(kernel.order, 1 / rule.exact**2) if isinstance(rule, Fixed) else None
        return None if order is None else (order, False, False, 0.0, 0.0)
    order = batches.order_of(kernel.order) if kernel.order < 2**20 else None
    point = batches.point_of(rule)
    return None if order is None or point is None else (order, True, *point)


def _coefficient(mechanism: Mechanism) -> Any:
    """The factor of Σ a·x·d in the parameter's gradient; see `vjp`."""
    kernel, rule, _ = effective(mechanism)
    if isinstance(rule, Adaptive):
        return Fraction(-1)
    if isinstance(rule, Fixed):
        return rule.exact if isinstance(kernel.order, Fraction) else 2 / rule.exact**3
    return 1 / rule.exact


def run_kernel(
    scores: Floats, upstream: Floats, solve: tuple[Any, ...], mechanism: Mechanism, out: RowFacts, workers: int | None
) -> Flags:
    """Run the kernel on all cores; return (R,) flags of the rows in which `Nearest` has a choice."""
    from kernelproof.reference.bulk import batches, gradient_terms, row_kernel  # noqa: PLC0415 (loads numba)

    whole = np.ascontiguousarray(scores)
    kept, tied = _nearest(whole, effective(mechanism)[2])
    kind = {Adaptive: gradient_terms.ADAPTIVE, Fixed: gradient_terms.FIXED}.get(
        type(effective(mechanism)[1]), gradient_terms.ANCHORED
    )
    rate = gradient_terms.Rate(kind, *batches.word_of(_coefficient(mechanism)))
    step = max(1, CHUNK // max(scores.shape[1], 1))
    parts = [slice(start, start + step) for start in range(0, len(scores), step)]

    def work(part: slice) -> None:
        row_kernel.certify_rows(
            *solve, whole[part], kept[part], out.margin[part], out.state[part], *(a[part] for a in out.weights),
            out.status[part], out.kink[part], rate, upstream[part], out.gradient[:, part], out.scalars[part],
            out.settled[part],
        )  # fmt: skip

    threads = min(workers or os.cpu_count() or 1, len(parts))
    if threads <= 1:
        for part in parts:
            work(part)
        return tied
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
    return tied


def _nearest(scores: Floats, kept: int | None) -> tuple[Floats, Flags]:
    """The scores with −∞ for all but the `kept` largest of each row, and the rows where a tie leaves a choice."""
    count, size = scores.shape
    if kept is None or kept >= size:
        return scores, np.zeros(count, dtype=bool)
    last = np.partition(scores, size - kept, axis=1)[:, size - kept, None]
    inside = scores >= last
    choice = (inside.sum(axis=1) > kept) & (last[:, 0] > -np.inf)
    return np.where(inside, scores, -np.inf), choice
