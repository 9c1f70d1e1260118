"""Convergence: as the order grows, the weights approach softmax as proved, and the largest weight falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import INFINITY, Adaptive
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.pairs import merged
from kernelproof.verify.judging.slack import bounds_of, judge_ratios, ratio_of, rows_of
from kernelproof.verify.records import Call, Contract, Floats, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.lookup import truth_for

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

Describe = Callable[[tuple[int, ...]], str]
LEAST = 8
"""Smaller orders are too far from the limit to say anything about it."""
FURTHER = 16
FAMILIES = frozenset({"random", "near_ties", "scales"})


class Convergence(Check):
    """Compare the base call with the same call at 16 times the order and at ∞.

    ``p_n − p_∞`` must be the certified difference within the slacks of both, whose rate 1/n and constant are the
    theorem's (docs/theory.md §3, L2); and the largest weight of a row never rises with the order (M2).
    """

    id = "convergence"
    title = "The limit n → ∞ is approached as proved"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the three calls, for weights under the adaptive rule at a large finite order."""
        order = case.kernel.order
        applies = case.op in {"entmax", "weights"} and isinstance(case.parsed_rule, Adaptive) and case.size > 0
        if not applies or case.family not in FAMILIES or not LEAST <= order < INFINITY:
            return {}
        further = str(Fraction(order) * FURTHER)
        return {
            "forward": Call(inputs),
            "further": Call(inputs, order=further),
            "limit": Call(inputs, order="inf"),
        }

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every weight of each finite order against the limit, and the largest of each row along the orders."""
        if truth is None or "limit" not in outcomes:
            return Judgement()
        names = tuple(name for name in ("forward", "further", "limit") if name in outcomes)
        found = rows_of(outcomes, names, truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        truths = [truth]
        plain = replace(inputs, cotangent=None)
        for name in names[1:]:
            text = "inf" if name == "limit" else str(Fraction(case.kernel.order) * FURTHER)
            other, _ = truth_for(replace(case, order=text, alpha=None), plain, contract)
            if other is None:
                return Judgement(undecided=1)
            truths.append(other)
        bounds = [bounds_of(case, each, contract) for each in truths]
        rows = np.logical_and.reduce([each.rows for each in bounds])
        loose = np.logical_or.reduce([each.loose for each in bounds])
        parts = []
        for at in range(len(names) - 1):
            proved = truths[at].output.head - truths[-1].output.head
            with np.errstate(invalid="ignore", over="ignore"):
                off = np.abs((found[at] - found[-1]) - proved)
            # The difference of the two heads rounds once in float64.
            slack = bounds[at].slack + bounds[-1].slack + 2.0**-53 * np.abs(proved)
            ratio = ratio_of(np.where(np.isnan(off), np.inf, off), slack)
            parts.append(
                judge_ratios(ratio, rows, loose, bounds[0].limit, self._far(names[at], found[at] - found[-1], proved))
            )
            tops = [part.max(axis=1) for part in (found[at], found[at + 1])]
            most = [each.slack.max(axis=1) for each in (bounds[at], bounds[at + 1])]
            with np.errstate(invalid="ignore", over="ignore"):
                rise = tops[1] - tops[0]
            risen = ratio_of(np.where(np.isnan(rise), np.inf, rise), most[0] + most[1])
            parts.append(judge_ratios(risen, rows, loose, bounds[0].limit, self._risen(names[at + 1], tops)))
        return merged(parts)

    def _far(self, name: str, got: Floats, proved: Floats) -> Describe:
        def describe(index: tuple[int, ...]) -> str:
            return (
                f"weight{list(index)} of the {name} call is {float(got[index])!r} from its limit; "
                f"proved is {float(proved[index])!r}"
            )

        return describe

    def _risen(self, name: str, tops: list[Floats]) -> Describe:
        def describe(index: tuple[int, ...]) -> str:
            was, now = float(tops[0][index]), float(tops[1][index])
            return f"the largest weight of row {index[0]} rises from {was!r} to {now!r} in the {name} call"

        return describe


CHECK = Convergence()
