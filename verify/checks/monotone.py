"""Monotone: a larger score never has a smaller weight, and equal scores have equal weights, within the slack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.slack import bounds_of, forward_of_weights, judge_ratios, ratio_of, rows_of, scores_of
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Monotone(Check):
    """Compare neighbours in each sorted row; their weights may cross by the sum of their slacks."""

    id = "monotone"
    title = "A larger score has no smaller weight; equal scores have equal weights"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for ops that return weights."""
        return forward_of_weights(case, inputs, keys=2)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the m − 1 pairs of neighbours of every row."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        scores = scores_of(inputs, truth)
        order = np.argsort(-scores, axis=1, kind="stable")
        scores, raw, slack = (np.take_along_axis(part, order, axis=1) for part in (scores, found[0], bounds.slack))
        with np.errstate(invalid="ignore", over="ignore"):
            rise = raw[:, 1:] - raw[:, :-1]
            rise = np.where(scores[:, 1:] == scores[:, :-1], np.abs(rise), rise)
        ratio = ratio_of(np.where(np.isnan(rise), np.inf, rise), slack[:, 1:] + slack[:, :-1])

        def describe(index: tuple[int, ...]) -> str:
            row, at = index
            pair = (int(order[row, at]), int(order[row, at + 1]))
            return (
                f"row {row}: scores {float(scores[row, at])!r} ≥ {float(scores[row, at + 1])!r} of keys {pair} "
                f"have weights {float(raw[row, at])!r}, {float(raw[row, at + 1])!r}"
            )

        return judge_ratios(ratio, bounds.rows, bounds.loose, bounds.limit, describe)


CHECK = Monotone()
