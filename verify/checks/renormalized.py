"""Renormalized: the weights, divided by their exact sum, are the certified ones.

If they are not, more than a common factor is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.slack import (
    bounds_of,
    exact_sums,
    forward_of_weights,
    judge_ratios,
    ratio_of,
    rows_of,
    sum_allowance,
)
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Renormalized(Check):
    """Distinguish rows of the wrong shape from rows of the wrong scale.

    Accuracy and simplex judge the weights as they came. What these two allow is allowed here: the slack of a weight,
    and its share of what the sum may be off by.
    """

    id = "renormalized"
    title = "The weights over their sum, against the certified values"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for ops that return weights."""
        return forward_of_weights(case, inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every weight."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        raw, bounds = found[0], bounds_of(case, truth, contract)
        sums = exact_sums(raw)[:, None]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            scaled = raw / sums
            difference = np.abs((scaled - truth.output.head) - truth.output.tail)
        off = sum_allowance(truth, contract, precision_of(case.dtype, contract, case.op))[:, None]
        # p̂/S − p = (p̂ − p)/S + p(1 − S)/S, and the division here rounds once in float64.
        allowed = (bounds.slack + truth.output.head * off) / np.maximum(1.0 - off, 0.5)
        allowed = allowed + 2.0**-52 * truth.output.head
        ratio = ratio_of(np.where(np.isnan(difference), np.inf, difference), allowed)

        def describe(index: tuple[int, ...]) -> str:
            got, right = float(scaled[index]), float(truth.output.head[index])
            return f"weight{list(index)} over the sum of its row is {got!r}, not {right!r}"

        # Of thousands of weights below half of the least number of a format, each is rounded to 0, and so is the sum:
        # where the whole sum may be lost, there is nothing to divide by.
        lost = (sums[:, 0] == 0) & (off[:, 0] >= 1)
        return judge_ratios(ratio, bounds.rows & ~lost, bounds.loose, bounds.limit, describe)


CHECK = Renormalized()
