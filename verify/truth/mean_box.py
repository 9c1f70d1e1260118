"""Bound how far the box of input errors may move a mean of values where first order is no bound (docs/theory.md §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive, Anchored
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.judging.errors import near_kink
from kernelproof.verify.judging.grades import limit_of
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Contract, Flags, Floats, Inputs, Truth
from kernelproof.verify.truth.row_units import heavy_margins
from kernelproof.verify.truth.truth import scores_of_means

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def hidden(case: Case, inputs: Inputs, truth: Truth, raw: Floats, kappa: Floats, contract: Contract) -> Flags:
    """(R, e) where a mean is beyond the grade to first order, and errors of the inputs within the grade may explain it.

    Near a kink, from order 1 on, the slopes are bounded by those on its inner side, except for the keys that may join
    the support; a factor of 64 allows for these. Below order 1 the slopes are unbounded, but a mean of values stays in
    the range of the values. At any order, errors of the scores may be as large as the differences between the scores,
    for example far from 0: see `_exchanged`.
    """
    precision, order = precision_of(case.dtype, contract, case.op), float(case.kernel.order)
    limit = limit_of(contract.grade)
    beyond = (kappa > limit) & np.isfinite(raw)
    if not beyond.any():
        return beyond
    among = np.abs(raw) <= float(np.abs(np.asarray(inputs.arrays["v"]).astype(np.float64)).max(initial=0.0)) * 1.125
    loose = np.asarray(near_kink(truth, precision).any(axis=1) & (0 <= order < 2))[:, None]
    found = loose & beyond & (among if order < 1 else kappa <= 64 * limit)
    rows = np.flatnonzero((beyond & among & ~found).any(axis=1))
    if len(rows) and np.isfinite(limit):
        off = np.abs(raw[rows] - truth.output.head[rows])
        found[rows] |= beyond[rows] & among[rows] & (off <= _exchanged(case, inputs, truth, contract, rows.tolist()))
    return np.asarray(found)


def _exchanged(case: Case, inputs: Inputs, truth: Truth, contract: Contract, rows: list[int]) -> Floats:
    """(R, e) how far a mean may move because keys gain or lose weight beyond first order.

    Let r be the ratio of a weight to that of the nearest key. If each score moves as far as the grade allows, the ratio
    of a key lies in [r(gap + shift), r(gap − shift)], and the ratios sum to at least 1. Only those keys count that may
    cross the threshold, or whose shift is a large fraction of the bandwidth; first order bounds the effect of others.
    """
    precision = precision_of(case.dtype, contract, case.op)
    order, rule = float(case.kernel.order), case.inner_rule
    assert not isinstance(rule, Variant)  # a variant computes weights only, never a mean
    held = scores_of_means(case, inputs, contract.scores, rows)
    with np.errstate(invalid="ignore", over="ignore", under="ignore", divide="ignore"):
        first = held.scores.argmax(axis=1, keepdims=True)
        gap = np.take_along_axis(held.scores, first, axis=1) - held.scores
        # Fixed and Anchored also round their parameter.
        factor = (1.0 if isinstance(rule, Adaptive) else 2.0) * limit_of(contract.grade)
        shift = factor * precision.unit * (held.moved + np.take_along_axis(held.moved, first, axis=1))
        if order == INFINITY:
            scale = np.full((len(rows), 1), _bandwidth(case))
            near = np.zeros(gap.shape, bool)
        elif order < 0:
            margin = heavy_margins(rule, order, truth.weights[rows], held.scores, gap)
            scale = margin.min(axis=1, keepdims=True)
            near = np.zeros(gap.shape, bool)
        else:
            margin = np.where(np.isfinite(truth.margin[rows]), truth.margin[rows], -np.inf)
            scale = np.maximum(margin.max(axis=1, keepdims=True), 0.0)
            near = np.abs(scale - gap) <= shift

        def ratio(gaps: Floats) -> Floats:
            share = np.where(gaps > 0, gaps / scale, 0.0)
            if order == INFINITY:
                return np.exp(-share)
            if order < 0:
                return np.asarray((1 + share) ** order)
            return np.where(share < 1, np.maximum(1 - share, 0.0) ** order, 0.0)

        spread = np.where(near | (shift >= scale / 2), ratio(gap - shift) - ratio(gap + shift), 0.0)
        spread = np.where(np.isfinite(gap), spread, 0.0)
        # The ratio of the nearest key stays 1, unless another key may become the nearest.
        nearest = np.arange(gap.shape[1]) == first
        rivalled = ((gap <= shift) & ~nearest).any(axis=1, keepdims=True)
        spread = np.where(nearest & ~rivalled, 0.0, spread)
    # A masked key has no weight to gain, however large its value.
    sizes = np.where(np.isneginf(held.scores)[..., None], 0.0, np.abs(held.values))
    return np.asarray(np.einsum("rm,rme->re", spread, sizes + sizes.max(axis=1, keepdims=True)))


def _bandwidth(case: Case) -> float:
    """Return the number that scores are divided by at order ∞."""
    rule = case.inner_rule
    assert not isinstance(rule, Variant)  # a variant computes weights only, never a mean
    if isinstance(rule, Adaptive):
        return 1.0 / float(rule.exact)
    # Anchored is argmax there; its ties have no single answer anyway.
    return 0.0 if isinstance(rule, Anchored) else float(rule.exact) ** 2
