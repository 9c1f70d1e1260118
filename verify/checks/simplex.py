"""Simplex: weights are nonnegative and sum to 1, before anything renormalizes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Fixed
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Claim, Seen, interval
from kernelproof.verify.judging.grades import sharp_of
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.slack import (
    exact_sums,
    forward_of_weights,
    judge_ratios,
    ratio_of,
    rows_of,
    sum_allowance,
)
from kernelproof.verify.records import Array, Call, Contract, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

BLOCK = 1024
"""How many rows are summed at a time, in float64."""


class Simplex(Check):
    """Judge the sum and the signs of every row.

    Errors of the inputs do not move the sum, so it may be off by κu and by what underflows. It needs no truth: in a
    large batch, only some of whose rows have a truth, every row is summed, unless the rule may leave rows empty.
    """

    id = "simplex"
    title = "Weights are nonnegative and sum to 1, before renormalizing"
    fatal = True
    rank = 50
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for ops that return weights."""
        return forward_of_weights(case, inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the sum of every row, and the sign of its least weight."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        raw = found[0]
        sums = exact_sums(raw)
        least = raw.min(axis=1)
        precision = precision_of(case.dtype, contract, case.op)
        width = sharp_of(contract.grade, precision.unit)
        allowed = sum_allowance(truth, contract, precision)
        # Of rows with several admissible outputs all must be on the simplex; only empty rows are not.
        rows = ~truth.empty
        if isinstance(case.parsed_rule, Variant):
            # Its bandwidth may not exist: no γ gives one key the mass 3/2, and then there are no weights to sum.
            rows &= ~truth.unsure
        names = np.arange(len(raw)) if inputs.rows is None else inputs.rows
        if inputs.rows is not None and not _may_be_empty(case):
            more, total, lowest, halves = _unchecked(outcomes["forward"].arrays["output"], inputs.rows, precision)
            # A sum of m numbers in float64, in any order, is off by less than m roundings of the sum of their sizes.
            own = width * precision.unit + halves + raw.shape[1] * (precision.flushed + 2.0**-53)
            names, sums = np.concatenate([names, more]), np.concatenate([sums, total])
            least, allowed = np.concatenate([least, lowest]), np.concatenate([allowed, own])
            rows = np.concatenate([rows, np.ones(len(more), dtype=bool)])
        off = ratio_of(np.abs(sums - 1.0), allowed)
        negative = np.where(least < 0, np.inf, 0.0)

        def describe(index: tuple[int, ...]) -> str:
            at = index[0]
            if index[1]:
                return f"row {names[at]} has the negative weight {float(least[at])!r}"
            return f"the weights of row {names[at]} sum to {float(sums[at])!r}; allowed is 1 ± {allowed[at]:.3g}"

        return judge_ratios(np.stack([off, negative], axis=1), rows, np.zeros_like(rows), width, describe)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim the sum and the least weight of every row that has a truth."""
        one = seen["forward"]
        raw, truth = one.rows, one.truth
        if raw is None or truth is None:
            return
        allowed = sum_allowance(truth, contract, precision_of(case.dtype, contract, case.op))
        for row in np.flatnonzero(~truth.empty):
            total = math.fsum(raw[row]) if np.isfinite(raw[row]).all() else math.nan
            low, high = interval(1.0, 0.0, float(allowed[row]), 1.0)
            yield Claim(f"math.fsum({one.variable}[{row}])", 1.0, low, high, total)
            yield Claim(f"{one.variable}[{row}].min()", 0.0, 0.0, math.inf, float(raw[row].min()))


def _may_be_empty(case: Case) -> bool:
    """Whether a row of finite scores may have no weights: a ball that no key is in, a variant without bandwidth."""
    return isinstance(case.inner_rule, Fixed | Variant)


def _unchecked(
    output: Array, checked: NDArray[np.intp], precision: Precision
) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
    """The rows of `output` without a truth, their sums, the least weight of each, and what storing them may add."""
    flat = output.reshape(-1, output.shape[-1])
    rows = np.setdiff1d(np.arange(len(flat)), checked)
    sums, least, halves = (np.empty(len(rows)) for _ in range(3))
    for first in range(0, len(rows), BLOCK):
        part = slice(first, first + BLOCK)
        block = flat[rows[part]].astype(np.float64)
        sums[part], least[part] = block.sum(axis=1), block.min(axis=1)
        halves[part] = precision.half_ulp(np.where(np.isfinite(block), block, 0.0)).sum(axis=1)
    return rows, sums, least, halves


CHECK = Simplex()
