"""Global state: a call leaves random generators, modes of arithmetic, the working directory and the like unchanged."""

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
    """Judge every call, also one that raised, and the import. What a call changed is restored before the next call."""

    id = "global_state"
    title = "Calls do not change the state of their process"
    fatal = False
    rank = 100
    independent = False
    evidence = Evidence.STATE

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for the vector-Jacobian product where there is one."""
        return forward_and_vjp(inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge whether anything changed."""
        names = list(outcomes)
        wrong = np.array([bool(outcomes[name].changed or outcomes[name].replaced) for name in names], dtype=bool)

        def describe(index: tuple[int, ...]) -> str:
            name = names[index[0]]
            if replaced := outcomes[name].replaced:
                return f"the import of the target replaces {', '.join(replaced)}"
            return f"the {name} call changed {', '.join(outcomes[name].changed)}"

        return judge_flags(wrong, np.ones_like(wrong), describe)


CHECK = GlobalState()
