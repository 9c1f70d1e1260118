"""Layout: the result depends neither on strides and offsets in memory nor on whether arrays are writeable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import same_bits, within_slack
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import Pair, gradient_pairs, judge_same, merged
from kernelproof.verify.judging.slack import bounds_of, rows_of
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

SAME = (("packed", "forward"), ("packed vjp", "vjp"))
"""Calls that give the same numbers."""


class Layout(Check):
    """Compare the base call on views and read-only arrays with the call on writeable copies in C order."""

    id = "layout"
    title = "Strides, offsets and read-only arrays change nothing"
    fatal = False
    rank = 13
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for both calls and both vector-Jacobian products, where an array is not in C order or not writeable."""
        given = [*inputs.arrays.values(), *([] if inputs.cotangent is None else [inputs.cotangent])]
        if case.family == "special" or all(_plain(array) for array in given):
            return {}
        arrays = {name: array.copy(order="C") for name, array in inputs.arrays.items()}
        upstream = None if inputs.cotangent is None else inputs.cotangent.copy(order="C")
        packed = replace(inputs, arrays=arrays, cotangent=upstream)
        found = {"forward": Call(inputs), "packed": Call(packed)}
        if upstream is not None and inputs.rows is None:
            found |= {"vjp": Call(inputs, "vjp"), "packed vjp": Call(packed, "vjp")}
        return found

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the outputs and of the gradients."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward", "packed"), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        pairs = [Pair(found[1], found[0], bounds.slack, bounds.rows, bounds.loose, "output")]
        if "vjp" in outcomes:
            for name in ("vjp", "packed vjp"):
                if (fault := broken(outcomes[name], truth, contract)) is not None:
                    return fault
            pairs += gradient_pairs(case, truth, (outcomes["packed vjp"], outcomes["vjp"]), contract)
        return merged([judge_same(pair, contract, "of the arrays as they lie") for pair in pairs])

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows and, where the contract promises equal bits, those."""
        yield from within_slack(case, seen, contract)
        yield from same_bits(seen, contract, SAME)


def _plain(array: Array) -> bool:
    return bool(array.flags.c_contiguous and array.flags.writeable and array.base is None)


CHECK = Layout()
