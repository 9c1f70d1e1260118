"""Translation: weights do not change when a constant is added to the scores, wherever the sum is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Fixed
from kernelproof.verify.cases.inputs import bulky
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.slack import bounds_of, judge_ratios, ratio_of, rows_of
from kernelproof.verify.records import Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def exact_shift(scores: Floats, dtype: str) -> tuple[Floats, Flags]:
    """Shift (…, m) scores by their maximum or by a power of two; also return the (…) rows where that was exact.

    The first shift of the candidates that is exact for a whole row is taken; a row without one is unchanged.
    """
    target = FORMATS[dtype]
    finite = np.isfinite(scores)
    top = np.max(np.where(finite, scores, -np.inf), axis=-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    largest = np.max(np.abs(np.where(finite, scores, 0.0)), axis=-1, keepdims=True, initial=0.0)
    with np.errstate(over="ignore"):
        # Beyond the largest number no shift is exact.
        power = 2.0 ** np.ceil(np.log2(np.maximum(largest, 2.0**-60)))
    shifted, done = scores.copy(), np.zeros(scores.shape[:-1], dtype=bool)
    for constant in (-top, power, -power, 2 * power):
        with np.errstate(invalid="ignore", over="ignore"):
            moved = scores + constant
            # TwoSum: the float64 sum is exact iff both differences give the summands back.
            exact = (moved - constant == scores) & (moved - scores == constant) & (target.round_floats(moved) == moved)
        fits = (exact | ~finite).all(axis=-1) & (constant[..., 0] != 0) & ~done
        shifted = np.where(fits[..., None], np.where(finite, moved, scores), shifted)
        done |= fits
    return shifted, done


class Translation(Check):
    """Compare the base call with the call on exactly shifted scores; they may differ by the slack of each."""

    id = "translation"
    title = "Adding a constant to the scores changes nothing"
    fatal = False
    rank = 15
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for both calls, where a row can be shifted exactly; a fixed bandwidth is not invariant."""
        rule = case.inner_rule
        if (
            case.op not in {"entmax", "weights"}
            or isinstance(rule, Fixed)
            or case.family == "special"
            or case.size == 0
            or bulky(inputs)
        ):
            return {}
        shifted, done = self._shifted(case, inputs)
        if not done.any():
            return {}
        name, array = next(iter(inputs.arrays.items()))
        arrays = {name: shifted.astype(array.dtype)}
        return {"forward": Call(inputs), "shifted": Call(replace(inputs, arrays=arrays, cotangent=None))}

    def _shifted(self, case: Case, inputs: Inputs) -> tuple[Floats, Flags]:
        return exact_shift(next(iter(inputs.arrays.values())).astype(np.float64), case.dtype)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every weight of every row that was shifted."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward", "shifted"), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds = bounds_of(case, truth, contract)
        done = self._shifted(case, inputs)[1].reshape(-1)
        done = done if inputs.rows is None else done[inputs.rows]
        base, moved = (part[done] for part in found)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(moved - base)
        ratio = ratio_of(np.where(np.isnan(difference), np.inf, difference), 2.0 * bounds.slack[done])

        def describe(index: tuple[int, ...]) -> str:
            return f"weight{list(index)} of the shifted rows is {float(moved[index])!r}, was {float(base[index])!r}"

        return judge_ratios(ratio, bounds.rows[done], bounds.loose[done], bounds.limit, describe)


CHECK = Translation()
