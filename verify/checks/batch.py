"""Batch invariance: a row alone gives the same result as in its batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.verify.cases.numbers import integers
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import same_bits, within_slack
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import Pair, judge_same
from kernelproof.verify.judging.slack import bounds_of, rows_of
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Batch(Check):
    """Compare the base call with a call on one of its rows: a row of scores, or one query with its keys.

    The seed draws the row. The contract says whether the two must have equal bits, or may each be off by what the
    grade allows.
    """

    id = "batch"
    title = "A row alone is the row in a batch"
    fatal = False
    rank = 12
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call and the row alone; not under a causal mask, which depends on the place of the query."""
        if case.family == "special" or inputs.options.get("causal") or self._count(case, inputs) < 2 or not case.size:
            return {}
        return {"forward": Call(inputs), "alone": Call(self._alone(case, inputs))}

    def _count(self, case: Case, inputs: Inputs) -> int:
        first = next(iter(inputs.arrays.values()))
        return int(np.prod(first.shape[:-1])) if first.ndim > 1 else 1

    def place(self, case: Case, inputs: Inputs) -> tuple[int, int]:
        """Draw the row that is tried alone: its index among the checked rows, and among all."""
        every = np.arange(self._count(case, inputs)) if inputs.rows is None else inputs.rows
        at = int(integers(case.generator("batch"), len(every), (1,))[0])
        return at, int(every[at])

    def _alone(self, case: Case, inputs: Inputs) -> Inputs:
        number = self.place(case, inputs)[1]
        first = next(iter(inputs.arrays.values()))
        place = np.unravel_index(number, first.shape[:-1])
        if case.op in {"entmax", "weights"}:
            arrays = {name: _only(array, place) for name, array in inputs.arrays.items()}
            return replace(inputs, arrays=arrays, cotangent=None, rows=None)
        q, k, v = (inputs.arrays[name] for name in "qkv")
        options: dict[str, Any] = dict(inputs.options)
        if case.op == "attention":
            heads, groups = q.shape[-3], k.shape[-3]
            lead = (*place[:-2], place[-2] // (heads // groups))
            if options.get("mask") is not None:
                full = np.broadcast_to(options["mask"], (*q.shape[:-1], k.shape[-2]))
                options["mask"] = _only(full, place)
            if options.get("lengths") is not None:
                options["lengths"] = _only(np.asarray(options["lengths"])[..., None], place[:-2])[..., 0]
        else:
            lead = place[:-1]
        arrays = {"q": _only(q, place), "k": _only(k, lead), "v": _only(v, lead)}
        return Inputs(arrays, options)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the row."""
        if truth is None:
            return Judgement()
        at = self.place(case, inputs)[0]
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        if (fault := broken(outcomes["alone"], truth, contract)) is not None:
            return fault
        bounds = bounds_of(case, truth, contract)
        row = found[0][at : at + 1]
        alone = np.asarray(outcomes["alone"].arrays["output"]).astype(np.float64)
        if alone.size == row.size:
            alone = alone.reshape(row.shape)
        one = slice(at, at + 1)
        pair = Pair(row, alone, bounds.slack[one], bounds.rows[one], bounds.loose[one], f"output of row {at}")
        return judge_same(pair, contract, "for the row alone")

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows and, where the contract promises equal bits, those."""
        yield from within_slack(case, seen, contract)
        if "forward" in seen:
            row = self.place(case, seen["forward"].call.inputs)[0]
            yield from same_bits(seen, contract, [("forward", "alone")], row)


def _only(array: Array, place: tuple[Any, ...]) -> Array:
    """Copy `array` at one place of its leading axes, each of which keeps the size 1."""
    return np.ascontiguousarray(array[tuple(slice(int(at), int(at) + 1) for at in place)])


CHECK = Batch()
