"""Permutation: the order of the keys does not matter, within the slack."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.cases.numbers import shuffled
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.slack import bounds_of, judge_ratios, ratio_of, rows_of
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_ORDERED = ("causal", "lengths")
"""Options that depend on the position of a key."""


class Permutation(Check):
    """Compare the base call with the call on permuted keys; they may differ by the slack of each."""

    id = "permutation"
    title = "The order of the keys does not matter"
    fatal = False
    rank = 16
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call and the permuted one."""
        if case.size < 2 or case.family == "special" or any(inputs.options.get(name) is not None for name in _ORDERED):
            return {}
        order = self._order(case)
        arrays, options = dict(inputs.arrays), dict(inputs.options)
        for name, array in arrays.items():
            if name in {"z", "scores"}:
                arrays[name] = np.ascontiguousarray(array[..., order])
            elif name in {"k", "v"}:
                arrays[name] = np.ascontiguousarray(array[..., order, :])
        if options.get("mask") is not None:
            options["mask"] = np.ascontiguousarray(options["mask"][..., order])
        permuted = replace(inputs, arrays=arrays, options=options, cotangent=None)
        return {"forward": Call(inputs), "permuted": Call(permuted)}

    def _order(self, case: Case) -> NDArray[np.intp]:
        return shuffled(case.generator("permutation"), case.size)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the output."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward", "permuted"), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        base, other = found
        if case.op in {"entmax", "weights"}:
            other = other[:, np.argsort(self._order(case))]
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(other - base)
        ratio = ratio_of(np.where(np.isnan(difference), np.inf, difference), 2.0 * bounds.slack)

        def describe(index: tuple[int, ...]) -> str:
            return f"output{list(index)} is {float(other[index])!r} with permuted keys, was {float(base[index])!r}"

        return judge_ratios(ratio, bounds.rows, bounds.loose, bounds.limit, describe)


CHECK = Permutation()
