"""Poison: a row with NaN or +∞ leaves the gradients of the other rows intact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.cases.numbers import cast, normals
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import special_raises
from kernelproof.verify.judging.claims import Claim, Raises, Seen, lacking, rounded
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.slack import judge_flags
from kernelproof.verify.records import Call, Contract, Flags, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Poison(Check):
    """Compare the gradient in the scores or queries with the one for 0 in the place of every special row.

    There is no truth for special rows, so in the others equal numbers pass, a number that is not finite fails, and
    any other difference is undecided.
    """

    id = "poison"
    title = "NaN and +∞ stay in their row of the gradient"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for a vector-Jacobian product of the inputs, and one with 0 in the special rows."""
        if case.family != "special":
            return {}
        upstream = cast(normals(case.generator("cotangent"), output_shape(case, inputs)), case.dtype)
        name, array = next(iter(inputs.arrays.items()))
        clean = np.where(self._special(inputs)[..., None], np.zeros((), array.dtype), array)
        other = replace(inputs, arrays={**inputs.arrays, name: clean}, cotangent=upstream)
        return {"vjp": Call(replace(inputs, cotangent=upstream), "vjp"), "clean vjp": Call(other, "vjp")}

    def _special(self, inputs: Inputs) -> Flags:
        values = next(iter(inputs.arrays.values())).astype(np.float64)
        return np.asarray((np.isnan(values) | np.isposinf(values)).any(axis=-1))

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the rows that hold nothing special."""
        if (fault := broken(outcomes["clean vjp"])) is not None:
            return fault
        if outcomes["vjp"].error is not None and special_raises(inputs, contract) is not Raises.NEVER:
            return Judgement(decided=1)
        if (fault := broken(outcomes["vjp"])) is not None:
            return fault
        name, array = next(iter(inputs.arrays.items()))
        found = [outcomes[key].arrays.get(name) for key in ("vjp", "clean vjp")]
        if any(each is None or each.shape != array.shape for each in found):
            flag = np.ones(1, dtype=bool)
            return judge_flags(flag, flag, lambda _: f"no gradient for {name!r} in the shape {array.shape}")
        raw, clean = (np.asarray(each).astype(np.float64) for each in found)
        others = np.broadcast_to(~self._special(inputs)[..., None], raw.shape)
        wrong = others & ~np.isfinite(raw) & np.isfinite(clean)
        decided = others & (wrong | (raw == clean))

        def describe(index: tuple[int, ...]) -> str:
            got, was = float(raw[index]), float(clean[index])
            return f"d/d{name}{list(index)} is {got!r} beside a row with NaN or +inf, and {was!r} without"

        return judge_flags(np.asarray(wrong), np.asarray(decided), describe)

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """Go by the contract; whether a call must raise is what the check of special values is about."""
        return Raises.NEVER if special_raises(call.inputs, contract) is Raises.NEVER else Raises.MAY

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim that the gradients of rows beside a special one are finite numbers."""
        one, clean, largest = seen["vjp"], seen["clean vjp"], FORMATS[case.dtype].largest
        name, array = next(iter(one.call.inputs.arrays.items()))
        faults = [each for each in (lacking(one, name, array.shape), lacking(clean, name, array.shape)) if each]
        if faults:
            yield from faults
            return
        special = np.broadcast_to(self._special(one.call.inputs)[..., None], array.shape)
        raw, alone = (np.asarray(each.outcome.arrays[name]).astype(np.float64) for each in (one, clean))
        known = None if clean.truth is None else (clean.truth.gradients or {}).get(name)
        for index in np.argwhere(~special & np.isfinite(alone)):
            at = tuple(int(i) for i in index)
            exact = float(alone[at])
            if known is not None:
                exact = rounded(float(known.head[at]), float(known.tail[at]), FORMATS[case.dtype])
            yield Claim(f'{one.variable}["{name}"]{list(at)}', exact, -largest, largest, float(raw[at]))


CHECK = Poison()
