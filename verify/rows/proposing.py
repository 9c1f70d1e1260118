"""Scores by BLAS in float32, with a bound on how far they are from the exact ones; they only say where to look.

With u = 2^-24 a float32 sum of d products in any order is within ``1.01·d·u·Σ|q_c k_c|`` of the exact one (d·u ≤
0.01), the roundings of q, k and scale to float32 add 4u, and Cauchy and Schwarz bound the sum by ‖q‖‖k‖. Where a
product or an input is subnormal, or taken for 0, it is off by up to 2^-125 in its own unit. Distances are one more
product: ``−‖q − k‖²/2 = q·k − ‖k‖²/2`` but for a number that is the same for all keys.

Source: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.rows.core import Floats
from kernelproof.verify.rows.problem import Problem

UNIT, LOST = 2.0**-24, 2.0**-125
LARGEST = 1e37  # numbers and products up to here are far from the end of float32
WIDEST = 100_000  # d·u stays below 0.01


@dataclass(frozen=True)
class Proposal:
    """Approximate scores of some queries of a head.

    Attributes:
        scores: (n, end) float32.
        shifts: (n,) what they are too large by, all of a query.
        slacks: (n,) how far the shifted ones may be from the exact scores; inf if they mean nothing.
    """

    scores: NDArray[np.float32]
    shifts: Floats
    slacks: Floats


class Proposer:
    """The keys of a key head in float32.

    Args:
        problem: it is from.
        head: its number.
    """

    def __init__(self, problem: Problem, head: int) -> None:
        k = problem.heads.k[head]
        self.problem = problem
        with np.errstate(all="ignore"):
            squares = (k * k).sum(axis=-1)
            self.norm = float(np.sqrt(squares.max(initial=0.0)))
            if problem.distances:
                k = np.concatenate([k, -squares[:, None] / 2], axis=1)
            self.keys = k.astype(np.float32)
        self.usable = bool(np.isfinite(problem.heads.v[head]).all()) and k.shape[1] < WIDEST

    def propose(self, q: Floats, end: int, bias: Floats | None) -> Proposal:
        """Scores of queries q (n, d) with the first `end` keys, and `bias` (n, end) added."""
        scale, width = self.problem.scale, self.keys.shape[1]
        with np.errstate(all="ignore"):
            squares = (q * q).sum(axis=-1)
            norms, size = abs(scale) * np.sqrt(squares), np.zeros(len(q))
            size += norms * self.norm
            largest = np.maximum(np.maximum(norms, self.norm), abs(scale))
            given = scale * q
            if self.problem.distances:
                size += abs(scale) * self.norm**2 / 2
                largest = np.maximum(largest, self.norm**2)
                given = np.concatenate([given, np.full((len(q), 1), scale)], axis=1)
            scores = np.matmul(given.astype(np.float32), self.keys[:end].T)
            slacks = 1.01 * (width + 4) * UNIT * size + width * LOST * (1.0 + self.norm + self.norm**2 + norms)
            shifts = scale * squares / 2 if self.problem.distances else np.zeros(len(q))
            if bias is not None:
                scores += bias.astype(np.float32)
                added = float(np.abs(bias, where=bias > -np.inf, out=np.zeros_like(bias)).max(initial=0.0))
                slacks += 3 * UNIT * (size + added) + LOST
                largest = np.maximum(largest, added)
            # float64 rounds what the slack is made of and the shift; the widest float32 margin covers the rest.
            slacks = slacks * (1 + 2.0**-20) + 2.0**-50 * np.abs(shifts)
        usable = (np.maximum(largest, size) < LARGEST) & self.usable
        return Proposal(scores, shifts, np.where(usable, slacks, np.inf))


def reach_of(kind: str, order: float, parameter: float) -> float | None:
    """How far below the best score a key may be and still have weight; None if that has no bound.

    Fixed has a floor instead, ``−h²/2``.
    """
    if kind == "anchored":
        return 0.0 if order == np.inf else parameter
    if order == np.inf:
        return None
    return np.inf if kind == "fixed" else order / parameter


def floors_of(kind: str, parameter: float, shifts: Any) -> Floats:
    """(n,) the score below which no key has weight, in the shifted scores; −∞ if only the best score counts."""
    with np.errstate(all="ignore"):
        half = np.float64(parameter) * parameter / 2
        floor = shifts - half - 2.0**-50 * (half + np.abs(shifts))
    return np.asarray(floor if kind == "fixed" else np.full(len(shifts), -np.inf))
