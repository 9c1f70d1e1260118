"""From rows of scores to weights and back, with all that a core never sees: NaN, +inf, the k nearest, empty rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Nearest, check_mechanism
from kernelproof.verify.backends._arrays.arguments import check_empty
from kernelproof.verify.backends._arrays.core import (
    PARAMETERS,
    Flags,
    Floats,
    Law,
    RowCore,
    WeightedRows,
    kind_of,
    law_of,
)


@dataclass(frozen=True)
class Plan:
    """A mechanism ready for use: the law, how many keys are kept (None: all), and what an empty row becomes."""

    law: Law
    keep: int | None
    empty: str


@dataclass(frozen=True)
class Weighed:
    """Rows of weights, flat.

    Attributes:
        weights: (R, m); all NaN in a spoiled row; in an empty row as `empty` says.
        scores: (R, m) as the core saw them: −inf where masked, not among the nearest, or in a spoiled row.
        spoiled: (R,) rows with a NaN or +inf score.
        rows: the result of the core.
    """

    weights: Floats
    scores: Floats
    spoiled: Flags
    rows: WeightedRows


def plan_of(kernel: Any, rule: Any, empty: Any) -> Plan:
    """The plan of a kernel and a rule.

    Raises:
        DomainError: kernel and rule define no weights, or `empty` is unknown.
    """
    check_mechanism(kernel, rule)
    if isinstance(rule, Nearest):
        return Plan(law_of(kernel, rule.then), int(rule.k), check_empty(empty))
    return Plan(law_of(kernel, rule), None, check_empty(empty))


def parameter_of(rule: Any) -> str:
    """The name of the parameter of a rule: h, gamma or beta; under Nearest, that of `then`."""
    return PARAMETERS[kind_of(rule.then if isinstance(rule, Nearest) else rule)]


def is_direct(plan: Plan, dtype: np.dtype[Any]) -> bool:
    """Whether a DirectCore can take the scores unchanged."""
    plain = plan.law.kind == "adaptive" and plan.law.order != 0 and plan.keep is None and plan.empty == "nan"
    return plain and dtype in {np.dtype(np.float32), np.dtype(np.float64)} and dtype.isnative


def weigh(
    core: RowCore, scores: Floats, plan: Plan, numbers: NDArray[np.intp] | None = None, count: int = 0
) -> Weighed:
    """Weights of (R, m) scores, m ≥ 1.

    Args:
        core: the row core.
        scores: (R, m).
        plan: the mechanism.
        numbers: (R,) the row numbers for an error message, if these rows are some of `count` rows.
        count: how many rows there are in all, if `numbers` is given.

    Raises:
        DomainError: an empty row under the policy "raise".
    """
    spoiled = (np.isnan(scores) | (scores == np.inf)).any(axis=1)
    seen = np.where(spoiled[:, None], -np.inf, scores)
    if plan.keep is not None and plan.keep < seen.shape[1]:
        seen = _nearest(seen, plan.keep)
    rows = core.forward(seen, plan.law) if len(seen) else _no_rows(seen)
    empty = rows.empty & ~spoiled
    if plan.empty == "raise" and empty.any():
        row = int(empty.argmax())
        raise nothing(row, len(seen)) if numbers is None else nothing(int(numbers[row]), count)
    weights = _filled(rows.weights, seen, empty, plan.empty)
    weights = np.where(spoiled[:, None], np.nan, weights)
    return Weighed(weights, seen, spoiled, rows)


def scores_vjp(core: RowCore, scores: Floats, cotangent: Floats, plan: Plan, weighed: Weighed) -> dict[str, Any]:
    """Gradients in "scores" (R, m), and in "order", "alpha" and "parameter", summed over the rows."""
    unused = weighed.scores == -np.inf
    if plan.law.order == 0 or not scores.size:
        gradient, sums = np.zeros_like(scores), np.zeros(3)
    else:
        found = core.backward(weighed.scores, np.where(unused, 0.0, cotangent), plan.law)
        gradient = found.scores
        sums = np.array([found.order.sum(), found.alpha.sum(), found.parameter.sum()])
    spoiled = weighed.spoiled[:, None] & (scores != -np.inf)
    gradient = np.where(spoiled, np.nan, gradient)
    if spoiled.any():
        sums = np.full(3, np.nan)
    return {"scores": gradient, **{name: np.float64(value) for name, value in zip(_SUMS, sums, strict=True)}}


_SUMS = ("order", "alpha", "parameter")


def thresholds(weighed: Weighed, law: Law) -> Floats:
    """τ (R,) in units of score/n: −∞ at order ∞, NaN at order 0 and in rows without an unmasked key."""
    top = weighed.scores.max(axis=1)
    alive = top > -np.inf
    if law.order in {0.0, np.inf}:
        return np.where(alive, -np.inf if law.order else np.nan, np.nan)
    factor = law.parameter if law.kind == "adaptive" else 1.0
    with np.errstate(all="ignore"):
        return np.where(alive, (factor * np.where(alive, top, 0.0) - weighed.rows.reach) / law.order, np.nan)


def _no_rows(scores: Floats) -> WeightedRows:
    flags = np.zeros(scores.shape, dtype=np.bool_)
    return WeightedRows(np.zeros_like(scores), flags, np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_))


def _nearest(scores: Floats, k: int) -> Floats:
    """The scores with all but the k largest masked; among equal scores the lowest index stays."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, k:]
    kept = scores.copy()
    np.put_along_axis(kept, order, -np.inf, axis=1)
    return kept


def nothing(row: int, count: int) -> DomainError:
    return DomainError(
        f"row {row} of {count} has nothing to attend to: no key is in the ball, or all are masked; "
        "pass empty='zeros', 'nan', 'uniform' or 'nearest' to allow it"
    )


def _filled(weights: Floats, scores: Floats, empty: Flags, policy: str) -> Floats:
    if not empty.any():
        return weights
    if policy in {"zeros", "nan"}:
        return np.where(empty[:, None], 0.0 if policy == "zeros" else np.nan, weights)
    chosen = scores > -np.inf
    if policy == "nearest":
        chosen &= scores == scores.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # without any key, 0/0 is the intended NaN
        shared = chosen / chosen.sum(axis=1, keepdims=True)
    return np.where(empty[:, None], shared, weights)
