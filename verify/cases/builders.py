"""Functions with which case families build inputs: scores that suit the rule, q, k and v, masks, and sampled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.numbers import cast, normals, shuffled
from kernelproof.verify.cases.variant_names import nominal_reach
from kernelproof.verify.records import Array, Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

WITHOUT_INFINITY = frozenset({"float8_e4m3fn"})
"""Formats that have no −∞ to mask keys with."""


def reach_of(case: Case) -> float:
    """Return the gap beyond which a key has no weight when the best score of its row is 0; infinite at order ∞.

    At negative orders it is |γ|, or near it: the gap at which a weight has fallen by the factor 2^n.
    """
    rule = case.inner_rule
    if isinstance(rule, Variant):
        return nominal_reach(rule)
    order = float(case.kernel.order)
    if order == INFINITY:
        return INFINITY
    if isinstance(rule, Adaptive):
        return abs(order) / float(rule.exact)
    return float(rule.exact) if isinstance(rule, Anchored) else float(rule.exact) ** 2 / 2


def settle(case: Case, rows: Floats) -> Floats:
    """Turn rows of logits into scores: for a fixed rule, move the best of each row to −1/2, so that its ball has keys.

    If the ball is too small for that, move the best key halfway to its edge.
    """
    rule = case.inner_rule
    if not isinstance(rule, Fixed) or not rows.size:
        return rows
    finite = np.where(np.isfinite(rows), rows, -np.inf)
    top = finite.max(axis=-1, keepdims=True)
    return rows - np.where(np.isfinite(top), top, 0.0) - min(0.5, float(rule.exact) ** 2 / 4)


def scored(case: Case, values: Floats, rows: NDArray[np.intp] | None = None) -> Inputs:
    """Scores (..., m) as the inputs of entmax or weights."""
    name = "z" if case.op == "entmax" else "scores"
    return Inputs({name: cast(values.reshape(case.shape), case.dtype)}, rows=rows)


def additive(case: Case, values: Floats) -> Array:
    """An additive mask in the dtype of the queries, as attention kernels take it; float32 if that dtype has no −∞."""
    return cast(values, "float32" if case.dtype in WITHOUT_INFINITY else case.dtype)


def mixed_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shapes of q, k and v of a case of regression or attention."""
    return shapes_with(case.op, case.shape)


def shapes_with(op: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The same for the op and the `shape` of a case.

    >>> shapes_with("attention", (4, 2, 3, 9, 8, 5))
    {'q': (4, 3, 8), 'k': (2, 9, 8), 'v': (2, 9, 5)}
    """
    if op == "regression":
        *batch, count, size, width, out = shape
        lead = key_lead = tuple(batch)
    else:
        *batch, heads, groups, count, size, width, out = shape
        lead, key_lead = (*batch, heads), (*batch, groups)
    return {"q": (*lead, count, width), "k": (*key_lead, size, width), "v": (*key_lead, size, out)}


def mixed(case: Case, generator: np.random.Generator, scale: float = 1.0) -> dict[str, Array]:
    """Normal q, k and v in the dtype of the case, q and k of standard deviation `scale`."""
    factor = {"q": scale, "k": scale, "v": 1.0}
    return {
        name: cast(factor[name] * normals(generator, shape), case.dtype) for name, shape in mixed_shapes(case).items()
    }


def sampled_rows(generator: np.random.Generator, count: int, wanted: int) -> NDArray[np.intp] | None:
    """Choose the rows at the edges of blocks of 2^k, k ≥ 4, and `wanted` others at random; None means all rows."""
    edges = {0, count - 1, *(row for k in range(4, 32) for row in (2**k - 1, 2**k) if row < count)}
    if count <= len(edges) + wanted:
        return None
    others = [row for row in shuffled(generator, count).tolist() if row not in edges]
    return np.array(sorted([*edges, *others[:wanted]]), dtype=np.intp)
