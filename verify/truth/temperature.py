"""How outputs change with the temperature: ``∂y/∂log β``, in float64, from the proved weights (docs/theory.md §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.records import Floats, Inputs, Truth
from kernelproof.verify.truth.row_units import Proved, Rows
from kernelproof.verify.truth.truth import scores_of_means

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def by_log_beta(case: Case, inputs: Inputs, truth: Truth) -> Floats:
    """(R, w) the derivative of every output in log β, where the rule is adaptive: ``Σ_j J_ij z_j``, times the values.

    An additive mask is part of the scores, and not scaled by β in attention; it is here, which matters little: the
    result only says in which direction to look.
    """
    count = len(truth.weights)
    if case.op in {"entmax", "weights"}:
        flat = np.asarray(next(iter(inputs.arrays.values()))).astype(np.float64).reshape(-1, truth.weights.shape[1])
        scores, values = flat if inputs.rows is None else flat[inputs.rows], None
    else:
        rows = range(count) if inputs.rows is None else inputs.rows.tolist()
        held = scores_of_means(case, inputs, "dots", list(rows))
        scores, values = held.scores, held.values
    proved = Proved(truth.weights, truth.support, truth.margin, truth.empty)
    found = Rows(case, proved, scores, np.zeros_like(scores))
    counted = found.counted
    z = found.scale * np.where(counted, -found.gaps, 0.0)
    units = found.units_of(
        np.where(counted, truth.weights, 0.0),
        np.where(counted, found.margin, np.inf),
        np.zeros_like(z),
        np.zeros_like(z),
    )
    slope = units.slopes * (z - (units.pi * z).sum(axis=1, keepdims=True))
    return np.asarray(slope if values is None else np.einsum("rm,rme->re", slope, values))
