"""Curve: with two keys, the weight of one never falls as its lead grows; a jagged curve shows here and in no row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.judging import bounds_of, forward, judge_ratios, ratio_of, rows_of, scores_of
from kernelproof.verify.seams import Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.case import Case


class Curve:
    """Neighbours of a sweep of rows (t, 0) by t; weights may fall by the sum of their slacks."""

    id = "curve"
    title = "With two keys, the weight of the first is monotone in the gap"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """One forward call, for sweeps."""
        return forward(inputs) if case.family == "two_keys" and case.size == 2 else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """One comparison a pair of neighbouring gaps; equal gaps must have equal weights."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        bounds, scores = bounds_of(case, truth, contract), scores_of(inputs, truth)
        gaps = scores[:, 0] - scores[:, 1]
        order = np.argsort(gaps, kind="stable")
        order = order[bounds.rows[order]]
        gaps, weights, slack, loose = gaps[order], found[0][order, 0], bounds.slack[order, 0], bounds.loose[order]
        with np.errstate(invalid="ignore", over="ignore"):
            fall = weights[:-1] - weights[1:]
            fall = np.where(gaps[1:] == gaps[:-1], np.abs(fall), fall)
        ratio = ratio_of(np.where(np.isnan(fall), np.inf, fall), slack[1:] + slack[:-1])

        def describe(index: tuple[int, ...]) -> str:
            at = index[0]
            return (
                f"the weight of the first key falls from {float(weights[at])!r} to {float(weights[at + 1])!r} "
                f"as its lead grows from {float(gaps[at])!r} to {float(gaps[at + 1])!r}"
            )

        return judge_ratios(ratio, np.ones(len(ratio), dtype=bool), loose[1:] | loose[:-1], bounds.limit, describe)


CHECK = Curve()
