"""Global state: a call leaves random states, modes of arithmetic, the working directory and the like as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Evidence
from kernelproof.verify.judging.slack import forward_and_vjp, judge_flags
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class GlobalState(Check):
    """One comparison a call, also where it raised. What was changed is put back before the next call."""

    id = "global_state"
    title = "Calls do not change the state of their process"
    fatal = False
    rank = 100
    independent = False
    evidence = Evidence.STATE

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """The base call, and the vector-Jacobian product where there is one."""
        return forward_and_vjp(inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Whether anything changed."""
        names = list(outcomes)
        wrong = np.array([bool(outcomes[name].changed) for name in names], dtype=bool)

        def describe(index: tuple[int, ...]) -> str:
            name = names[index[0]]
            return f"the {name} call changed {', '.join(outcomes[name].changed)}"

        return judge_flags(wrong, np.ones_like(wrong), describe)


CHECK = GlobalState()
