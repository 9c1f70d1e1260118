"""What `verify` asks of every row, in bulk: weights, support, margins, kinks, and gradients, all proved.

The filter describes a row (`describing`, `pulling`) or gives it up; rows given up are solved by arb with `BITS` bits.
"""

from __future__ import annotations

import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.model import Adaptive, Fixed, Kernel, Mechanism, Rule, check_mechanism
from kernelproof.reference.ops.weights import PARAMETERS, weights, weights_vjp
from kernelproof.reference.weighting import effective

if TYPE_CHECKING:
    from kernelproof.reference.bulk.mass_terms import Order

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BITS = 128
"""Bits of arb for the rows that the filter gives up."""
CHUNK = 1 << 15
"""Elements that one call of the kernel takes."""


PATIENCE = 1 << 13
"""Elements that go to arb before the compiled filter is loaded, which takes about as long."""
COMPILING = 1 << 18
"""The same where it has to be compiled first."""
WORTH = 1 << 15
"""A batch of fewer elements goes to arb outright where its balls may be asked for all the same."""
_seen = [0]


def pays(elements: int) -> bool:
    """Whether the filter is to be tried on the next `elements`: once this process has asked for enough of them.

    Loading it takes some tenths of a second, compiling it for the first time on a machine some tens of seconds.
    """
    _seen[0] += elements
    return _seen[0] >= PATIENCE and is_loaded(_seen[0])


def is_loaded(elements: int) -> bool:
    """Whether the kernel is loaded, lies in the cache of this package, or pays to be compiled for so many elements."""
    if elements >= COMPILING or "kernelproof.reference.bulk.row_kernel" in sys.modules:
        return True
    return any((Path(__file__).parent / "__pycache__").glob("row_kernel.*.nbi"))


@dataclass(frozen=True)
class Numbers:
    """Exact numbers as ``head + tail`` (float64 each), off by at most `radius`."""

    head: Floats
    tail: Floats
    radius: Floats


@dataclass(frozen=True)
class Description:
    """What is proved about rows of weights (R, m), as `Weighting` has it.

    Attributes:
        weights: (R, m).
        support: (R, m).
        boundary: (R, m).
        empty: (R,).
        unsure: (R,).
        kink: (R,).
        margin: (R, m).
        gradients: by "scores" (R, m), "order", "alpha" (Adaptive) and the rule's parameter, (1,) each and summed over
            the rows; None without a cotangent.
        arb_rows: how many rows arb solved, or pulled back.
    """

    weights: Numbers
    support: Flags
    boundary: Flags
    empty: Flags
    unsure: Flags
    kink: Flags
    margin: Floats
    gradients: dict[str, Numbers] | None
    arb_rows: int


def describe(
    scores: Floats,
    kernel: Kernel,
    rule: Rule,
    cotangent: Floats | None = None,
    *,
    empty: str = "nan",
    filtered: bool = True,
    workers: int | None = None,
) -> Description:
    """Weights, support, margins and kinks of every row, and with a cotangent the vector-Jacobian product.

    Args:
        scores: (R, m) float64, finite or −∞.
        kernel: its order.
        rule: the bandwidth rule.
        cotangent: (R, m) float64, finite.
        empty: as in `weights`.
        filtered: try the filter; else everything goes to arb.
        workers: threads; None: one a core.

    Raises:
        DomainError: as `weights` and `weights_vjp`.
        UndecidedError: a support that no exact test decides.

    Source: docs/theory.md §1 to §3.

    >>> from kernelproof.reference import Adaptive, Kernel
    >>> found = describe(np.array([[0.0, 2.0, 1.25]]), Kernel(1), Adaptive())
    >>> found.weights.head.tolist(), found.margin.tolist()
    ([[0.0, 0.875, 0.125]], [[-1.125, 0.875, 0.125]])
    """
    mechanism = check_mechanism(kernel, rule)
    count, size = scores.shape
    upstream = np.empty((0, size)) if cotangent is None else np.ascontiguousarray(cotangent)
    out = RowFacts(count, size, len(upstream))
    solve = kernel_of(mechanism) if filtered and scores.size else None
    open_, loose = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    if solve is not None:
        tied = run_kernel(scores, upstream, solve, mechanism, out, workers)
        open_, loose = (out.status != 0) | tied, (out.settled != 0) | tied
        open_ |= loose if len(upstream) else False
        loose = open_ & loose if len(upstream) else loose
    again = np.flatnonzero(open_)
    if len(again):
        _by_arb(scores[again], again, mechanism, out, empty)
    elif not count:
        weights(scores, kernel, rule)
    gradients = None
    if cotangent is not None:
        gradients = _gradients(scores, upstream, np.flatnonzero(loose), mechanism, out)
    weighed = Numbers(*out.weights)
    inside, edge = out.state == 1, out.state == 2
    return Description(
        weighed, inside, edge, out.empty, out.unsure, out.kink.astype(bool), out.margin, gradients, len(again)
    )


class RowFacts:
    """What the kernel fills, by row."""

    def __init__(self, count: int, size: int, pulled: int) -> None:
        self.weights = np.zeros((3, count, size))
        self.margin = np.zeros((count, size))
        self.state = np.zeros((count, size), dtype=np.uint8)
        self.status, self.kink, self.settled = np.zeros((3, count), dtype=np.uint8)
        self.empty, self.unsure = np.zeros((2, count), dtype=bool)
        self.pulled = np.zeros((3, pulled, size))
        self.scalars = np.zeros((pulled, 2, 3))

    def rows(self, part: slice) -> RowFacts:
        """Views of some of the rows."""
        views = copy(self)
        for name, array in vars(self).items():
            setattr(views, name, array[:, part] if name in {"weights", "pulled"} else array[part])
        return views


def kernel_of(mechanism: Mechanism) -> tuple[Any, ...] | None:
    """The leading arguments of the kernel, (order, given, anchored, head, tail); None where arb has to do it."""
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


def _coefficient(mechanism: Mechanism) -> Fraction:
    """What Σ a·x·d is multiplied with in the parameter's gradient; see `pulling`."""
    kernel, rule, _ = effective(mechanism)
    if isinstance(rule, Adaptive):
        return Fraction(-1)
    if isinstance(rule, Fixed):
        return rule.exact if isinstance(kernel.order, Fraction) else 2 / rule.exact**3
    return 1 / rule.exact


def run_kernel(
    scores: Floats, upstream: Floats, solve: tuple[Any, ...], mechanism: Mechanism, out: RowFacts, workers: int | None
) -> Flags:
    """Run the kernel over all cores; (R,) rows in which `Nearest` has a choice."""
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
        row_kernel.describe_rows(
            *solve, whole[part], kept[part], out.margin[part], out.state[part], *(a[part] for a in out.weights),
            out.status[part], out.kink[part], rate, upstream[part], out.pulled[:, part], out.scalars[part],
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
    """The scores with −∞ for all but the `kept` largest of each row, and where a tie leaves a choice."""
    count, size = scores.shape
    if kept is None or kept >= size:
        return scores, np.zeros(count, dtype=bool)
    last = np.partition(scores, size - kept, axis=1)[:, size - kept, None]
    inside = scores >= last
    choice = (inside.sum(axis=1) > kept) & (last[:, 0] > -np.inf)
    return np.where(inside, scores, -np.inf), choice


def _by_arb(scores: Floats, rows: NDArray[np.intp], mechanism: Mechanism, out: RowFacts, empty: str) -> None:
    found = weights(scores, *mechanism, precision=BITS, empty=empty)
    for held, part in zip(out.weights, found.weights.split(), strict=True):
        held[rows] = part
    out.state[rows] = np.where(found.support, 1, np.where(found.boundary, 2, 0))
    out.margin[rows], out.kink[rows] = found.margin, found.kink
    out.empty[rows], out.unsure[rows] = found.empty, found.unsure


def _gradients(
    scores: Floats, upstream: Floats, rows: NDArray[np.intp], mechanism: Mechanism, out: RowFacts
) -> dict[str, Numbers]:
    kernel, rule, _ = effective(mechanism)
    adaptive, finite = isinstance(rule, Adaptive), isinstance(kernel.order, Fraction)
    parameter = PARAMETERS[type(rule)]
    decided = np.ones(len(scores), dtype=bool)
    decided[rows] = False
    scalars = {parameter: [out.scalars[decided, 0]], "order": [], "alpha": []}
    scalars["order" if finite else "alpha"].append(out.scalars[decided, 1])
    scale = {"alpha": Fraction(1)}
    if adaptive and finite:
        scalars["alpha"] = scalars["order"]
        scale["alpha"] = -(Fraction(kernel.order) ** 2)
    found: dict[str, Enclosure] = {}
    if len(rows):
        found = weights_vjp(scores[rows], upstream[rows], *mechanism, precision=BITS)
        for held, part in zip(out.pulled, found["scores"].split(), strict=True):
            held[rows] = part
    names = [parameter, "order", *(["alpha"] if adaptive else [])]
    return {
        "scores": Numbers(*out.pulled),
        **{name: _total(scalars[name], scale.get(name, Fraction(1)), found.get(name)) for name in names},
    }


def _total(parts: list[Floats], scale: Fraction, rest: Enclosure | None) -> Numbers:
    """scale·Σ of (rows, 3) heads, tails and radii, and of what arb found of the other rows."""
    terms = np.concatenate(parts) if parts else np.empty((0, 3))
    numbers = terms[:, :2].ravel().tolist()
    # `fsum` rounds the exact sum once.
    head = math.fsum(numbers)
    tail = math.fsum([*numbers, -head])
    exact = (Fraction(head) + Fraction(tail)) * scale
    radius = (math.fsum(terms[:, 2].tolist()) + abs(tail) * 2.0**-52) * float(abs(scale))
    if rest is not None:
        head, tail, more = (float(part) for part in rest.split())
        if not math.isfinite(head):
            # A ball without bounds.
            return Numbers(*(np.array(value) for value in (head, tail, more)))
        exact, radius = exact + Fraction(head) + Fraction(tail), radius + more
    head = float(exact)
    tail = float(exact - Fraction(head))
    left = abs(float(exact - Fraction(head) - Fraction(tail)))
    # Some roundings of nonnegative numbers.
    radius = (radius + left) * (1.0 + 2.0**-48)
    return Numbers(*(np.array(value) for value in (head, tail, radius)))
