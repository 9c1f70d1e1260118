"""Support: a weight is positive exactly where the oracle proves it, but for keys that rounding may move across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.judging.slack import bounds_of, forward_of_weights, judge_flags, rows_of
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Support:
    """Which weights are positive.

    A key is undecided in the rounding band, where the margin is at most κ·u·margin_unit for the κ of `band_of`,
    and where its weight is positive but below what that κ allows as an error, so that 0 is admissible. What is
    negative or not finite is neither in a support nor out of it: no rounding excuses that, in the band or outside.
    """

    id = "support"
    title = "The support is the proved one, outside the rounding band"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """One forward call, for ops that return weights."""
        return forward_of_weights(case, inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """One comparison a key."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        raw = found[0]
        bounds = bounds_of(case, truth, contract)
        unit_roundoff = FORMATS[case.dtype].unit_roundoff
        with np.errstate(invalid="ignore", over="ignore"):
            band = bounds.width * unit_roundoff * truth.margin_unit
            clear = (np.abs(truth.margin) > band) | np.isinf(truth.margin)
        vanishing = truth.support & (truth.output.head <= bounds.band)
        decided = clear & ~truth.boundary & ~vanishing & bounds.rows[:, None]
        no_weight = ~np.isfinite(raw) | (raw < 0)
        decided |= no_weight & bounds.rows[:, None]
        wrong = no_weight | ((raw > 0) != truth.support)

        def describe(index: tuple[int, ...]) -> str:
            if no_weight[index]:
                return f"weight{list(index)} is {float(raw[index])!r}: a weight is positive or 0, and finite"
            side = "in" if truth.support[index] else "not in"
            return f"weight{list(index)} is {float(raw[index])!r}, but the key is {side} the support"

        return judge_flags(wrong, decided, describe)


CHECK = Support()
