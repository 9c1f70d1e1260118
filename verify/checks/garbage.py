"""Garbage: masked keys and values have no influence, whatever they hold.

A target that multiplies them by a weight of 0 gets NaN from NaN and ∞, as PyTorch's own attention does; so only finite
ones must be ignored by every target, and the others by a target that declares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.inputs import hidden_keys
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import same_bits, within_slack
from kernelproof.verify.judging.claims import Claim, Raises, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import Pair, gradient_pairs, judge_same, merged
from kernelproof.verify.judging.slack import bounds_of, rows_of
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

FINITE = "large"
"""As large as it may be without overflow of a score, or of the gradient with respect to a weight."""
KINDS = ("nan", "inf", "huge")
"""What only a target that declares it must ignore; ``huge``, the largest number, makes scores overflow."""
PAIRS = (*(("forward", kind) for kind in (FINITE, *KINDS)), ("vjp", f"{FINITE} vjp"), ("vjp", "nan vjp"))
"""Calls that give the same numbers."""
REMARK = (
    "NaN, ∞ or an overflow behind a mask reaches what it returns, which is allowed; a target that ignores them "
    'declares masked_nonfinite = "ignored"'
)
FAMILIES = frozenset({"masks", "padding"})


class Garbage(Check):
    """Compare the base call with calls that have other numbers in every key and value that no query sees."""

    id = "garbage"
    title = "What stands behind a mask is ignored"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, one for each kind of garbage, and vector-Jacobian products with large ones and NaN."""
        if case.op != "attention" or case.family not in FAMILIES or not hidden_keys(case, inputs).any():
            return {}
        found = {"forward": Call(inputs)}
        for kind in (FINITE, *KINDS):
            found[kind] = Call(replace(self._filled(case, inputs, kind), cotangent=None), equivalent=inputs)
        if inputs.cotangent is not None and inputs.rows is None:
            found["vjp"] = Call(inputs, "vjp")
            for kind in (FINITE, "nan"):
                found[f"{kind} vjp"] = Call(self._filled(case, inputs, kind), "vjp", equivalent=inputs)
        return found

    def _filled(self, case: Case, inputs: Inputs, kind: str) -> Inputs:
        target = FORMATS[case.dtype]
        hidden = hidden_keys(case, inputs)[..., None]
        # float8_e4m3fn has no infinity.
        infinite = np.inf if np.isinf(target.overflow) else np.nan
        values = {"nan": (np.nan, np.nan), "inf": (infinite, infinite), "huge": (target.largest, target.largest)}
        pair = values[kind] if kind in values else _largest(case, inputs)
        filled: dict[str, Array] = {
            name: np.where(hidden, np.asarray(value).astype(inputs.arrays[name].dtype), inputs.arrays[name])
            for name, value in zip("kv", pair, strict=True)
        }
        return replace(inputs, arrays={**inputs.arrays, **filled})

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element of the outputs and the gradients."""
        if truth is None:
            return Judgement()
        parts: dict[str, Judgement] = {}
        for base, other in PAIRS:
            if other in outcomes:
                parts[other] = self._pair(case, inputs, truth, (outcomes[base], outcomes[other]), other, contract)
        required = [part for name, part in parts.items() if self._required(name, contract)]
        allowed = any(part.failed for name, part in parts.items() if not self._required(name, contract))
        return replace(merged(required), remarks=(REMARK,) if allowed else ())

    def _pair(
        self,
        case: Case,
        inputs: Inputs,
        truth: Truth,
        outcomes: tuple[Outcome, Outcome],
        name: str,
        contract: Contract,
    ) -> Judgement:
        kind, _, vjp = name.partition(" ")
        difference = f"with {kind} numbers behind the mask" if kind == FINITE else f"with {kind} behind the mask"
        if vjp:
            for outcome in outcomes:
                if (fault := broken(outcome, truth, contract)) is not None:
                    return fault
            pairs = gradient_pairs(case, truth, outcomes, contract)
            return merged([judge_same(pair, contract, difference) for pair in pairs])
        found = rows_of(dict(zip(("forward", kind), outcomes, strict=True)), ("forward", kind), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        base, other = found
        return judge_same(Pair(base, other, bounds.slack, bounds.rows, bounds.loose, "output"), contract, difference)

    def _required(self, name: str, contract: Contract) -> bool:
        """Whether the garbage of the call `name` must be ignored."""
        return name.partition(" ")[0] not in KINDS or contract.masked_nonfinite == "ignored"

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """A call may raise for garbage that it need not ignore."""
        return Raises.EMPTY_ROWS if self._required(name, contract) else Raises.MAY

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows and, where the contract promises equal bits, those."""
        held = {name: one for name, one in seen.items() if self._required(name, contract)}
        yield from within_slack(case, held, contract)
        yield from same_bits(held, contract, PAIRS)


def _largest(case: Case, inputs: Inputs) -> tuple[float, float]:
    """The largest elements of keys and of values for which nothing overflows that a target may compute.

    A score is at most ``scale·k·Σ|q|``, before the scale ``k·Σ|q|``, and with the key norm term there is ``d·k²/2``
    besides; the gradient with respect to a weight is at most ``v·Σ|g|``. A quarter of the largest number leaves room
    for an additive mask and for rounding.
    """
    room = FORMATS[case.dtype].largest / 4
    queries = np.abs(inputs.arrays["q"].astype(np.float64)).sum(axis=-1).max(initial=1.0)
    key = room / (queries * max(1.0, abs(float(inputs.options.get("scale") or 1.0))))
    if inputs.options.get("key_norm_term"):
        key = min(key, (room / max(1, inputs.arrays["q"].shape[-1])) ** 0.5)
    upstream = 1.0
    if inputs.cotangent is not None:
        upstream = np.abs(inputs.cotangent.astype(np.float64)).sum(axis=-1).max(initial=1.0)
    return float(key), float(room / upstream)


CHECK = Garbage()
