"""Determinism: a repeated call gives the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.checks.accuracy import CHECK as ACCURACY
from kernelproof.verify.checks.gradients import CHECK as GRADIENTS
from kernelproof.verify.judging.claims import Evidence
from kernelproof.verify.judging.pairs import merged
from kernelproof.verify.judging.slack import judge_flags
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

WITH_GRADIENTS = frozenset({"random", "ties"})
"""Families whose vector-Jacobian products are repeated too; repeating all would double the run."""
TURNS = ("3", "4", "5")
"""The further calls of a target that is not deterministic, five in all: of a fault that one call in two shows, 31 of
32 are seen in one case, and there are many cases."""


MANY = "after {count:,} further calls, the forward call {what}"
PLAIN = "in a plain Python process, without kernelproof, the forward call {what}"
AFTERWARDS = tuple(text.partition(" {")[0].partition(",")[0] for text in (MANY, PLAIN))
"""How messages begin on calls that are repeated at the end of a run (`kernelproof.verify.workers.afterwards`)."""


def bits(array: Array) -> Array:
    """View the elements as (n, itemsize) bytes, so that NaNs compare by their bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, flat.itemsize)


class Determinism(Check):
    """Compare two calls on equal inputs.

    Where the contract says that bits vary, as those of atomic sums do, several calls must each be within the grade.
    """

    id = "determinism"
    title = "The same call gives the same bits, or each time a right answer"
    fatal = False
    rank = 100
    independent = False
    evidence = Evidence.REPEATS

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call twice, and on the families `WITH_GRADIENTS` for its vector-Jacobian product twice."""
        if case.size == 0:
            return {}
        again = replace(inputs)
        found = {"forward": Call(inputs), "forward again": Call(again)}
        if inputs.cotangent is not None and inputs.rows is None and case.family in WITH_GRADIENTS:
            found |= {"vjp": Call(inputs, "vjp"), "vjp again": Call(again, "vjp")}
        return found

    def repeats(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for more calls, because two may happen to be right."""
        asked = self.calls(case, inputs)
        more: dict[str, Call] = {}
        for turn in TURNS:
            again = replace(inputs)
            more |= {
                f"{name} {turn}": replace(call, inputs=again) for name, call in asked.items() if "again" not in name
            }
        return more

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of every array that came."""
        if not contract.deterministic:
            return self._each(case, inputs, truth, outcomes, contract)
        wrong: list[bool] = []
        names: list[str] = []
        for first, second in (("forward", "forward again"), ("vjp", "vjp again")):
            if first not in outcomes:
                continue
            errors = outcomes[first].error, outcomes[second].error
            if errors != (None, None):
                # Other checks judge whether the call may raise; here both must raise the same.
                wrong.append(errors[0] != errors[1])
                names.append(f"{first}: {errors[0] or 'no error'}, then {errors[1] or 'no error'}")
                continue
            left, right = outcomes[first].arrays, outcomes[second].arrays
            for key in sorted(set(left) | set(right)):
                alike = key in left and key in right and left[key].shape == right[key].shape
                same = alike and left[key].dtype == right[key].dtype
                flags = (bits(left[key]) != bits(right[key])).any(axis=1).tolist() if same else [True]
                wrong += flags
                names += [f"{key}, element {at}" for at in range(len(flags))]

        def describe(index: tuple[int, ...]) -> str:
            return f"{names[index[0]]}: a second call gave other bits"

        flags = np.array(wrong, dtype=bool)
        return judge_flags(flags, np.ones_like(flags), describe)

    def _each(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every call by the grade, as if it were the only one; without a truth, whether all or none raised."""
        errors = {outcome.error is not None for name, outcome in outcomes.items() if name.startswith("forward")}
        if len(errors) > 1:
            return judge_flags(np.ones(1, bool), np.ones(1, bool), lambda _: "only some of several equal calls raised")
        if truth is None:
            return Judgement()
        parts = []
        for name, outcome in outcomes.items():
            mode, judge = ("vjp", GRADIENTS) if name.startswith("vjp") else ("forward", ACCURACY)
            judgement = judge.judge(case, inputs, truth, {mode: outcome}, contract)
            said = tuple(replace(each, message=f"{name}: {each.message}") for each in judgement.failures)
            parts.append(replace(judgement, failures=said))
        return merged(parts)


CHECK = Determinism()
