"""What gradients may be at and near a kink, where more than one is right or the right one changes fast.

The check of gradients decides by this, and so does what a script claims of gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Adaptive, Nearest
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.errors import NEAR, near_kink
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.row_gradients import SCORES, by_row
from kernelproof.verify.records import Contract, Failure, Flags, Floats, Inputs, Judgement, Truth
from kernelproof.verify.truth.kink_box import Row
from kernelproof.verify.truth.kink_hull import MOST

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def hulled(truth: Truth, near: Flags) -> Flags:
    """(R,) rows of order 1 that the hull of their Jacobians decides; `near` is that of `near_kink`."""
    return np.asarray(truth.boundary.any(axis=1) & (near.sum(axis=1) <= MOST) & ~truth.unsure)


def boxed(truth: Truth, loose: Flags) -> Flags:
    """(R,) rows between orders 1 and 2 that the box of their inputs decides; `loose` is that of `loose_rows`."""
    return np.asarray(loose & ~truth.unsure & ~truth.empty & ~truth.kink)


def row_of(case: Case, truth: Truth, inputs: Inputs, r: int, contract: Contract) -> tuple[Row, Flags]:
    """Row `r` for its box, over the keys that the flags say; all other keys have gradients of exactly 0."""
    rule, width = case.inner_rule, truth.margin.shape[1]
    assert isinstance(rule, Adaptive)  # only its rows have a box
    scale = float(rule.exact)
    scores = np.asarray(next(iter(inputs.arrays.values()))).astype(np.float64).reshape(-1, width)[r]
    upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(-1, width)[r]
    # Keys that are masked have no margin, those that `Nearest` drops have one that means nothing.
    free = np.isfinite(truth.margin[r])
    if isinstance(case.parsed_rule, Nearest):
        free[np.argsort(-scores, kind="stable")[case.parsed_rule.k :]] = False
    precision = precision_of(case.dtype, contract, case.op)
    values = next(each for name, each in (truth.gradients or {}).items() if name in SCORES)
    row = Row(
        margins=truth.margin[r, free],
        gaps=scale * (scores[free].max() - scores[free]),
        upstream=upstream[free],
        order=float(case.kernel.order),
        scale=scale,
        unit=precision.unit,
        slack=allowance_of(values, precision).fixed.reshape(-1, width)[r, free],
    )
    return row, free


def crossing(name: str, case: Case, truth: Truth, inputs: Inputs, precision: Precision, raw: Floats) -> Floats | float:
    """What keys next to the threshold may add from order 2 on: their ``w = u^(n−1)`` is 0 on one side of it.

    `NEAR` roundings of the inputs raise u by that share of its unit; J has no entry above the w of its row, and
    each of the two terms of ``w_i(g_i − ⟨w, g⟩/W)`` is at most ``w·max|g|``. The order moves a weight by n² of it.
    """
    order = float(case.kernel.order)
    rule = case.inner_rule
    scored, ordered = name in SCORES, name in {"order", "alpha"}
    if not (2 <= order < np.inf and isinstance(rule, Adaptive) and (scored or ordered)) or inputs.cotangent is None:
        return 0.0
    near = near_kink(truth, precision)
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.maximum(truth.margin, 0.0) + NEAR * precision.unit * truth.margin_unit
    # No base u exceeds 1.
    slope = (np.clip(np.where(near, reach, 0.0) / order, 0.0, 1.0) ** (order - 1)).sum(axis=1)
    upstream = np.abs(np.asarray(inputs.cotangent).astype(np.float64)).reshape(len(slope), -1)
    extra = 2 * slope * upstream.max(axis=1, initial=0.0)
    if ordered:
        return float(order**2 * extra.sum())
    return np.asarray(float(rule.exact) * extra.reshape(*raw.shape[:-1], 1))


def reach_of(name: str, case: Case, inputs: Inputs) -> Floats | float | None:
    """The most that an entry of a gradient may be at any kink, row by row; None if it may be infinite.

    From order 1 on every limiting Jacobian is finite (G3). Under the adaptive rule its norm is at most β (G1), so no
    entry exceeds ``β‖g‖``.
    """
    if float(case.kernel.order) < 1 or inputs.cotangent is None:
        return None
    rule = case.inner_rule
    if name not in SCORES or not isinstance(rule, Adaptive):
        return np.inf
    upstream = np.asarray(inputs.cotangent).astype(np.float64)
    # Rounding of the result, and of the norm itself, are far below an eighth.
    return np.asarray(1.125 * float(rule.exact) * np.linalg.norm(upstream, axis=-1, keepdims=True))


def loose_rows(case: Case, truth: Truth, precision: Precision) -> Flags:
    """(R,) rows whose Jacobian is not unique, or changes within what rounding of the inputs may do."""
    loose = truth.kink | truth.unsure
    rule = case.inner_rule
    # Under the adaptive rule `crossing` bounds it from order 2 on; elsewhere it is below a rounding from 4 on.
    if float(case.kernel.order) < (2 if isinstance(rule, Adaptive) else 4):
        loose = loose | near_kink(truth, precision).any(axis=1)
    return np.asarray(loose)


def open_entries(name: str, case: Case, truth: Truth, loose: Flags, shape: tuple[int, ...]) -> Flags:
    """The entries of a gradient of this `shape` that no first-order bound holds for; broadcasts.

    A loose row leaves its own gradients open, and every gradient that is summed over rows.
    """
    if by_row(case, name):
        return np.asarray(loose.reshape(*shape[:-1], 1))
    some = loose.any()
    if name == "v" and float(case.kernel.order) >= 1:
        # ∂L/∂v = wᵀg, and from order 1 on the weights have no kink: only a choice of keys can open it.
        some = some and truth.unsure.any()
    return np.full((1,) * len(shape), bool(some))


def named(judgement: Judgement, case: Case, truth: Truth, inputs: Inputs, raw: Floats) -> Judgement:
    """Say of each failure whose row has a key exactly at the threshold that it is at a kink, and whose derivative.

    Args:
        judgement: of the gradient in the scores.
        case: the case.
        truth: of the case.
        inputs: of the case.
        raw: the gradient that came.
    """

    def told(failure: Failure) -> Failure:
        row = failure.index[0] if failure.index is not None and len(failure.index) == 2 else -1
        if not 0 <= row < len(truth.boundary) or not truth.boundary[row].any():
            return failure
        words = "at a kink: a key of its row lies exactly at the threshold"
        if _as_clamp(case, truth, inputs, raw, row):
            words += "; it is as if torch's clamp were differentiated, which has derivative 1 at 0, where relu has 0"
        return replace(failure, message=f"{failure.message}, {words}")

    worst = judgement.worst and told(judgement.worst)
    return replace(
        judgement, failures=tuple(map(told, judgement.failures)), worst=worst if judgement.failed else judgement.worst
    )


def _as_clamp(case: Case, truth: Truth, inputs: Inputs, raw: Floats, row: int) -> bool:
    """Whether a row of the gradient is that of ``clamp(βz − τ, min=0)`` with the mean over the support in τ.

    There each key of the support and at the threshold has derivative 1, but only those of the support move τ.
    """
    rule, width = case.inner_rule, truth.margin.shape[1]
    if case.kernel.order != 1 or not isinstance(rule, Adaptive) or inputs.cotangent is None:
        return False
    upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(-1, width)[row]
    support = truth.support[row]
    through = np.where(support | truth.boundary[row], upstream, 0.0)
    expected = float(rule.exact) * (through - np.where(support, through.sum() / max(int(support.sum()), 1), 0.0))
    # One rounding for each of the terms of the sum, and one for each of the three operations after it.
    slack = (width + 3) * FORMATS[case.dtype].unit_roundoff * float(rule.exact) * np.abs(through).sum()
    return bool((np.abs(raw.reshape(-1, width)[row] - expected) <= slack).all())
