"""Weightings of many rows: the filter proves most of it at once, and arb computes balls only on demand.

Every rounding agrees with arb: either an enclosure of the filter decides it, or arb solves the row. The balls
themselves (`Enclosure.values`, thresholds) are computed row by row when they are first used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.filter import WORTH, RowFacts, is_loaded, kernel_of, run_kernel
from kernelproof.reference.enclosure import Block, Enclosure, LazyBlocks, ProvedFloats
from kernelproof.reference.model import Mechanism
from kernelproof.reference.progress import Progress
from kernelproof.reference.rows import float_row, score_array
from kernelproof.reference.solved_rows import Weighting, collect, threshold_of
from kernelproof.reference.solver import PRECISION, Solver, choose

Floats = NDArray[np.float64]

BITS = 128
"""The filter cannot provide more bits than this."""
LEAST = 5e-324
STEPS = 64
"""Steps in which progress on a batch is reported."""


def certified_weights(scores: Any, mechanism: Mechanism, bits: int = PRECISION, empty: str = "nan") -> Weighting:
    """The weighting of every row of `scores` (..., m), certified; the arguments are those of `reference.weights`.

    Raises:
        DomainError: as `reference.weights`.
        UndecidedError: a support that no exact test decides.
    """
    return solve_array(score_array(scores, "scores"), Solver(mechanism, choose("arb", mechanism), empty), bits)


def solve_array(array: NDArray[np.float64], solver: Solver, bits: int, *, progress: bool = False) -> Weighting:
    """The weighting of every row of an (..., m) array."""
    lead, count = array.shape[:-1], array.shape[-1]
    flat = array.reshape(-1, count) if array.size else np.empty((int(np.prod(lead)), count))
    if (found := filtered_weighting(flat, solver, bits, (*lead, count), progress=progress)) is not None:
        return found
    rows = [float_row(scores) for scores in flat]
    return collect(rows, solver, bits, (*lead, count))


def filtered_weighting(
    flat: Floats, solver: Solver, bits: int, shape: tuple[int, ...], *, progress: bool = False
) -> Weighting | None:
    """The weighting of the rows of `flat` (R, m) by the filter on all cores; None if everything has to go to arb.

    Args:
        flat: (R, m), finite or −∞.
        solver: the mechanism, certified.
        bits: precision of the rows that go to arb.
        shape: leading axes, then keys.
        progress: show how far it is, after two seconds.

    Raises:
        DomainError: an empty row under "raise".
        UndecidedError: a support that no exact test decides.
    """
    if not solver.arithmetic.certified or bits > BITS or flat.size < WORTH or not is_loaded(flat.size):
        return None
    solve = kernel_of(solver.mechanism)
    if solve is None:
        return None
    count, size = flat.shape
    facts, tied = RowFacts(count, size, 0), np.zeros(count, dtype=bool)
    with Progress(count, shown=progress, noun="rows", verb="proving", after=2.0) as shown:
        step = max(1, -(-count // STEPS))
        for start in range(0, count, step):
            part = slice(start, start + step)
            tied[part] = run_kernel(flat[part], np.empty((0, size)), solve, solver.mechanism, facts.rows(part), None)
            shown.advance(len(flat[part]))
        given_up = np.flatnonzero((facts.status != 0) | tied)
        found = collect([float_row(row) for row in flat[given_up]], solver, bits, (len(given_up), size), given_up)
    facts.state[given_up] = np.where(found.support, 1, np.where(found.boundary, 2, 0))
    for mine, theirs in ((facts.margin, found.margin), (facts.kink, found.kink)):
        mine[given_up] = theirs
    facts.empty[given_up], facts.unsure[given_up] = found.empty, found.unsure
    open_ = np.zeros(count, dtype=bool)
    open_[given_up] = True
    places = np.arange(count * size, dtype=np.intp).reshape(count, size)

    def weight_block(r: int) -> Block:
        row = float_row(flat[r])
        return solver.weight_block(row, solver.solve(row, bits, f"row {r}"), places[r], bits)

    def threshold_block(r: int) -> Block:
        row = float_row(flat[r])
        return threshold_of(row, solver.solve(row, bits, f"row {r}"), solver, bits, r)

    ready = dict(zip(given_up.tolist(), found.weights.blocks, strict=True))
    known_thresholds = dict(zip(given_up.tolist(), found.threshold.blocks, strict=True))
    lead = shape[:-1]
    known = known_of(facts, open_)
    return Weighting(
        Enclosure(shape, LazyBlocks(count, weight_block, ready), True, known),
        Enclosure(lead, LazyBlocks(count, threshold_block, known_thresholds), True),
        support=(facts.state == 1).reshape(shape),
        boundary=(facts.state == 2).reshape(shape),
        empty=facts.empty.reshape(lead),
        unsure=facts.unsure.reshape(lead),
        kink=facts.kink.astype(bool).reshape(lead),
        margin=facts.margin.reshape(shape),
    )


def known_of(facts: RowFacts, open_: NDArray[np.bool_]) -> ProvedFloats:
    """float64 bounds and roundings of the weights in `facts`; those of `open_` rows are meaningless.

    As in `row_certificate.enclose`, e covers the radius and the roundings of tail ∓ e; v = RN(head + a), and its error
    is exact (Dekker), so that a bound is v or its neighbour, and if both ends round alike so does the weight.
    """
    head, tail, radius = facts.weights
    e = radius * 1.001 + head * 2.0**-104
    a, b = tail - e, tail + e
    v, w = head + a, head + b
    lo = np.where(a - (v - head) < 0, np.nextafter(v, 0.0), v)
    hi = np.minimum(np.where(b - (w - head) > 0, np.nextafter(w, np.inf), w), 1.0)
    near = np.where(v == w, v, np.nan)
    # Exact weights, and weights below e^-760, which is far below half of the least float.
    exact, none = (radius == 0) & (tail == 0), (head == 0) & (radius > 0)
    lo, hi, near = np.where(exact, head, lo), np.where(exact, head, hi), np.where(exact, head, near)
    lo, hi, near = np.where(none, 0.0, lo), np.where(none, LEAST, hi), np.where(none, 0.0, near)
    size = head.shape[1]
    return ProvedFloats(
        lo=lo.ravel(),
        hi=hi.ravel(),
        near=near.ravel(),
        parts=facts.weights.reshape(3, -1),
        open=np.repeat(open_, size),
        owner=np.repeat(np.arange(len(open_), dtype=np.intp), size),
    )
