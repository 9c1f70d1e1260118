"""Axis: entmax along an axis is entmax along the last axis of the array with that axis moved there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import same_bits, within_slack
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import Pair, judge_same, merged
from kernelproof.verify.judging.slack import bounds_of, rows_of
from kernelproof.verify.records import Call, Contract, Failure, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

FAMILIES = frozenset({"random", "lengths", "masks"})
AXES = (0, -2)
SAME = tuple(("forward", f"axis {axis}") for axis in AXES)
"""Calls that give the same numbers."""


class Axis(Check):
    """Compare the base call with calls along the first axis and the last but one, if entmax takes an axis."""

    id = "axis"
    title = "Any axis is the last one of the moved array"
    fatal = False
    rank = 14
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for one along each axis of `AXES`."""
        z = inputs.arrays.get("z")
        if case.op != "entmax" or z is None or z.ndim < 2 or not z.size or case.family not in FAMILIES:
            return {}
        found = {"forward": Call(inputs)}
        for axis in AXES if z.ndim > 2 else AXES[:1]:
            moved = np.ascontiguousarray(np.moveaxis(z, -1, axis))
            found[f"axis {axis}"] = Call(replace(inputs, arrays={"z": moved}, cotangent=None), axis=axis)
        return found

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every weight, for each axis."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds, shape = bounds_of(case, truth, contract), inputs.arrays["z"].shape
        parts = []
        for axis in AXES:
            outcome = outcomes.get(f"axis {axis}")
            if outcome is None:
                continue
            if (fault := broken(outcome, truth, contract)) is not None:
                parts.append(_along(axis, fault))
                continue
            raw = np.asarray(outcome.arrays["output"]).astype(np.float64)
            moved = np.moveaxis(np.empty(shape), -1, axis).shape
            back = np.moveaxis(raw, axis, -1).reshape(-1, shape[-1]) if raw.shape == moved else raw
            if inputs.rows is not None and raw.shape == moved:
                back = back[inputs.rows]
            pair = Pair(found[0], back, bounds.slack, bounds.rows, bounds.loose, "weight")
            parts.append(judge_same(pair, contract, f"along axis {axis}"))
        return merged(parts)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows and, where the contract promises equal bits, those."""
        yield from within_slack(case, seen, contract)
        yield from same_bits(seen, contract, SAME)


def _along(axis: int, fault: Judgement) -> Judgement:
    failures = tuple(Failure(message=f"along axis {axis}: {each.message}", kappa=each.kappa) for each in fault.failures)
    return replace(fault, failures=failures, worst=failures[0] if failures else None)


CHECK = Axis()
