"""Rows of weights that a solver certifies one by one: the proved results, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from kernelproof.reference.arithmetic.rational import RATIONAL
from kernelproof.reference.enclosure import NO_VALUE, Block, Enclosure
from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Adaptive, Mechanism
from kernelproof.reference.rows import Row, float_array, float_row
from kernelproof.reference.several import Several
from kernelproof.reference.solver import Solver, choose
from kernelproof.reference.weighting import PARAMETERS, RowTruth, RowVjp, effective

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Weighting:
    """What is proved about rows of weights; `*` stands for the leading axes.

    Attributes:
        weights: (*, m).
        threshold: (*,), τ in units of score/n: a key has weight iff ``s′/n > τ`` with s′ the logits (βs for
            Adaptive, s else); −∞ at order ∞, NaN at order 0 and in empty rows. Under `Nearest` it is the threshold of
            the rule for the keys kept: a key above it that is not among the k nearest has no weight.
        support: (*, m), keys of positive weight, decided exactly.
        boundary: (*, m), keys exactly at the threshold: weight 0 for n > 0, and a kink of the Jacobian for n ≤ 1.
            Under `Nearest`, those among the keys kept, and those tied with them.
        empty: (*,), rows with nothing to attend to.
        unsure: (*,), rows where another choice of keys gives other weights: more than k keys are tied at a k-th
            score of positive weight.
        kink: (*,), rows whose Jacobian is not unique or not bounded; this includes a `Fixed` ball that only touches
            its nearest key (γ = 0), although it is empty for n > 0.
        margin: (*, m), γ − d in the unit of s′, under `Nearest` for the keys kept; negative outside the ball, also at
            order 0 and for an empty ball. float64: within a relative 2^-50 on the support and for
            ``|γ − d| ≤ 2^-20·γ``, within 2^-31 elsewhere, and clipped to ±1e308; exactly 0 on the boundary. +∞ where γ
            is infinite and at negative orders, which have no edge, −∞ in a row without keys and where masked.
    """

    weights: Enclosure
    threshold: Enclosure
    support: Flags
    boundary: Flags
    empty: Flags
    unsure: Flags
    kink: Flags
    margin: NDArray[np.float64]

    def __repr__(self) -> str:
        sizes = self.support.sum(axis=-1)
        low, high = int(sizes.min(initial=self.support.shape[-1])), int(sizes.max(initial=0))
        held = f"{low} to {high}" if low < high else f"{high}"
        flags = ", ".join(f"{name} {np.count_nonzero(getattr(self, name))}" for name in ("empty", "unsure", "kink"))
        return (
            f"Weighting(\n  weights={self.weights!r},\n  threshold={self.threshold!r},\n"
            f"  support: {held} of {self.support.shape[-1]} keys per row; rows: {sizes.size}, of them {flags}\n)"
        )


def collect(
    rows: list[Row], solver: Solver, bits: int, shape: tuple[int, ...], numbers: NDArray[np.intp] | None = None
) -> Weighting:
    """The weighting of `rows`, as an array of `shape`: leading axes, then keys.

    With `numbers` they are rows of a larger array, and the blocks have positions in that array.
    """
    lead, size = shape[:-1], shape[-1]
    total = len(rows)
    support, boundary = np.zeros((total, size), dtype=bool), np.zeros((total, size), dtype=bool)
    flags = np.zeros((3, total), dtype=bool)
    margin = np.full((total, size), -np.inf)
    blocks: list[Block] = []
    thresholds: list[Block] = []
    with np.errstate(over="ignore"):
        for r, row in enumerate(rows):
            at = r if numbers is None else int(numbers[r])
            truth = solver.solve(row, bits, f"row {at}")
            blocks.append(solver.weight_block(row, truth, np.arange(at * size, (at + 1) * size, dtype=np.intp), bits))
            thresholds.append(threshold_of(row, truth, solver, bits, at))
            support[r, truth.keys] = True
            boundary[r, truth.boundary] = True
            flags[:, r] = truth.empty, truth.unsure, truth.kink
            margin[r, row.keys] = _margin(row, truth, solver)
    return Weighting(
        solver.enclosure(shape, blocks),
        solver.enclosure(lead, thresholds),
        support.reshape(shape),
        boundary.reshape(shape),
        empty=flags[0].reshape(lead),
        unsure=flags[1].reshape(lead),
        kink=flags[2].reshape(lead),
        margin=margin.reshape(shape),
    )


def collect_several(
    flat: NDArray[np.float64],
    several: Several,
    arithmetic: str,
    bits: int,
    shape: tuple[int, ...],
    empty: str = "nan",
) -> Weighting:
    """The weighting of rows (R, m) whose mechanisms differ, as an array of `shape`."""
    lead, size = shape[:-1], shape[-1]
    count = len(flat)
    weights: list[Block] = []
    thresholds: list[Block] = []
    support, boundary = np.zeros((2, count, size), dtype=bool)
    flags, margin = np.zeros((3, count), dtype=bool), np.zeros((count, size))
    certified = True
    for mechanism, rows in several.groups:
        solver = Solver(mechanism, choose(arithmetic, mechanism), empty)
        found = collect([float_row(flat[row]) for row in rows], solver, bits, (len(rows), size), rows)
        certified &= solver.arithmetic.certified
        weights += found.weights.blocks
        thresholds += found.threshold.blocks
        support[rows], boundary[rows], margin[rows] = found.support, found.boundary, found.margin
        flags[:, rows] = found.empty, found.unsure, found.kink
    return Weighting(
        Enclosure(shape, tuple(weights), certified),
        Enclosure(lead, tuple(thresholds), certified),
        support=support.reshape(shape),
        boundary=boundary.reshape(shape),
        empty=flags[0].reshape(lead),
        unsure=flags[1].reshape(lead),
        kink=flags[2].reshape(lead),
        margin=margin.reshape(shape),
    )


def _logit_scale(mechanism: Mechanism) -> Fraction:
    rule = effective(mechanism)[1]
    return rule.exact if isinstance(rule, Adaptive) else Fraction(1)


def _threshold(row: Row, truth: RowTruth, solver: Solver) -> Any:
    order = solver.mechanism.kernel.order
    if truth.empty or order == 0:
        return NO_VALUE
    if truth.gamma is None:
        return arb("-inf")
    number = solver.arithmetic.number
    tau = number(_logit_scale(solver.mechanism)) * (number(row.top) - truth.gamma) / number(order)
    return solver.arithmetic.publish(tau)


def threshold_of(row: Row, truth: RowTruth, solver: Solver, bits: int, r: int) -> Block:
    """The block of the threshold of row r."""

    def compute(chosen: Solver, more: int) -> list[Any]:
        again = truth if chosen is solver and more == bits else chosen.solve(row, more)
        with chosen.working(more):
            return [_threshold(row, again, chosen)]

    return solver.block(np.array([r], dtype=np.intp), compute, bits)


def _margin(row: Row, truth: RowTruth, solver: Solver) -> NDArray[np.float64]:
    """γ − d in float64, in the unit of the logits, with the accuracy stated in `Weighting.margin`."""
    if truth.gamma is None or solver.mechanism.kernel.order < 0:
        return np.full(len(row.keys), -np.inf if truth.empty else np.inf)
    scale = _logit_scale(solver.mechanism)
    arithmetic = solver.arithmetic
    with solver.working(128):
        head = float(arithmetic.publish(truth.gamma))
        out = head - row.guide
        # The bases carry the margins of the support with full relative precision, however small.
        unit = truth.gamma * arithmetic.number(scale)
        if isinstance(effective(solver.mechanism)[1], Adaptive):
            unit = arithmetic.number(solver.mechanism.kernel.order)
        inside = [float(arithmetic.publish(base * unit)) for base in truth.bases]
        # Elsewhere γ and d are each off by half a unit in the last place, and cancel at most 20 bits.
        close = np.flatnonzero(np.abs(out) <= 2.0**-20 * abs(head))
        close = close[close >= len(inside)]
        gaps = row.gaps(int(close.max()) + 1) if len(close) else []
        differences = [truth.gamma - arithmetic.number(gaps[i]) for i in close]
        exact = [float(arithmetic.publish(difference * arithmetic.number(scale))) for difference in differences]
        out *= float(scale)
    out[close] = exact
    np.clip(out, -1e308, 1e308, out=out)
    out[: len(inside)] = inside
    # An exact zero, which only an exact ball shows.
    if len(truth.boundary):
        out[np.isin(row.keys, truth.boundary)] = 0.0
    return out


def vjp_array(
    array: NDArray[np.float64], cotangent: Any, mechanism: Mechanism | Several, arithmetic: str, bits: int, name: str
) -> dict[str, Enclosure]:
    """The vector-Jacobian product on an (..., m) array: by `name`, "order", "alpha" and the rule's parameter.

    A gradient in a parameter is summed over the rows that share the number.
    """
    upstream = float_array(cotangent, "cotangent", finite=True)
    if upstream.shape != array.shape:
        msg = f"cotangent must have the shape of the weights {array.shape}; got {upstream.shape}"
        raise DomainError(msg)
    count = array.shape[-1]
    pairs = [(float_row(scores), row) for scores, row in zip(_rows(array), _rows(upstream), strict=True)]
    several = mechanism if isinstance(mechanism, Several) else None
    own: list[Any] = [mechanism] * len(pairs) if several is None else several.of_rows()
    first: Any = mechanism if several is None else several.first
    plain = Solver(first, choose(arithmetic, first, logarithms=several is not None))
    logs = Solver(first, choose(arithmetic, first, logarithms=True))
    solved: dict[tuple[int, str, int], Any] = {}

    def gradients_of(r: int, solver: Solver, more: int) -> Any:
        """The gradients of row r, computed once per arithmetic and precision."""
        key = (r, solver.arithmetic.name, more)
        if key not in solved:
            with_order = solver.arithmetic in {logs.arithmetic, RATIONAL}
            solved[key] = row_vjp(*pairs[r], replace(solver, mechanism=own[r]), more, with_order=with_order)
        return solved[key]

    blocks = [
        block
        for r in range(len(pairs))
        if (block := _score_block(gradients_of, r, replace(plain, mechanism=own[r]), bits, r * count)) is not None
    ]
    out = {name: plain.enclosure(array.shape, blocks)}
    parameter = PARAMETERS[type(effective(first)[1])]
    scalars = {"order": logs, parameter: plain}
    if isinstance(effective(first)[1], Adaptive):
        scalars["alpha"] = logs
    for key, solver in scalars.items():
        # α and the order are one number.
        held = "order" if key == "alpha" else key
        shape = () if several is None else several.shapes[held]
        entries = int(np.prod(shape, dtype=np.int64))
        places = np.zeros(len(pairs), dtype=np.intp) if several is None else several.places[held]
        shared = [np.flatnonzero(places == entry) for entry in range(entries)]

        def compute(chosen: Solver, more: int, key: str = key, shared: list[Any] = shared) -> list[Any]:
            values = [[_scalar(gradients_of(r, chosen, more)[1], key) for r in rows.tolist()] for rows in shared]
            with chosen.working(more):
                return [chosen.arithmetic.publish(chosen.arithmetic.total(each)) for each in values]

        out[key] = solver.enclosure(shape, [solver.block(np.arange(entries, dtype=np.intp), compute, bits)])
    return out


def _rows(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def row_vjp(row: Row, g: NDArray[np.float64], solver: Solver, bits: int, *, with_order: bool = False) -> Any:
    """(RowTruth, RowVjp) of one row, for the cotangent g over all its keys."""
    truth = solver.solve(row, bits)
    with solver.working(bits):
        local = [solver.arithmetic.number(value) for value in g[truth.keys].tolist()]
        return truth, solver.pull(truth, local, with_order=with_order)


def _score_block(gradients_of: Callable[..., Any], r: int, solver: Solver, bits: int, offset: int) -> Block | None:
    keys = gradients_of(r, solver, bits)[0].keys
    if not len(keys):
        return None

    def compute(chosen: Solver, more: int) -> list[Any]:
        return chosen.publish(gradients_of(r, chosen, more)[1].scores, more)

    return solver.block(np.asarray(keys + offset, dtype=np.intp), compute, bits)


def _scalar(gradients: RowVjp, key: str) -> Any:
    return getattr(gradients, key) if key in {"order", "alpha"} else gradients.parameter
