"""Garbage: masked keys and values have no influence, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.inputs import hidden_keys
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import same_bits, within_slack
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import Pair, gradient_pairs, judge_same, merged
from kernelproof.verify.judging.slack import bounds_of, rows_of
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

KINDS = ("nan", "inf", "huge")
SAME = (*(("forward", kind) for kind in KINDS), ("vjp", "nan vjp"))
"""Calls that give the same numbers."""
FAMILIES = frozenset({"masks", "padding"})


class Garbage(Check):
    """Compare the base call with calls that have NaN, ∞ or the largest number in every key and value no query sees.

    A target that multiplies them by a weight of 0 gets NaN, and so does one that masks a score by adding −∞ to it.
    """

    id = "garbage"
    title = "What stands behind a mask is ignored"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, one for each kind of garbage, and a vector-Jacobian product with NaN."""
        if case.op != "attention" or case.family not in FAMILIES or not hidden_keys(case, inputs).any():
            return {}
        found = {"forward": Call(inputs)}
        for kind in KINDS:
            found[kind] = Call(replace(self._filled(case, inputs, kind), cotangent=None), equivalent=inputs)
        if inputs.cotangent is not None and inputs.rows is None:
            found["vjp"] = Call(inputs, "vjp")
            found["nan vjp"] = Call(self._filled(case, inputs, "nan"), "vjp", equivalent=inputs)
        return found

    def _filled(self, case: Case, inputs: Inputs, kind: str) -> Inputs:
        target = FORMATS[case.dtype]
        # float8_e4m3fn has no infinity.
        values = {"nan": np.nan, "inf": np.inf if np.isinf(target.overflow) else np.nan, "huge": target.largest}
        hidden = hidden_keys(case, inputs)[..., None]
        filled: dict[str, Array] = {
            name: np.where(hidden, np.asarray(values[kind]).astype(inputs.arrays[name].dtype), inputs.arrays[name])
            for name in "kv"
        }
        return replace(inputs, arrays={**inputs.arrays, **filled})

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the output for each kind, and of the gradients for NaN."""
        if truth is None:
            return Judgement()
        kinds = [kind for kind in KINDS if kind in outcomes]
        found = rows_of(outcomes, ("forward", *kinds), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        parts = [
            judge_same(
                Pair(found[0], raw, bounds.slack, bounds.rows, bounds.loose, "output"),
                contract,
                f"with {kind} behind the mask",
            )
            for kind, raw in zip(kinds, found[1:], strict=True)
        ]
        if "nan vjp" in outcomes:
            for name in ("vjp", "nan vjp"):
                if (fault := broken(outcomes[name], truth, contract)) is not None:
                    return merged([*parts, fault])
            pairs = gradient_pairs(case, truth, (outcomes["vjp"], outcomes["nan vjp"]), contract)
            parts += [judge_same(pair, contract, "with nan behind the mask") for pair in pairs]
        return merged(parts)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows and, where the contract promises equal bits, those."""
        yield from within_slack(case, seen, contract)
        yield from same_bits(seen, contract, SAME)


CHECK = Garbage()
