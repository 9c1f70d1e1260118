"""Input untouched: a call does not change a bit of the arrays it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Evidence
from kernelproof.verify.judging.slack import forward_and_vjp, judge_flags
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class InputUntouched(Check):
    """Judge every argument of every call, also of one that raised."""

    id = "input_untouched"
    title = "Calls do not modify their inputs"
    fatal = False
    rank = 100
    independent = False
    evidence = Evidence.INPUTS

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for the vector-Jacobian product where there is one."""
        return forward_and_vjp(inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge whether the bytes are the same."""
        given = [*inputs.arrays, *(name for name, value in inputs.options.items() if hasattr(value, "dtype"))]
        pairs = [(call, name) for call in outcomes for name in given]
        pairs += [(call, "cotangent") for call in outcomes if call == "vjp"]
        wrong = np.array([name in outcomes[call].modified for call, name in pairs], dtype=bool)

        def describe(index: tuple[int, ...]) -> str:
            call, name = pairs[index[0]]
            return f"the {call} call changed its argument {name}"

        return judge_flags(wrong, np.ones_like(wrong), describe)


CHECK = InputUntouched()
