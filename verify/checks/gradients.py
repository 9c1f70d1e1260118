"""Gradients: every vector-Jacobian product is certified, also at kinks (docs/theory.md §3, G1 to G3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import Adaptive
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._gradient_claims import gradient_claims
from kernelproof.verify.checks._kinks import boxed, crossing, hulled, loose_rows, named, open_entries, reach_of, row_of
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken, errors_of, near_kink, verdict
from kernelproof.verify.judging.grades import limit_of, power_of, sharp_of
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.row_gradients import SCORES, empty_elements, spoiled_elements
from kernelproof.verify.records import Call, Contract, Failure, Flags, Floats, Inputs, Judgement, Outcome, Truth, Values
from kernelproof.verify.truth.kink_hull import hull_distance

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


SPOILED = (
    "a row with nothing to attend to is NaN, and so are the gradients of the keys and values that it shares with other "
    'rows, which is allowed; a target whose empty rows are zeros declares empty_row = "zeros"'
)
"""What is said of NaN that an empty row passes on."""


class Gradients(Check):
    """Measure the vector-Jacobian product in every differentiable input."""

    id = "gradients"
    title = "Every vector-Jacobian product against the certified Jacobian"
    fatal = True
    rank = 20
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one vector-Jacobian product, where the case carries a cotangent."""
        return {"vjp": Call(inputs, "vjp")} if inputs.cotangent is not None and inputs.rows is None else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge κ of every gradient; at or near a kink where it is unbounded or many-valued, a row may be undecided."""
        if truth is None or truth.gradients is None:
            return Judgement()
        outcome = outcomes["vjp"]
        if (fault := broken(outcome, truth, contract)) is not None:
            return fault
        loose = loose_rows(case, truth, precision_of(case.dtype, contract, case.op))
        total = Judgement()
        for name, values in truth.gradients.items():
            if name not in outcome.arrays:
                failure = Failure(message=f"no gradient for {name!r}; got {sorted(outcome.arrays)}", kappa=np.inf)
                total = _merge(total, Judgement(decided=1, failed=1, failures=(failure,), worst=failure))
                continue
            total = _merge(total, self._one(name, outcome, values, loose, truth, inputs, contract, case))
        return total

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim every gradient, at a kink by all that are right there."""
        return gradient_claims(case, seen, contract)

    def _one(
        self,
        name: str,
        outcome: Outcome,
        values: Values,
        loose: Flags,
        truth: Truth,
        inputs: Inputs,
        contract: Contract,
        case: Case,
    ) -> Judgement:
        precision = precision_of(case.dtype, contract, case.op)
        raw = np.asarray(outcome.arrays[name]).astype(np.float64)
        if raw.shape != values.head.shape:
            message = f"the gradient of {name} has shape {raw.shape}, not {values.head.shape}"
            failure = Failure(message=message, kappa=np.inf)
            return Judgement(decided=1, failed=1, failures=(failure,), worst=failure)
        terms = 1 if name in SCORES else max(truth.support.shape)
        values = replace(values, radius=values.radius + crossing(name, case, truth, inputs, precision, raw))
        allowance = allowance_of(values, precision, terms=terms)
        errors = errors_of(raw, values, allowance, precision.storage)
        kappa = errors.kappa
        decided = np.ones(raw.shape, dtype=bool)
        # What the box allows where it decides, NaN elsewhere.
        reach = np.full(raw.shape, np.nan)
        if loose.any():
            open_ = open_entries(name, case, truth, loose, raw.shape)
            # An overflow of the format that the truth shares is no error.
            gross = _gross(name, case, inputs, raw) & ~(kappa <= 1)
            kappa = np.where(open_ & gross, np.inf, kappa)
            decided &= ~(open_ & ~gross & ~(kappa <= 1))
            decided &= ~(open_ & ~gross & ~np.isfinite(values.unit))
            if name in SCORES and case.kernel.order == 1:
                kappa = self._hulls(case, truth, inputs, raw, kappa, decided, precision)
            if name in SCORES and 1 < case.kernel.order < 2:
                kappa = self._boxes(case, truth, inputs, raw, kappa, decided, contract, loose, reach)
        spoiled = spoiled_elements(case, inputs, name, raw, truth, contract)
        decided &= ~spoiled
        decided &= ~_free(raw, empty_elements(case, name, raw.shape, truth), contract)
        flags = np.asarray(_matrix(decided), dtype=bool)
        held = np.isnan(reach)
        allowance = replace(
            allowance,
            forced=_matrix(allowance.forced),
            fixed=_matrix(np.where(held, allowance.fixed, reach)),
            rate=_matrix(np.where(held, allowance.rate, 0.0)),
        )
        judgement = verdict(
            _matrix(raw), _matrix(values.head), errors, _matrix(kappa), flags, contract, f"d/d{name}", allowance
        )
        if spoiled.any():
            judgement = replace(judgement, remarks=(SPOILED,))
        return named(judgement, case, truth, inputs, raw) if name in SCORES and judgement.failed else judgement

    def _hulls(
        self, case: Case, truth: Truth, inputs: Inputs, raw: Floats, kappa: Floats, decided: Flags, precision: Precision
    ) -> Floats:
        """Decide rows with a few keys exactly at the threshold by the hull of their Jacobians; sets `decided`."""
        rule = case.inner_rule
        if inputs.cotangent is None or not isinstance(rule, Adaptive):
            return kappa
        width = raw.shape[-1]
        upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(-1, width)
        sharp = sharp_of("E", precision.unit) * precision.unit
        values = next(each for name, each in (truth.gradients or {}).items() if name in SCORES)
        fixed = allowance_of(values, precision).fixed.reshape(-1, width)
        flat, out, open_ = raw.reshape(-1, width), kappa.reshape(-1, width).copy(), decided.reshape(-1, width)
        # Keys that rounding of the inputs may move across may be in or out, as those exactly at the threshold.
        near = near_kink(truth, precision)
        wanted = hulled(truth, near)
        for r in range(len(flat)):
            edge = near[r]
            if wanted[r] and np.isfinite(flat[r]).all():
                far = hull_distance(flat[r], upstream[r], truth.support[r] & ~edge, edge, float(rule.exact))
                # The hull is found in float64: 64 of its roundings for the small least-squares problem. Every entry
                # may be off by what storing it adds.
                size = float(np.abs(float(rule.exact) * upstream[r]).max())
                excess = max(far - 64 * 2.0**-53 - (float(fixed[r].max()) / size if size else 0.0), 0.0)
                # Beyond `sharp` no conditioning excuses it.
                out[r] = np.inf if excess > sharp else excess / precision.unit
                open_[r] = True
        return out.reshape(kappa.shape)

    def _boxes(
        self,
        case: Case,
        truth: Truth,
        inputs: Inputs,
        raw: Floats,
        kappa: Floats,
        decided: Flags,
        contract: Contract,
        loose: Flags,
        reach: Floats,
    ) -> Floats:
        """Decide rows next to a kink between orders 1 and 2 by the box of their inputs; sets `decided` and `reach`."""
        rule = case.inner_rule
        if inputs.cotangent is None or not isinstance(rule, Adaptive):
            return kappa
        width = raw.shape[-1]
        flat, out, open_ = raw.reshape(-1, width), kappa.reshape(-1, width).copy(), decided.reshape(-1, width)
        values = next(each for name, each in (truth.gradients or {}).items() if name in SCORES)
        head, allowed = values.head.reshape(-1, width), reach.reshape(-1, width)
        for r in np.flatnonzero(boxed(truth, loose)):
            row, free = row_of(case, truth, inputs, int(r), contract)
            out[r, free] = row.kappa(flat[r, free], limit_of(contract.grade))
            out[r, ~free] = np.where(flat[r, ~free] == 0, 0.0, np.inf)
            open_[r] = True
            low, high = row.interval(power_of(contract.grade))
            allowed[r, free] = np.maximum(head[r, free] - low, high - head[r, free])
            allowed[r, ~free] = 0.0
        return out.reshape(kappa.shape)


def _gross(name: str, case: Case, inputs: Inputs, raw: Floats) -> Flags:
    """Where `raw` is larger than any gradient can be."""
    reach = reach_of(name, case, inputs)
    if reach is None:
        return np.zeros(raw.shape, dtype=bool)
    return np.asarray(~np.isfinite(raw) | (np.abs(raw) > reach))


def _free(raw: Floats, empty: Flags, contract: Contract) -> Flags:
    """Elements of the gradients of `empty` rows that are as the contract lets those rows be: NaN, or anything.

    The gradient in a number has parts of other rows too, so that it may be NaN, and nothing else but right.
    """
    anything = np.ones(raw.shape, dtype=bool) if raw.ndim else np.isnan(raw)
    may = {"any": anything, "nan": np.isnan(raw)}.get(contract.empty_row)
    return np.asarray(np.zeros(raw.shape, dtype=bool) if may is None else empty & may)


def _matrix(array: Floats | Flags) -> Floats:
    return np.asarray(array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1))


def _merge(a: Judgement, b: Judgement) -> Judgement:
    worst = max((w for w in (a.worst, b.worst) if w is not None), key=lambda w: w.kappa or 0.0, default=None)
    return replace(
        a,
        decided=a.decided + b.decided,
        undecided=a.undecided + b.undecided,
        vacuous=a.vacuous + b.vacuous,
        failed=a.failed + b.failed,
        failures=(*a.failures, *b.failures)[:5],
        remarks=tuple(dict.fromkeys((*a.remarks, *b.remarks))),
        worst=worst,
        errors={**a.errors, **b.errors},
    )


CHECK = Gradients()
