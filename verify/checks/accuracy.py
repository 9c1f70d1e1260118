"""Accuracy: every output is as close to the certified value as the grade allows (docs/theory.md §4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.errors import UndecidedError
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.claims import MOST, Claim, Seen, elements, least_float, rounded
from kernelproof.verify.judging.errors import broken, errors_of, first_order, nonlinear, select_rows, verdict
from kernelproof.verify.judging.grades import limit_of
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.slack import scores_of
from kernelproof.verify.records import ACCURACY, Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.box import box_interval, box_kappa
from kernelproof.verify.truth.mean_box import hidden
from kernelproof.verify.truth.variants import box_decides

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

BOXES = 48
"""How many elements of one case have their box computed; further distinct ones count as undecided."""


class Accuracy(Check):
    """Measure every output in ulps, absolutely, and in units of its condition (κ)."""

    id = ACCURACY
    title = "Every output against the certified value, before any renormalization"
    fatal = False
    rank = 30
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call."""
        return {"forward": Call(inputs)} if case.family != "special" else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge κ of every element of every row that has one admissible value."""
        if truth is None:
            return Judgement()
        outcome = outcomes["forward"]
        if (fault := broken(outcome, truth, contract)) is not None:
            return fault
        precision = precision_of(case.dtype, contract, case.op)
        raw = select_rows(outcome.arrays["output"], truth.output.head.shape, inputs)
        if isinstance(raw, Judgement):
            return raw
        allowance = allowance_of(truth.output, precision)
        errors = errors_of(raw, truth.output, allowance, precision.storage)
        rows = ~(truth.empty | truth.unsure)
        decided = np.broadcast_to(np.asarray(rows)[:, None], raw.shape).copy()
        kappa = errors.kappa.reshape(raw.shape)
        if case.op in {"entmax", "weights"}:
            self._boxes(case, inputs, truth, raw, kappa, decided, precision, contract)
        else:
            decided &= ~hidden(case, inputs, truth, raw, kappa, contract)
        return verdict(raw, truth.output.head, errors, kappa, decided, contract, "output", allowance)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim every output, by first order or, where that is no bound, by the box of its inputs."""
        one, precision = seen["forward"], precision_of(case.dtype, contract, case.op)
        raw, truth, limit, target = one.rows, one.truth, limit_of(contract.grade), precision.storage
        if raw is None or truth is None:
            return
        allowed = allowance_of(truth.output, precision).at(limit)
        rows = ~(truth.empty | truth.unsure)[:, None]
        boxed = np.zeros_like(rows)
        if case.op in {"entmax", "weights"}:
            boxed = nonlinear(truth, precision, float(case.kernel.order))
        yield from elements(one.variable, raw, truth.output, allowed, rows & ~boxed, target)
        if not (rows & boxed).any():
            return
        scores = scores_of(one.call.inputs, truth)
        places = np.argwhere(rows & boxed)
        with np.errstate(all="ignore"):
            worst = -np.nan_to_num(np.abs(raw - truth.output.head) / allowed, nan=np.inf)[tuple(places.T)]
        for row, key in places[np.argsort(worst, kind="stable")[:MOST]]:
            head, tail = float(truth.output.head[row, key]), float(truth.output.tail[row, key])
            if not math.isfinite(limit):
                continue
            more = float(np.broadcast_to(truth.output.stored, raw.shape)[row, key])
            below, above = box_interval(case, scores[row], int(key), limit, precision, more)
            low, high = least_float(below), -least_float(-above)
            yield Claim(f"{one.variable}[{row}, {key}]", rounded(head, tail, target), low, high, float(raw[row, key]))

    def _boxes(
        self,
        case: Case,
        inputs: Inputs,
        truth: Truth,
        raw: Floats,
        kappa: Floats,
        decided: Flags,
        precision: Precision,
        contract: Contract,
    ) -> None:
        """Replace κ by its definition where first order does not hold."""
        errors = first_order(raw, truth.output, precision, strict=True)
        strict = errors.kappa.reshape(raw.shape)
        kappa[strict <= 1] = strict[strict <= 1]
        suspects = decided & (strict > 1) & np.isfinite(raw) & nonlinear(truth, precision, float(case.kernel.order))
        if not suspects.any():
            return
        scores = select_rows(next(iter(inputs.arrays.values())), raw.shape, inputs)
        if isinstance(scores, Judgement):
            return
        known: dict[tuple[int, float, float], float] = {}
        order = np.argsort(-strict[suspects], kind="stable")
        for row, key in np.argwhere(suspects)[order]:
            name = (int(row), float(scores[row, key]), float(raw[row, key]))
            if name not in known and len(known) >= BOXES:
                decided[row, key] = False
                continue
            if name not in known:
                try:
                    more = float(np.broadcast_to(truth.output.stored, raw.shape)[row, key])
                    known[name] = box_kappa(case, scores[row], int(key), name[2], precision, more)
                except UndecidedError:
                    # A corner of the box lies too close to the edge of a variant's profile.
                    decided[row, key] = False
                    continue
            kappa[row, key] = known[name]
            decided[row, key] &= known[name] <= limit_of(contract.grade) or box_decides(case.parsed_rule)


CHECK = Accuracy()
