"""One row, one kernel, one rule: the weights and their vector-Jacobian product. Every mechanism takes this path.

With slopes ``a_i = λ w_i/(1 − d_i/γ)`` where ``λ = n/γ`` (``a = p/u`` of the logits for `Adaptive`, and
``λw`` at order ∞) the vector-Jacobian product of every rule is ``c_i = a_i (g_i − centre)``; the rules differ
in the centre (the mean of g under w, or under a for `Adaptive`) and in the derivatives by their parameters.

Source: arXiv:2601.22766; docs/theory.md §1 and §3 (G1 to G3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Arithmetic, Exact
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed, Kernel, Mechanism, Nearest

PARAMETERS = {Fixed: "h", Anchored: "gamma", Adaptive: "beta"}
"""The name of the parameter of each rule."""


@dataclass(frozen=True, eq=False)
class RowTruth:
    """The weights of one row over its support, in one arithmetic.

    Attributes:
        keys: original positions of the keys of the support, by descending score.
        weights: their weights, which sum to 1.
        bases: ``u_i = p_i^(1/n)`` for Adaptive, ``1 − d_i/γ`` else; empty at orders 0 and ∞.
        slopes: the a_i above; empty where every derivative is 0 (order 0, argmax).
        gaps: exact score gaps of the support.
        gamma: γ in the unit of scores, negative for negative orders; None if it is not finite. For an empty ball it is
            at most 0, at a negative order at least 0.
        boundary: original positions of keys exactly at the threshold, under some admissible choice of keys.
        empty: whether there is nothing to attend to.
        unsure: whether more than one weighting is admissible (a tied k-th key of positive weight).
        kink: whether the Jacobian is not unique or not bounded.
        tied: how many keys share the largest score.
    """

    keys: NDArray[np.intp]
    weights: list[Any]
    bases: list[Any]
    slopes: list[Any]
    gaps: list[Exact]
    gamma: Any
    boundary: NDArray[np.intp]
    empty: bool = False
    unsure: bool = False
    kink: bool = False
    tied: int = 1


_NONE = np.empty(0, dtype=np.intp)
EMPTY = RowTruth(_NONE, [], [], [], [], None, _NONE, empty=True)


def effective(mechanism: Mechanism) -> tuple[Kernel, Fixed | Anchored | Adaptive, int | None]:
    """The kernel, the rule for the keys kept, and how many are kept (None: all)."""
    kernel, rule = mechanism
    if isinstance(rule, Nearest):
        return kernel, rule.then, int(rule.k)
    return kernel, rule, None


def weigh(arithmetic: Arithmetic, row: Any, mechanism: Mechanism) -> RowTruth:
    """The weights of `row` (a `Row`) under a mechanism, at the working precision of `arithmetic`.

    Raises:
        UndecidedError: a support that no exact test decides.
    """
    kernel, rule, kept = effective(mechanism)
    order = kernel.order
    whole = row
    if kept is not None:
        row = row.first(kept)
    if not len(row.keys):
        return EMPTY
    if isinstance(rule, Anchored) and order == INFINITY:
        truth = _share(arithmetic, row, row.tied, kink=row.tied > 1)
    elif order == 0 and not isinstance(rule, Fixed):
        truth = _share(arithmetic, row, len(row.keys))
    elif isinstance(rule, Adaptive):
        truth = _adaptive(arithmetic, row, order, rule.exact)
    elif not isinstance(order, Fraction):
        truth = _exponential(arithmetic, row, 1 / rule.exact**2)
    else:
        side = -1 if order < 0 else 1
        gamma = side * rule.exact if isinstance(rule, Anchored) else side * rule.exact**2 / 2 + row.top
        kink = isinstance(rule, Anchored) and row.tied > 1
        weigh_given = _heavy if order < 0 else _compact
        truth = weigh_given(arithmetic, row, order, gamma, kink=kink)
    return truth if row is whole else _admissible(truth, whole, len(row.keys))


def _admissible(truth: RowTruth, whole: Any, kept: int) -> RowTruth:
    """Update the truth of the first `kept` keys of `whole` for a tie between the last of them and keys left out.

    The tied keys all have the same weight, whichever are kept: the choice matters only if that weight is positive.
    """
    gaps = whole.gaps(min(len(whole.keys), whole.within(Fraction(whole.gaps(kept)[-1]))))
    last = gaps[kept - 1]
    left_out = [i for i in range(kept, len(gaps)) if gaps[i] == last]
    if not left_out:
        return truth
    if len(truth.keys) == kept:
        return replace(truth, unsure=True, kink=True)
    if whole.keys[kept - 1] in truth.boundary:
        return replace(truth, boundary=np.concatenate([truth.boundary, whole.keys[left_out]]))
    return truth


def _share(arithmetic: Arithmetic, row: Any, count: int, *, kink: bool = False) -> RowTruth:
    each = arithmetic.number(1) / arithmetic.number(count)
    return RowTruth(row.keys[:count], [each] * count, [], [], row.gaps(count), None, _NONE, kink=kink)


def _exponential(arithmetic: Arithmetic, row: Any, rate: Fraction) -> RowTruth:
    gaps = row.gaps(len(row.keys))
    lam = arithmetic.number(rate)
    terms = [arithmetic.exp(-(lam * arithmetic.number(gap))) for gap in gaps]
    total = arithmetic.total(terms)
    weights = [term / total for term in terms]
    return RowTruth(row.keys, weights, [], [lam * w for w in weights], gaps, None, _NONE)


def _adaptive(arithmetic: Arithmetic, row: Any, order: Fraction | float, beta: Fraction) -> RowTruth:
    if not isinstance(order, Fraction):
        truth = _exponential(arithmetic, row, beta)
        scale = arithmetic.number(beta)
        # Slopes are those of the logits βs, as at every other order.
        return replace(truth, slopes=[slope / scale for slope in truth.slopes])
    count = row.within(order / beta) if order > 0 else len(row.keys)
    gaps = row.gaps(count)
    logits = gaps if beta == 1 else [Fraction(gap) * beta for gap in gaps]
    root = arithmetic.adaptive(logits, row.guide[:count] * float(beta), order)
    tied = row.tied
    if root.size <= tied:
        # The weights of ties are rational even where their base, the n-th root, is not.
        weights = [arithmetic.number(1) / arithmetic.number(root.size)] * root.size
    else:
        weights = [arithmetic.power(base, order) for base in root.bases]
    slopes = [weight / base for weight, base in zip(weights, root.bases, strict=True)]
    gamma = root.gamma / arithmetic.number(beta)
    boundary = row.keys[root.size : root.size + root.boundary]
    kink = order <= 1 and root.boundary > 0
    return RowTruth(
        row.keys[: root.size], weights, root.bases, slopes, gaps[: root.size], gamma, boundary, kink=kink, tied=tied
    )


def _compact(arithmetic: Arithmetic, row: Any, order: Fraction, gamma: Fraction, *, kink: bool) -> RowTruth:
    if gamma < 0 or (gamma == 0 and order > 0):
        # At γ = 0 the nearest keys lie on the sphere, and enter under any perturbation.
        edges = row.keys[: row.tied] if gamma == 0 else _NONE
        return replace(EMPTY, gamma=arithmetic.number(gamma), boundary=edges, kink=gamma == 0)
    gaps = row.gaps(row.within(gamma))
    inside = sum(1 for gap in gaps if gap < gamma)
    edge = sum(1 for gap in gaps[inside:] if gap == gamma)
    boundary = row.keys[inside : inside + edge]
    if order == 0:
        truth = _share(arithmetic, row, inside + edge)
        return replace(truth, gamma=arithmetic.number(gamma), boundary=boundary, kink=edge > 0)
    return _ratios(arithmetic, row, order, gamma, gaps[:inside], boundary, kink=kink or (edge > 0 and order <= 1))


def _heavy(arithmetic: Arithmetic, row: Any, order: Fraction, gamma: Fraction, *, kink: bool) -> RowTruth:
    """A negative order has weight everywhere, and none at all if the kernel is not finite at the nearest key."""
    if gamma >= 0:
        return replace(EMPTY, gamma=arithmetic.number(gamma), kink=gamma == 0)
    return _ratios(arithmetic, row, order, gamma, row.gaps(len(row.keys)), _NONE, kink=kink)


def _ratios(
    arithmetic: Arithmetic,
    row: Any,
    order: Fraction,
    gamma: Fraction,
    gaps: list[Exact],
    boundary: NDArray[np.intp],
    *,
    kink: bool,
) -> RowTruth:
    """``w_i ∝ (1 − d_i/γ)^n`` for the gaps of the support."""
    reach = arithmetic.number(gamma)
    bases = [arithmetic.number(gamma - Fraction(gap)) / reach for gap in gaps]
    terms = [arithmetic.power(base, order) for base in bases]
    total = arithmetic.total(terms)
    weights = [term / total for term in terms]
    rate = arithmetic.number(order) / reach
    slopes = [rate * weight / base for weight, base in zip(weights, bases, strict=True)]
    keys = row.keys[: len(gaps)]
    return RowTruth(keys, weights, bases, slopes, gaps, reach, boundary, kink=kink, tied=row.tied)


@dataclass(frozen=True, eq=False)
class RowVjp:
    """The gradients of one row for a cotangent.

    Attributes:
        scores: ∂L/∂s over the keys of the support (and, for `Anchored`, of the tied maxima, which come first).
        parameter: ∂L/∂θ for the rule's parameter θ (h, gamma or beta).
        order: ∂L/∂n; 0 at order ∞.
        alpha: ∂L/∂α for `Adaptive`, where ``α = 1 + 1/n``; finite even at order ∞. None for the other rules.
    """

    scores: list[Any]
    parameter: Any
    order: Any
    alpha: Any


def vjp(
    arithmetic: Arithmetic, truth: RowTruth, mechanism: Mechanism, cotangent: Sequence[Any], *, with_order: bool
) -> RowVjp:
    """The vector-Jacobian product of one row; `cotangent` runs over the keys of its support.

    Source: docs/theory.md §3, G1 and G2, and the chain rule (G3).
    """
    zero = arithmetic.number(0)
    if not truth.slopes:
        alpha = zero if isinstance(effective(mechanism)[1], Adaptive) else None
        return RowVjp([zero] * len(truth.keys), zero, zero, alpha)
    kernel, rule, _ = effective(mechanism)
    order = kernel.order
    total = arithmetic.total
    pairs = list(zip(truth.slopes, cotangent, strict=True))
    if isinstance(rule, Adaptive):
        centre = total([a * g for a, g in pairs]) / total(truth.slopes)
    else:
        centre = total([w * g for w, g in zip(truth.weights, cotangent, strict=True)])
    differences = [a * (g - centre) for a, g in pairs]
    moment = total([c * arithmetic.number(gap) for c, gap in zip(differences, truth.gaps, strict=True)])
    by_order, by_alpha = zero, None
    if with_order:
        by_order, by_alpha = _by_order(arithmetic, truth, rule, order, cotangent, centre)
    if isinstance(rule, Adaptive):
        beta = arithmetic.number(rule.exact)
        return RowVjp([beta * c for c in differences], -moment, by_order, by_alpha)
    if isinstance(rule, Fixed):
        h = arithmetic.number(rule.exact)
        factor = h / abs(truth.gamma) if truth.gamma is not None else arithmetic.number(2) / h
        return RowVjp(differences, factor * moment, by_order, None)
    # The anchor moves with the largest score; tied maxima share it by convention (a kink).
    share = total(differences) / arithmetic.number(truth.tied)
    scores = [c - share if i < truth.tied else c for i, c in enumerate(differences)]
    return RowVjp(scores, moment / abs(truth.gamma), by_order, None)


def _by_order(
    arithmetic: Arithmetic,
    truth: RowTruth,
    rule: Fixed | Anchored | Adaptive,
    order: Fraction | float,
    cotangent: Sequence[Any],
    centre: Any,
) -> tuple[Any, Any]:
    """(∂L/∂n, ∂L/∂α); the second for Adaptive only."""
    total, zero, one = arithmetic.total, arithmetic.number(0), arithmetic.number(1)
    if not isinstance(order, Fraction):
        if isinstance(rule, Adaptive):
            logs = [arithmetic.log(w) for w in truth.weights]
            squares = total([w * log * log for w, log in zip(truth.weights, logs, strict=True)])
            terms = [g * w * (squares - log * log) for g, w, log in zip(cotangent, truth.weights, logs, strict=True)]
            return zero, total(terms) / arithmetic.number(2)
        return zero, None
    logs = [arithmetic.log(base) for base in truth.bases]
    shift = one if isinstance(rule, Adaptive) else zero
    # p·φ(u − 1) = p(log u − 1) + p/u, and the last terms cancel against the centre.
    terms = [w * (log - shift) * (g - centre) for w, log, g in zip(truth.weights, logs, cotangent, strict=True)]
    by_order = total(terms)
    if isinstance(rule, Adaptive):
        n = arithmetic.number(order)
        return by_order, -(n * n * by_order)
    return by_order, None
