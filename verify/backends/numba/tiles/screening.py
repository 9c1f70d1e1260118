"""Scores by BLAS in float32, with a bound on their distance from the exact scores; they only say where to look.

With u = 2^-24 a float32 sum of d products in any order is within ``1.01·d·u·Σ|q_c k_c|`` of the exact one (d·u ≤
0.01), the roundings of q, k and scale to float32 add 4u, and the Cauchy-Schwarz inequality bounds the sum by ‖q‖‖k‖. A
product or an input that is subnormal, or flushed to 0, is off by up to 2^-125 in its own unit. Distances are one more
product: ``−‖q − k‖²/2 = q·k − ‖k‖²/2`` up to a number that is the same for all keys.

Source: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.backends._arrays.core import Flags, Floats
from kernelproof.verify.backends._arrays.masking import Ints
from kernelproof.verify.backends._arrays.problem import Problem
from kernelproof.verify.backends.numba.tiles.visible_keys import KeyHead

UNIT, LOST = 2.0**-24, 2.0**-125
LARGEST = 1e37  # numbers and products up to this are far from the overflow of float32
WIDEST = 100_000  # d·u stays below 0.01


@dataclass(frozen=True)
class Proposal:
    """Approximate scores of some queries of a head, −∞ where masked.

    Attributes:
        scores: (n, end) float32.
        shifts: (n,) by how much all scores of a query are too large.
        slacks: (n,) how far the shifted scores may be from the exact ones; inf if they are meaningless.
    """

    scores: NDArray[np.float32]
    shifts: Floats
    slacks: Floats


class Proposer:
    """The keys of a key head in float32.

    Args:
        problem: the problem that the keys belong to.
        head: the keys.
    """

    def __init__(self, problem: Problem, head: KeyHead) -> None:
        self.problem, self.head = problem, head
        k = head.k
        if problem.distances:
            k = np.concatenate([k, -head.squares[:, None] / 2], axis=1)
        with np.errstate(all="ignore"):
            self.keys = k.astype(np.float32)

    def propose(self, q: Floats, ends: Ints, bias: Floats | None, allowed: Flags | None) -> Proposal:
        """Masked scores of queries q (n, d) and the keys before the largest of `ends` (n,)."""
        scale, width, end = self.problem.scale, self.keys.shape[1], int(ends.max())
        with np.errstate(all="ignore"):
            squares, longest = (q * q).sum(axis=-1), self.head.longest(ends, allowed)
            norms = abs(scale) * np.sqrt(squares)
            size = norms * longest
            largest = np.maximum(np.maximum(norms, longest), abs(scale))
            given = scale * q
            if self.problem.distances:
                size += abs(scale) * longest**2 / 2
                largest = np.maximum(largest, longest**2)
                given = np.concatenate([given, np.full((len(q), 1), scale)], axis=1)
            scores = np.matmul(given.astype(np.float32), self.keys[:end].T)
            self.head.mask(scores, bias, allowed)
            slacks = 1.01 * (width + 4) * UNIT * size + width * LOST * (1.0 + longest + longest**2 + norms)
            shifts = scale * squares / 2 if self.problem.distances else np.zeros(len(q))
            if bias is not None and allowed is not None:
                added = np.where(allowed, np.abs(bias), 0.0).max(axis=1, initial=0.0)
                slacks += 3 * UNIT * (size + added) + LOST
                largest = np.maximum(largest, added)
            # The slack and the shift are themselves rounded to float64.
            slacks = slacks * (1 + 2.0**-20) + 2.0**-50 * np.abs(shifts)
        usable = (np.maximum(largest, size) < LARGEST) & (width < WIDEST)
        return Proposal(scores, shifts, np.where(usable, slacks, np.inf))


def reach_of(kind: str, order: float, parameter: float) -> float | None:
    """How far below the best score a key may be and still have weight; None if there is no bound.

    Fixed has the floor ``−h²/2`` instead.
    """
    if kind == "anchored":
        return 0.0 if order == np.inf else parameter
    if order == np.inf:
        return None
    return np.inf if kind == "fixed" else order / parameter


def floors_of(kind: str, parameter: float, shifts: Any) -> Floats:
    """(n,) the shifted score below which no key has weight; −∞ if that depends on the best score alone."""
    with np.errstate(all="ignore"):
        half = np.float64(parameter) * parameter / 2
        floor = shifts - half - 2.0**-50 * (half + np.abs(shifts))
    return np.asarray(floor if kind == "fixed" else np.full(len(shifts), -np.inf))
