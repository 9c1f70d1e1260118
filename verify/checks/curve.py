"""Curve: with two keys, the weight of one never falls as its lead grows.

A curve that is jagged within what accuracy allows shows here, and in no single row.


The weight of the first key is a function p(t) of its lead t, and p rises. An error of κ lets a weight p̂ at t lie in
``[p(t − ε)(1 − κu) − η, p(t + ε)(1 + κu) + η]`` with ``ε = κu|t|``, the box of docs/theory.md §4 (twice that where the
reach is a parameter, which is rounded too). So for leads t < s with ``t + ε`` at most ``s − ε``, however near a kink,
``p̂(t) − p̂(s) ≤ 2κu·p(s − ε) + 2η ≤ 2κu(p̂(s) + η)/(1 − κu) + 2η``. Leads that are closer, and a fixed bandwidth, which
reads more than the lead, have the slack of both weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive, Anchored
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import within_slack
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.grades import band_of
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.slack import bounds_of, forward, judge_ratios, ratio_of, rows_of, scores_of
from kernelproof.verify.records import Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Curve(Check):
    """Compare each row (t, 0) of a sweep with the row of the next larger t."""

    id = "curve"
    title = "With two keys, the weight of the first is monotone in the gap"
    fatal = False
    rank = 100
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for sweeps."""
        return forward(inputs) if case.family == "two_keys" and case.size == 2 else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge each pair of neighbouring gaps; equal gaps must have equal weights."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        falls = falls_of(case, inputs, truth, found[0], contract)
        weights, gaps = falls.weights, falls.gaps
        ratio = ratio_of(np.where(np.isnan(falls.fall), np.inf, falls.fall), falls.allowed)

        def describe(index: tuple[int, ...]) -> str:
            at = index[0]
            return (
                f"the weight of the first key falls from {float(weights[at])!r} to {float(weights[at + 1])!r} "
                f"as its lead grows from {float(gaps[at])!r} to {float(gaps[at + 1])!r}"
            )

        limit = bounds_of(case, truth, contract).limit
        return judge_ratios(ratio, np.ones(len(ratio), dtype=bool), falls.open, limit, describe)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim what the grade allows, and that no weight falls further than that as the lead grows."""
        yield from within_slack(case, seen, contract)
        one = seen["forward"]
        raw, truth = one.rows, one.truth
        if raw is None or truth is None:
            return
        falls = falls_of(case, one.call.inputs, truth, raw, contract)
        for at in np.flatnonzero(~falls.open & np.isfinite(falls.allowed)):
            first, then = int(falls.rows[at]), int(falls.rows[at + 1])
            exact = float(truth.output.head[first, 0] - truth.output.head[then, 0])
            words = f"{one.variable}[{first}, 0] - {one.variable}[{then}, 0]"
            if falls.gaps[at] == falls.gaps[at + 1]:
                words, exact = f"abs({words})", abs(exact)
            yield Claim(words, exact, -math.inf, float(falls.allowed[at]), float(falls.fall[at]))


@dataclass(frozen=True)
class Falls:
    """How far the weight of the first key falls from each row to the next, in the order of their gaps.

    Attributes:
        rows: (R,) the rows in that order.
        gaps: (R,) by which the first key leads.
        weights: (R,) of the first key.
        fall: (R − 1,) from each to the next; its size where the gaps are equal.
        allowed: (R − 1,) what rounding may make it.
        open: (R − 1,) where that is not decided.
    """

    rows: NDArray[np.intp]
    gaps: Floats
    weights: Floats
    fall: Floats
    allowed: Floats
    open: Flags


def falls_of(case: Case, inputs: Inputs, truth: Truth, raw: Floats, contract: Contract) -> Falls:
    """Measure the falls of (R, 2) outputs `raw`."""
    bounds, scores = bounds_of(case, truth, contract), scores_of(inputs, truth)
    gaps = scores[:, 0] - scores[:, 1]
    order = np.argsort(gaps, kind="stable")
    order = order[bounds.rows[order]]
    gaps, weights, slack, loose = gaps[order], raw[order, 0], bounds.slack[order, 0], bounds.loose[order]
    with np.errstate(invalid="ignore", over="ignore"):
        fall = weights[:-1] - weights[1:]
        fall = np.where(gaps[1:] == gaps[:-1], np.abs(fall), fall)
    allowed, open_ = slack[1:] + slack[:-1], loose[1:] | loose[:-1]
    if isinstance(case.parsed_rule, Adaptive | Anchored):
        precision = precision_of(case.dtype, contract, case.op)
        share = band_of(contract.grade, precision.unit) * precision.unit
        fixed = bounds.fixed[order, 0]
        moved = (1 if isinstance(case.parsed_rule, Adaptive) else 2) * share * np.abs(gaps)
        disjoint = (gaps[:-1] < gaps[1:]) & (gaps[:-1] + moved[:-1] <= gaps[1:] - moved[1:])
        sharp = 2 * share * (np.abs(weights[1:]) + fixed[1:]) / (1 - share) + fixed[1:] + fixed[:-1]
        allowed, open_ = np.where(disjoint, sharp, allowed), open_ & ~disjoint
    return Falls(order, gaps, weights, fall, allowed, open_)


CHECK = Curve()
