"""Kept output: what a call returned keeps its bits while other calls are made, unless the contract says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Evidence
from kernelproof.verify.judging.slack import judge_flags
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

FAMILIES = frozenset({"random", "pairs"})
"""Families that ask for the further calls: every op, order, dtype and option is among them, and two more calls of every
case would cost more than they find."""


class KeptOutput(Check):
    """Keep what the first call returned, as a user may who compares two calls, and look at it after another call."""

    id = "kept_output"
    title = "A later call does not change what an earlier one returned"
    fatal = False
    rank = 100
    independent = False
    evidence = Evidence.KEPT
    silent = True

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call and one with another output of the same shape; the same of gradients, if any."""
        if case.family not in FAMILIES or case.size < 2:
            return {}
        arrays = dict(inputs.arrays)
        # The output is linear in v; other orders of the scores give the weights in another order.
        name = "v" if "v" in arrays else next(iter(arrays))
        arrays[name] = -arrays[name] if name == "v" else np.ascontiguousarray(arrays[name][..., ::-1])
        found = {"forward": Call(inputs), "other": Call(replace(inputs, arrays=arrays, cotangent=None))}
        if inputs.cotangent is not None and inputs.rows is None:
            found["vjp"] = Call(inputs, "vjp")
            found["other vjp"] = Call(replace(inputs, cotangent=-inputs.cotangent), "vjp")
        return found

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every array that was kept; of a program, whose answers are text, there is none."""
        if contract.reuses_output:
            return Judgement()
        names: list[str] = []
        wrong: list[bool] = []
        for first, second in (("forward", "other"), ("vjp", "other vjp")):
            if second not in outcomes or (overwritten := outcomes[second].overwritten) is None:
                continue
            kept = sorted({*outcomes[first].arrays, *overwritten})
            names += [f"what the {first} call returned as {name}" for name in kept]
            wrong += [name in overwritten for name in kept]

        def describe(index: tuple[int, ...]) -> str:
            return f"a later call on other inputs changed {names[index[0]]}"

        flags: Array = np.array(wrong, dtype=bool)
        return judge_flags(flags, np.ones_like(flags), describe)


CHECK = KeptOutput()
