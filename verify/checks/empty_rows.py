"""Empty rows: a row with nothing to attend to is what the contract or the caller says, and no other row notices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import Fixed
from kernelproof.verify.judging.errors import broken, select_rows
from kernelproof.verify.judging.slack import bounds_of, judge_flags, ratio_of
from kernelproof.verify.records import Call, Contract, Failure, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

POLICIES = ("nan", "zeros", "raise")
"""What a caller may ask for that does not depend on the scores."""
FEATURES = frozenset({"all", "empty_ball"})
"""Features of the family masks that make an empty row."""


class EmptyRows:
    """The base call under the contract; and, for the ops that have the argument `empty`, a call for each policy."""

    id = "empty_rows"
    title = "Rows with nothing to attend to"

    apart = True
    """Each call is judged by itself: one that the target does not take leaves the others."""

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """The base call, and one for each policy."""
        if case.family != "masks" or case.feature not in FEATURES:
            return {}
        if case.feature == "empty_ball" and not isinstance(getattr(case.parsed_rule, "then", case.parsed_rule), Fixed):
            # Only a ball of a size that is told can be empty.
            return {}
        wanted = {"forward": Call(inputs)}
        if case.op != "entmax":
            for policy in POLICIES:
                options = {**inputs.options, "empty": policy}
                wanted[policy] = Call(replace(inputs, options=options, cotangent=None))
        return wanted

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Every element of the empty rows by the policy, and of the others by the slack of the grade."""
        if truth is None or not truth.empty.any():
            return Judgement()
        bounds = bounds_of(case, truth, contract)
        shape = truth.output.head.shape
        wrong: list[Flags] = []
        decided: list[Flags] = []
        notes: list[str] = []
        for name, outcome in outcomes.items():
            expected = contract.empty_row if name == "forward" else name
            if expected == "raise" or (expected == "any" and outcome.error is not None and name == "forward"):
                flag = np.full(shape, outcome.error is None and expected == "raise")
                wrong.append(flag)
                decided.append(np.full(shape, expected == "raise"))
                notes.append(f"{name}: an empty row must raise; the call returned")
                continue
            if (fault := broken(outcome)) is not None:
                return self._say(fault, name)
            raw = select_rows(outcome.arrays["output"], shape, inputs)
            if isinstance(raw, Judgement):
                return self._say(raw, name)
            bad, sure = self._compare(raw, truth, bounds.slack, bounds.rows & ~bounds.loose, expected)
            wrong.append(bad)
            decided.append(sure)
            notes.append(f"{name}: empty rows must be {expected}, and the others must not notice")

        def describe(index: tuple[int, ...]) -> str:
            return f"{notes[index[0]]}; at {list(index[1:])}"

        return judge_flags(np.stack(wrong), np.stack(decided), describe)

    def _compare(self, raw: Floats, truth: Truth, slack: Floats, solid: Flags, expected: str) -> tuple[Flags, Flags]:
        empty = truth.empty[:, None]
        as_agreed = np.isnan(raw) if expected == "nan" else raw == 0
        with np.errstate(invalid="ignore", over="ignore"):
            ratio = ratio_of(np.abs((raw - truth.output.head) - truth.output.tail), slack)
        wrong = np.where(empty, ~as_agreed, ~(ratio <= 1))
        decided = np.where(empty, expected != "any", solid[:, None] | ~np.isfinite(raw))
        return wrong, np.asarray(decided & (empty | ~truth.unsure[:, None]))

    def _say(self, fault: Judgement, name: str) -> Judgement:
        failures = tuple(Failure(message=f"{name}: {each.message}", kappa=each.kappa) for each in fault.failures)
        return replace(fault, failures=failures, worst=failures[0] if failures else None)


CHECK = EmptyRows()
