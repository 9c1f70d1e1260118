"""The careful Numba core: each row on its own, rows in parallel.

Numba caches the functions here by this file alone: touch it after editing `careful.rows` or `scalar_functions`.
"""

from __future__ import annotations

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import KINDS, Flags, Floats, Law, RowGradients, WeightedRows
from kernelproof.verify.backends.numba.careful.rows import (
    ANCHORED,
    P,
    gradient_row,
    solve_heavy_row,
    solve_row,
    through_anchor,
)
from kernelproof.verify.backends.numba.jit import parallel
from kernelproof.verify.backends.numba.readonly import as_writable_view


@parallel
def run(
    scores: Floats, cotangent: Floats, law: Floats, weights: Floats, supports: Flags, through: Floats, found: Floats
) -> None:
    """Solve rows in parallel; a single kernel serves both directions, so that only one is compiled.

    Args:
        scores: (R, m).
        cotangent: (R, m), or (0, m) for the forward direction alone.
        law: (3,) kind, order, parameter.
        weights: (R, m), filled.
        supports: (R, m), filled.
        through: (R, m) gradient in the scores, filled if there is a cotangent.
        found: (R, 5) γ, log Σr, and the gradients in order, alpha and parameter, filled.
    """
    kind, n, parameter = int(law[0]), law[1], law[2]
    for row in numba.prange(scores.shape[0]):
        out = np.zeros((5, scores.shape[1]))
        if n < 0.0:
            found[row, 0], found[row, 1] = solve_heavy_row(scores[row], kind, n, parameter, out, supports[row])
        else:
            found[row, 0], found[row, 1] = solve_row(scores[row], kind, n, parameter, out, supports[row])
        weights[row] = out[P]
        if cotangent.shape[0] and found[row, 1] > -np.inf:
            gradient_row(cotangent[row], kind, n, parameter, out, found[row], through[row])
            if kind == ANCHORED:
                through_anchor(scores[row], through[row])


class CarefulCore:
    """The row core with compensated float64 sums."""

    def forward(self, scores: Floats, law: Law) -> WeightedRows:
        """Weights of (R, m) scores."""
        weights, supports, _, found = _call(scores, scores[:0], law)
        return WeightedRows(weights, supports, found[:, 0], found[:, 1], np.isneginf(found[:, 1]))

    def backward(self, scores: Floats, cotangent: Floats, law: Law) -> RowGradients:
        """Vector-Jacobian product with a (R, m) cotangent."""
        _, _, through, found = _call(scores, cotangent, law)
        return RowGradients(through, found[:, 2], found[:, 3], found[:, 4])


def _call(scores: Floats, cotangent: Floats, law: Law) -> tuple[Floats, Flags, Floats, Floats]:
    scores, cotangent = as_writable_view(scores), as_writable_view(cotangent)
    weights, supports, found = np.empty_like(scores), np.zeros(scores.shape, np.bool_), np.zeros((len(scores), 5))
    through = np.zeros_like(scores) if len(cotangent) else weights[:0]
    numbers = np.array([KINDS.index(law.kind), law.order, law.parameter])
    run(scores, cotangent, numbers, weights, supports, through, found)
    return weights, supports, through, found


CORE = CarefulCore()
