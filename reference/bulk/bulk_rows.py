"""All that `verify` needs to know about every row, proved in bulk: weights, support, margins, kinks and gradients.

The filter either certifies a row (`row_kernel`, `vjp`) or gives it up; arb solves the rows given up with `BITS` bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.filter import RowFacts, kernel_of, run_kernel
from kernelproof.reference.bulk.lazy_weights import certified_weights
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.model import Adaptive, Kernel, Mechanism, Rule, check_mechanism
from kernelproof.reference.rows import score_array
from kernelproof.reference.solved_rows import vjp_array
from kernelproof.reference.weighting import PARAMETERS, effective

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BITS = 128
"""Bits of arb for the rows that the filter gives up."""


@dataclass(frozen=True)
class Balls:
    """Exact numbers, each within `radius` of ``head + tail`` (float64 each)."""

    head: Floats
    tail: Floats
    radius: Floats


@dataclass(frozen=True)
class BulkRows:
    """What is proved about rows of weights (R, m); the names are those of `Weighting`.

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
        arb_rows: how many rows arb solved, or differentiated.
    """

    weights: Balls
    support: Flags
    boundary: Flags
    empty: Flags
    unsure: Flags
    kink: Flags
    margin: Floats
    gradients: dict[str, Balls] | None
    arb_rows: int


def certify(
    scores: Floats,
    kernel: Kernel,
    rule: Rule,
    cotangent: Floats | None = None,
    *,
    empty: str = "nan",
    filtered: bool = True,
    workers: int | None = None,
) -> BulkRows:
    """Certify weights, support, margins and kinks of every row, and with a cotangent the vector-Jacobian product.

    Args:
        scores: (R, m) float64, finite or −∞.
        kernel: its order.
        rule: the bandwidth rule.
        cotangent: (R, m) float64, finite.
        empty: as in `weights`.
        filtered: whether to try the filter; otherwise everything goes to arb.
        workers: threads; None: one a core.

    Raises:
        DomainError: as `weights` and `weights_vjp`.
        UndecidedError: a support that no exact test decides.

    Source: docs/theory.md §1 to §3.

    >>> from kernelproof.reference import Adaptive, Kernel
    >>> found = certify(np.array([[0.0, 2.0, 1.25]]), Kernel(1), Adaptive())
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
        certified_weights(scores, mechanism)
    gradients = None
    if cotangent is not None:
        gradients = _gradients(scores, upstream, np.flatnonzero(loose), mechanism, out)
    weighed = Balls(*out.weights)
    inside, edge = out.state == 1, out.state == 2
    return BulkRows(
        weighed, inside, edge, out.empty, out.unsure, out.kink.astype(bool), out.margin, gradients, len(again)
    )


def _by_arb(scores: Floats, rows: NDArray[np.intp], mechanism: Mechanism, out: RowFacts, empty: str) -> None:
    found = certified_weights(scores, mechanism, BITS, empty)
    for held, part in zip(out.weights, found.weights.split(), strict=True):
        held[rows] = part
    out.state[rows] = np.where(found.support, 1, np.where(found.boundary, 2, 0))
    out.margin[rows], out.kink[rows] = found.margin, found.kink
    out.empty[rows], out.unsure[rows] = found.empty, found.unsure


def _gradients(
    scores: Floats, upstream: Floats, rows: NDArray[np.intp], mechanism: Mechanism, out: RowFacts
) -> dict[str, Balls]:
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
        found = vjp_array(score_array(scores[rows], "scores"), upstream[rows], mechanism, "arb", BITS, "scores")
        for held, part in zip(out.gradient, found["scores"].split(), strict=True):
            held[rows] = part
    names = [parameter, "order", *(["alpha"] if adaptive else [])]
    return {
        "scores": Balls(*out.gradient),
        **{name: _total(scalars[name], scale.get(name, Fraction(1)), found.get(name)) for name in names},
    }


def _total(parts: list[Floats], scale: Fraction, rest: Enclosure | None) -> Balls:
    """scale·Σ of (rows, 3) heads, tails and radii, plus the sum of the other rows by arb."""
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
            # The ball is unbounded.
            return Balls(*(np.array(value) for value in (head, tail, more)))
        exact, radius = exact + Fraction(head) + Fraction(tail), radius + more
    head = float(exact)
    tail = float(exact - Fraction(head))
    left = abs(float(exact - Fraction(head) - Fraction(tail)))
    # Covers a few roundings of nonnegative numbers.
    radius = (radius + left) * (1.0 + 2.0**-48)
    return Balls(*(np.array(value) for value in (head, tail, radius)))
