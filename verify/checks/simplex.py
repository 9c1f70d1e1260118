"""Simplex: weights are nonnegative and sum to 1, before anything renormalizes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.judging import eta_of, exact_sums, forward, judge_ratios, ratio_of, rows_of
from kernelproof.verify.seams import Call, Contract, Inputs, Judgement, Outcome, Truth, sharp_of

if TYPE_CHECKING:
    from kernelproof.verify.case import Case


class Simplex:
    """Sums and signs. Errors of the inputs move no sum: it may be off by κu, and by what underflows."""

    id = "simplex"
    title = "Weights are nonnegative and sum to 1, before renormalizing"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """One forward call, for ops that return weights."""
        applies = case.op in {"entmax", "weights"} and case.size > 0 and case.family != "special"
        return forward(inputs) if applies else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """One comparison a row for the sum, and one for the sign of all its weights."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        raw = found[0]
        sums = exact_sums(raw)
        target = FORMATS[case.dtype]
        width = sharp_of(contract.grade, target)
        slack = truth.output.radius + eta_of(target, contract)
        # Half a rounding of float64 is that of the sum taken here.
        allowed = width * target.unit_roundoff + slack.sum(axis=1) + 2.0**-53
        off = ratio_of(np.abs(sums - 1.0), allowed)
        negative = np.where((raw < 0).any(axis=1), np.inf, 0.0)

        def describe(index: tuple[int, ...]) -> str:
            row = index[0]
            if index[1]:
                return f"row {row} has the negative weight {float(np.nanmin(raw[row]))!r}"
            return f"the weights of row {row} sum to {float(sums[row])!r}; allowed is 1 ± {allowed[row]:.3g}"

        # Of rows with several admissible outputs all must be on the simplex; only empty rows are not.
        rows = ~truth.empty
        return judge_ratios(np.stack([off, negative], axis=1), rows, np.zeros_like(truth.unsure), width, describe)


CHECK = Simplex()
