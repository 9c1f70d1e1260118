"""KKT: the weights solve the variational problem of α-entmax (docs/theory.md §3), whatever the truth is.

p maximizes ⟨p, z⟩ + H_α(p) iff there is one μ with n·p_i^{1/n} = z_i − μ on the support and z_i ≤ μ off it
(log p_i = z_i − μ at n = ∞). An error δ_i in p_i leaves an interval for μ; the check is that the
intervals of all keys of a row meet. Only the size of δ comes from the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.slack import bounds_of, forward_of_weights, judge_ratios, rows_of, scores_of
from kernelproof.verify.records import Call, Contract, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

ROUNDING = 16 * 2.0**-53
"""A bound on the error of the power, the product and the two sums computed here in float64."""
FAR = 1e300
"""Larger gaps are cut to this one."""
LARGE = 4.0
"""From this order on, n is subtracted from the potential, by expm1 and so without cancellation."""


def potential(weights: Floats, order: float) -> Floats:
    """n·p^{1/n}; minus n for large orders; log p at order ∞, which is −∞ for a weight of 0, as at negative orders."""
    with np.errstate(divide="ignore", invalid="ignore", under="ignore", over="ignore"):
        if order == INFINITY:
            return np.log(weights)
        if abs(order) < LARGE:
            return np.asarray(order * weights ** (1.0 / order))
        return np.where(weights > 0, order * np.expm1(np.log(weights) / order), -order if order > 0 else -np.inf)


class Kkt(Check):
    """Measure, for each row, by how much the intervals for μ miss each other."""

    id = "kkt"
    title = "The weights solve the variational problem (KKT)"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for weights under the adaptive rule."""
        return forward_of_weights(case, inputs) if isinstance(case.parsed_rule, Adaptive) else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the distance by which two intervals miss, over their widths."""
        if truth is None or not isinstance(case.parsed_rule, Adaptive):
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        scores, raw = scores_of(inputs, truth), found[0]
        ratio = np.zeros(len(raw))
        for row in np.flatnonzero(bounds.rows):
            ratio[row] = self._row(case, scores[row], raw[row], bounds.slack[row])

        def describe(index: tuple[int, ...]) -> str:
            return f"no μ satisfies the KKT conditions of row {index[0]} within {bounds.limit:.3g} units"

        return judge_ratios(ratio, bounds.rows, bounds.loose, bounds.limit, describe)

    def _row(self, case: Case, scores: Floats, raw: Floats, slack: Floats) -> float:
        order = float(case.kernel.order)
        beta = float(getattr(case.parsed_rule, "exact", 1.0))
        free = np.isfinite(scores)
        if not np.isfinite(raw).all() or (raw[~free] != 0).any():
            return float("inf")
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = np.minimum(beta * (scores[free].max() - scores[free]), FAR)
        # What overflows is as far off as can be.
        with np.errstate(over="ignore", invalid="ignore"):
            weights, give = raw[free], slack[free]
            low, middle, high = (
                potential(np.maximum(part, 0.0), order) for part in (weights - give, weights, weights + give)
            )
            shift = abs(order) if LARGE <= abs(order) < INFINITY else 0.0
            own = ROUNDING * (gaps + np.where(np.isfinite(high), np.abs(high), 0.0) + shift * ROUNDING)
            # μ lies in [−gap − high, −gap − low]; where the weight may be 0 there is no upper end.
            floor = -gaps - high - own
            ceiling = np.where(weights - give > 0, -gaps - low + own, np.inf)
            if order < 0:
                # Every key has weight, also those whose gaps were cut.
                floor, ceiling = np.where(gaps < FAR, floor, -np.inf), np.where(gaps < FAR, ceiling, np.inf)
        first, last = int(np.argmax(floor)), int(np.argmin(ceiling))
        with np.errstate(invalid="ignore", over="ignore"):
            miss = floor[first] - ceiling[last]
        if not miss > 0:
            return 0.0
        # A weight of 0 has an infinite potential at order ∞: then there is no width to measure the miss by.
        with np.errstate(invalid="ignore", over="ignore"):
            width = (high - middle)[first] + (middle - low)[last] + own[first] + own[last]
        return 1.0 + float(miss / width) if 0 < width < np.inf else float("inf")


CHECK = Kkt()
