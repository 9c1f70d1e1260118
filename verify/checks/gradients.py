"""Gradients: every vector-Jacobian product against the certified Jacobian, kink-aware (docs/theory.md §3, G1 to G3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.reference.model import Adaptive, Nearest
from kernelproof.verify.judging.errors import NEAR, broken, first_order, near_kink, verdict
from kernelproof.verify.judging.grades import limit_of, sharp_of
from kernelproof.verify.judging.slack import eta_of
from kernelproof.verify.records import Call, Contract, Failure, Flags, Floats, Inputs, Judgement, Outcome, Truth, Values
from kernelproof.verify.truth.kink_box import Row
from kernelproof.verify.truth.kink_hull import MOST, hull_distance

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Gradients:
    """Vector-Jacobian products in every differentiable input."""

    id = "gradients"
    title = "Every vector-Jacobian product against the certified Jacobian"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """One vector-Jacobian product, where the case carries a cotangent."""
        return {"vjp": Call(inputs, "vjp")} if inputs.cotangent is not None and inputs.rows is None else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """κ of every gradient; rows at or near a kink that the order makes unbounded or many-valued are undecided."""
        if truth is None or truth.gradients is None:
            return Judgement()
        outcome = outcomes["vjp"]
        if (fault := broken(outcome, truth, contract)) is not None:
            return fault
        target = FORMATS[case.dtype]
        loose = loose_rows(case, truth, target)
        total = Judgement()
        for name, values in truth.gradients.items():
            if name not in outcome.arrays:
                failure = Failure(message=f"no gradient for {name!r}; got {sorted(outcome.arrays)}", kappa=np.inf)
                total = _merge(total, Judgement(decided=1, failed=1, failures=(failure,), worst=failure))
                continue
            total = _merge(total, self._one(name, outcome, values, loose, truth, inputs, contract, case))
        return total

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
        target = FORMATS[case.dtype]
        raw = np.asarray(outcome.arrays[name]).astype(np.float64)
        if raw.shape != values.head.shape:
            message = f"the gradient of {name} has shape {raw.shape}, not {values.head.shape}"
            failure = Failure(message=message, kappa=np.inf)
            return Judgement(decided=1, failed=1, failures=(failure,), worst=failure)
        terms = 1 if name in {"z", "scores"} else max(truth.support.shape)
        values = replace(values, radius=values.radius + crossing(name, case, truth, inputs, target, raw))
        errors = first_order(raw, values, target, flush=contract.flush_to_zero, terms=terms)
        kappa = errors.kappa
        # A row that is loose leaves its own gradients undecided, and every gradient summed over rows.
        by_row = name in {"z", "scores"} or (name == "q" and case.op in {"regression", "attention"})
        decided = np.ones(raw.shape, dtype=bool)
        if loose.any():
            open_ = loose.reshape(*raw.shape[:-1], 1) if by_row else np.ones((1,) * raw.ndim, dtype=bool)
            if name == "v" and float(case.kernel.order) >= 1:
                # ∂L/∂v = wᵀg, and the weights have no kink: only a choice of keys can open it.
                open_ = open_ & truth.unsure.any()
            # An overflow of the format that the truth shares is no error.
            gross = _gross(name, case, inputs, raw) & ~(kappa <= 1)
            kappa = np.where(open_ & gross, np.inf, kappa)
            decided &= ~(open_ & ~gross & ~(kappa <= 1))
            decided &= ~(open_ & ~gross & ~np.isfinite(values.unit))
            if name in {"z", "scores"} and case.kernel.order == 1:
                kappa = self._hulls(case, truth, inputs, raw, kappa, decided, target)
            if name in {"z", "scores"} and 1 < case.kernel.order < 2:
                kappa = self._boxes(case, truth, inputs, raw, kappa, decided, contract, loose)
        if by_row:
            decided &= ~_free(raw, truth.empty.reshape(*raw.shape[:-1], 1), contract)
        flags = np.asarray(_matrix(decided), dtype=bool)
        return verdict(
            _matrix(raw), _matrix(values.head), errors, _matrix(kappa), flags, contract, f"d/d{name}", target
        )

    def _hulls(
        self, case: Case, truth: Truth, inputs: Inputs, raw: Floats, kappa: Floats, decided: Flags, target: Format
    ) -> Floats:
        """Decide rows with a few keys exactly at the threshold by the hull of their Jacobians; sets `decided`."""
        rule = case.inner_rule
        if inputs.cotangent is None or not isinstance(rule, Adaptive):
            return kappa
        width = raw.shape[-1]
        upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(-1, width)
        sharp = sharp_of("E", target) * target.unit_roundoff
        flat, out, open_ = raw.reshape(-1, width), kappa.reshape(-1, width).copy(), decided.reshape(-1, width)
        # Keys that rounding of the inputs may move across may be in or out, as those exactly at the threshold.
        near = near_kink(truth, target)
        wanted = hulled(truth, near)
        for r in range(len(flat)):
            edge = near[r]
            if wanted[r] and np.isfinite(flat[r]).all():
                far = hull_distance(flat[r], upstream[r], truth.support[r] & ~edge, edge, float(rule.exact))
                # The hull is found in float64: 64 of its roundings for the small least-squares problem.
                excess = max(far - 64 * 2.0**-53, 0.0)
                # Beyond `sharp` no conditioning excuses it.
                out[r] = np.inf if excess > sharp else excess / target.unit_roundoff
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
    ) -> Floats:
        """Decide rows next to a kink between orders 1 and 2 by the box of their inputs; sets `decided`."""
        rule = case.inner_rule
        if inputs.cotangent is None or not isinstance(rule, Adaptive):
            return kappa
        target, width = FORMATS[case.dtype], raw.shape[-1]
        flat, out, open_ = raw.reshape(-1, width), kappa.reshape(-1, width).copy(), decided.reshape(-1, width)
        for r in np.flatnonzero(boxed(truth, loose)):
            row, free = row_of(case, truth, inputs, int(r), contract)
            out[r, free] = row.kappa(flat[r, free], limit_of(contract.grade, target))
            out[r, ~free] = np.where(flat[r, ~free] == 0, 0.0, np.inf)
            open_[r] = True
        return out.reshape(kappa.shape)


def hulled(truth: Truth, near: Flags) -> Flags:
    """(R,) rows of order 1 that the hull of their Jacobians decides; `near` is that of `near_kink`."""
    return np.asarray(truth.boundary.any(axis=1) & (near.sum(axis=1) <= MOST) & ~truth.unsure)


def boxed(truth: Truth, loose: Flags) -> Flags:
    """(R,) rows between orders 1 and 2 that the box of their inputs decides; `loose` is that of `loose_rows`."""
    return np.asarray(loose & ~truth.unsure & ~truth.empty & ~truth.kink)


def row_of(case: Case, truth: Truth, inputs: Inputs, r: int, contract: Contract) -> tuple[Row, Flags]:
    """Row `r` for its box, over the keys that the flags say; all other keys have gradients of exactly 0."""
    rule, width = case.inner_rule, truth.margin.shape[1]
    assert isinstance(rule, Adaptive)  # only its rows have a box
    scale = float(rule.exact)
    scores = np.asarray(next(iter(inputs.arrays.values()))).astype(np.float64).reshape(-1, width)[r]
    upstream = np.asarray(inputs.cotangent).astype(np.float64).reshape(-1, width)[r]
    # Keys that are masked have no margin, those that `Nearest` drops have one that means nothing.
    free = np.isfinite(truth.margin[r])
    if isinstance(case.parsed_rule, Nearest):
        free[np.argsort(-scores, kind="stable")[case.parsed_rule.k :]] = False
    row = Row(
        margins=truth.margin[r, free],
        gaps=scale * (scores[free].max() - scores[free]),
        upstream=upstream[free],
        order=float(case.kernel.order),
        scale=scale,
        unit=FORMATS[case.dtype].unit_roundoff,
        slack=eta_of(FORMATS[case.dtype], contract),
    )
    return row, free


def crossing(name: str, case: Case, truth: Truth, inputs: Inputs, target: Format, raw: Floats) -> Floats | float:
    """What keys next to the threshold may add from order 2 on: their ``w = u^(n−1)`` is 0 on one side of it.

    `NEAR` roundings of the inputs raise u by that share of its unit; J has no entry above the w of its row, and
    each of the two terms of ``w_i(g_i − ⟨w, g⟩/W)`` is at most ``w·max|g|``. The order moves a weight by n² of it.
    """
    order = float(case.kernel.order)
    rule = case.inner_rule
    scored, ordered = name in {"z", "scores"}, name in {"order", "alpha"}
    if not (2 <= order < np.inf and isinstance(rule, Adaptive) and (scored or ordered)) or inputs.cotangent is None:
        return 0.0
    near = near_kink(truth, target)
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.maximum(truth.margin, 0.0) + NEAR * target.unit_roundoff * truth.margin_unit
    # No base u exceeds 1.
    slope = (np.clip(np.where(near, reach, 0.0) / order, 0.0, 1.0) ** (order - 1)).sum(axis=1)
    upstream = np.abs(np.asarray(inputs.cotangent).astype(np.float64)).reshape(len(slope), -1)
    extra = 2 * slope * upstream.max(axis=1, initial=0.0)
    if ordered:
        return float(order**2 * extra.sum())
    return np.asarray(float(rule.exact) * extra.reshape(*raw.shape[:-1], 1))


def _gross(name: str, case: Case, inputs: Inputs, raw: Floats) -> Flags:
    """Where `raw` is beyond `reach_of`."""
    reach = reach_of(name, case, inputs)
    if reach is None:
        return np.zeros(raw.shape, dtype=bool)
    return np.asarray(~np.isfinite(raw) | (np.abs(raw) > reach))


def reach_of(name: str, case: Case, inputs: Inputs) -> Floats | float | None:
    """The most that an entry of a gradient may be at any kink, row by row; None if it may be infinite.

    From order 1 on every limiting Jacobian is finite (G3). Under the adaptive rule its norm is at most β (G1), so no
    entry exceeds ``β‖g‖``.
    """
    if float(case.kernel.order) < 1 or inputs.cotangent is None:
        return None
    rule = case.inner_rule
    if name not in {"z", "scores"} or not isinstance(rule, Adaptive):
        return np.inf
    upstream = np.asarray(inputs.cotangent).astype(np.float64)
    # Rounding of the result, and of the norm itself, are far below an eighth.
    return np.asarray(1.125 * float(rule.exact) * np.linalg.norm(upstream, axis=-1, keepdims=True))


def loose_rows(case: Case, truth: Truth, target: Format) -> Flags:
    """(R,) rows whose Jacobian is not unique, or changes within what rounding of the inputs may do."""
    loose = truth.kink | truth.unsure
    rule = case.inner_rule
    # Under the adaptive rule `crossing` bounds it from order 2 on; elsewhere it is below a rounding from 4 on.
    if float(case.kernel.order) < (2 if isinstance(rule, Adaptive) else 4):
        loose = loose | near_kink(truth, target).any(axis=1)
    return np.asarray(loose)


def _free(raw: Floats, empty: Flags, contract: Contract) -> Flags:
    """Elements of the gradients of `empty` rows that are as the contract lets those rows be: NaN, or anything."""
    may = {"any": np.ones(raw.shape, dtype=bool), "nan": np.isnan(raw)}.get(contract.empty_row)
    return np.asarray(np.zeros(raw.shape, dtype=bool) if may is None else empty & may)


def _matrix(array: Floats | Flags) -> Floats:
    return np.asarray(array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1))


def _merge(a: Judgement, b: Judgement) -> Judgement:
    worst = max((w for w in (a.worst, b.worst) if w is not None), key=lambda w: w.kappa or 0.0, default=None)
    return replace(
        a,
        decided=a.decided + b.decided,
        undecided=a.undecided + b.undecided,
        failed=a.failed + b.failed,
        failures=(*a.failures, *b.failures)[:5],
        worst=worst,
        errors={**a.errors, **b.errors},
    )


CHECK = Gradients()
