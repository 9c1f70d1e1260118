"""Empty rows: a row with nothing to attend to is what the contract or the caller asks for, and affects no other row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, Fixed
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Claim, Raises, Seen, elements
from kernelproof.verify.judging.errors import broken, select_rows
from kernelproof.verify.judging.slack import bounds_of, judge_flags, ratio_of
from kernelproof.verify.records import Call, Contract, Failure, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

POLICIES = ("nan", "zeros", "raise")
"""What a caller may ask for with the argument `empty`."""
FEATURES = frozenset({"all", "empty_ball"})
"""The features of the family of masks that make an empty row."""


class EmptyRows(Check):
    """Judge the base call by the contract and, for ops with the argument `empty`, one call for each policy."""

    id = "empty_rows"
    title = "Rows with nothing to attend to"
    fatal = False
    rank = 60
    independent = True

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for one call with each policy."""
        if case.family != "masks" or case.feature not in FEATURES:
            return {}
        bounded = isinstance(case.inner_rule, Fixed) and 0 <= case.kernel.order < INFINITY
        if case.feature == "empty_ball" and not bounded:
            # Only a ball of fixed size can be empty; at order ∞ and at negative orders it has every key.
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
        """Judge every element of the empty rows by the policy, and of the others by the slack of the grade."""
        if truth is None or not truth.empty.any():
            return Judgement()
        bounds = bounds_of(case, truth, contract)
        shape = truth.output.head.shape
        wrong: list[Flags] = []
        decided: list[Flags] = []
        notes: list[str] = []
        for name, outcome in outcomes.items():
            expected, raises = _policy(name, contract), _raises(name, contract)
            if raises is Raises.MUST or (raises is Raises.MAY and outcome.error is not None):
                flag = np.full(shape, outcome.error is None and raises is Raises.MUST)
                wrong.append(flag)
                decided.append(np.full(shape, raises is Raises.MUST))
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

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """Go by the policy of the call."""
        return _raises(name, contract)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim every element of the empty rows by the policy, and of the others by what the grade allows."""
        for name, one in seen.items():
            raw, truth = one.rows, one.truth
            if raw is None or truth is None:
                continue
            wanted = {"zeros": 0.0, "nan": math.nan}.get(_policy(name, contract))
            bounds = bounds_of(case, truth, contract)
            for row, key in np.argwhere(np.broadcast_to(truth.empty[:, None], raw.shape)):
                if wanted is not None:
                    yield Claim(f"{one.variable}[{row}, {key}]", wanted, wanted, wanted, float(raw[row, key]))
            decided = (bounds.rows & ~bounds.loose)[:, None]
            yield from elements(one.variable, raw, truth.output, bounds.slack, decided, FORMATS[case.dtype])

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


def _raises(name: str, contract: Contract) -> Raises:
    policy = _policy(name, contract)
    if policy == "raise":
        return Raises.MUST
    return Raises.MAY if policy == "any" else Raises.NEVER


def _policy(name: str, contract: Contract) -> str:
    """What the call `name` must make of empty rows: what the contract says, or what the call itself asks for."""
    return contract.empty_row if name == "forward" else name


CHECK = EmptyRows()
