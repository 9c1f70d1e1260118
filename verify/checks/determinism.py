"""Determinism: a repeated call gives the same bits."""

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

WITH_GRADIENTS = frozenset({"random", "ties"})
"""Families whose vector-Jacobian products are repeated too; repeating all would double the run."""


def bits(array: Array) -> Array:
    """View the elements as (n, itemsize) bytes, so that NaNs compare by their bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, flat.itemsize)


class Determinism(Check):
    """Compare two calls on equal inputs."""

    id = "determinism"
    title = "The same call gives the same bits"
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

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of every array that came."""
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


CHECK = Determinism()
