"""Zero upstream: the vector-Jacobian product of an upstream gradient of zeros is exactly zero, at every point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.row_gradients import empty_elements, spoiled_elements
from kernelproof.verify.judging.slack import judge_flags
from kernelproof.verify.records import Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

FAMILIES = frozenset({"huge_gaps", "kink", "masks", "one_hot", "padding", "random", "subnormals", "ties"})
"""Families where a Jacobian is infinite, many-valued or underflows, and ordinary ones; all would double the run."""


class ZeroUpstream(Check):
    """Judge gradients for zeros, which depend on no Jacobian: ∞·0 shows as NaN, and noise as a number other than 0."""

    id = "zero_upstream"
    title = "A zero upstream gradient gives exactly zero"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one vector-Jacobian product of zeros, where the case carries a cotangent."""
        if inputs.cotangent is None or inputs.rows is not None or case.family not in FAMILIES or not case.size:
            return {}
        return {"vjp": Call(replace(inputs, cotangent=np.zeros_like(inputs.cotangent)), "vjp")}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of every gradient, except those of rows with nothing to attend to."""
        if truth is None:
            return Judgement()
        outcome = outcomes["vjp"]
        if (fault := broken(outcome, truth, contract)) is not None:
            return fault
        names: list[tuple[str, tuple[int, ...], Floats]] = []
        wrong: list[Flags] = []
        decided: list[Flags] = []
        for name, array in sorted(outcome.arrays.items()):
            raw = np.asarray(array).astype(np.float64)
            free = empty_elements(case, name, raw.shape, truth)
            free = free | spoiled_elements(case, inputs, name, raw, truth, contract)
            wrong.append(np.asarray(raw != 0).reshape(-1))
            decided.append(~free.reshape(-1))
            names += [(name, tuple(int(i) for i in place), raw) for place in np.ndindex(*raw.shape)]

        def describe(index: tuple[int, ...]) -> str:
            name, place, raw = names[index[0]]
            return f"d/d{name}{list(place)} is {float(raw[place])!r} for an upstream gradient of zeros"

        if not wrong:
            return Judgement()
        return judge_flags(np.concatenate(wrong), np.concatenate(decided), describe)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim 0 for every element, except those of rows with nothing to attend to."""
        one, truth = seen["vjp"], seen["vjp"].truth
        for name, array in one.outcome.arrays.items() if truth is not None else ():
            assert truth is not None  # the line above
            raw = np.asarray(array).astype(np.float64)
            if name not in one.call.inputs.arrays:
                # A correct target need not return gradients in parameters, and one of an empty row may be anything.
                if truth.empty.any():
                    continue
                came = float(np.any(raw != 0))
                yield Claim(f'np.any({one.variable}.get("{name}", 0.0))', 0.0, 0.0, 0.0, came)
                continue
            free = empty_elements(case, name, raw.shape, truth)
            free = free | spoiled_elements(case, one.call.inputs, name, raw, truth, contract)
            for index in np.argwhere(~free):
                at = tuple(int(i) for i in index)
                yield Claim(f'{one.variable}["{name}"]{list(at) if at else "[()]"}', 0.0, 0.0, 0.0, float(raw[at]))


CHECK = ZeroUpstream()
