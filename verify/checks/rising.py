"""Rising: as one score rises and the others stay, its weight never falls, beyond what rounding may do.

On the family sweep, row r is ``[t_r, 0, …, 0]``: a weight is a function p(t) of the lead t alone, and p rises in t. An
error of κ lets ``p̂_r`` lie in ``[p(t_r − ε_r)(1 − κu) − η, p(t_r + ε_r)(1 + κu) + η]`` with ``ε_r = κu|t_r|``, the box
of docs/theory.md §4 (twice that where the bandwidth is a parameter, which is rounded too). If ``t_r + ε_r`` is at most
``t_s − ε_s``, then ``p̂_r − p̂_s ≤ 2κu·p(t_s − ε_s) + 2η ≤ 2κu(p̂_s + η)/(1 − κu) + 2η``, however near a kink both are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Adaptive, Anchored
from kernelproof.verify.judging import eta_of, forward, judge_ratios, ratio_of, rows_of, scores_of
from kernelproof.verify.seams import Call, Contract, Flags, Inputs, Judgement, Outcome, Truth, band_of

if TYPE_CHECKING:
    from kernelproof.verify.case import Case


class Rising:
    """Neighbouring rows of a sweep, under rules that read the gaps between scores only."""

    id = "rising"
    title = "A rising score never loses weight"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """The base call, on sweeps."""
        applies = case.family == "sweep" and isinstance(case.parsed_rule, Adaptive | Anchored) and case.size > 1
        return forward(inputs) if applies else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """One comparison between each row and the next; undecided where they are too close to be told apart."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        target = FORMATS[case.dtype]
        width = band_of(contract.grade, target)
        share, eta = width * target.unit_roundoff, eta_of(target, contract)
        scores = scores_of(inputs, truth)
        lead, weights = scores[:, 0] - scores[:, 1], found[0][:, 0]
        moved = (1 if isinstance(case.parsed_rule, Adaptive) else 2) * share * np.abs(lead)
        apart = lead[:-1] + moved[:-1] <= lead[1:] - moved[1:]
        with np.errstate(invalid="ignore"):
            fall = weights[:-1] - weights[1:]
        slack = 2 * share * (np.abs(weights[1:]) + eta) / (1 - share) + 2 * eta
        ratio = ratio_of(np.where(np.isnan(fall), np.inf, fall), slack)

        def describe(index: tuple[int, ...]) -> str:
            row = index[0]
            return (
                f"as the first score of two or more rises from {float(lead[row])!r} to {float(lead[row + 1])!r} above "
                f"the others, its weight goes from {float(weights[row])!r} to {float(weights[row + 1])!r}"
            )

        sure: Flags = ~(truth.empty | truth.unsure)
        return judge_ratios(ratio, sure[:-1] & sure[1:] & apart, np.zeros_like(apart), width, describe)


CHECK = Rising()
