"""The second opinion: weights and gradients of a row in mpmath, each from its definition.

It shares no step with the certified way but the exact scores: gaps, ties and what lies exactly at a threshold are
compared as rational numbers here, and a gradient is the sum over all weights of how each moves, one direction after
the other. A fault in `weighting.weigh` or `weighting.vjp` therefore shows as a difference.

Source: docs/theory.md §1 and §3; docs/theory.md §2 for the exact test of the support.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from kernelproof.reference.arithmetic.mp import MPMATH
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Mechanism, Nearest
from kernelproof.reference.rows import Row
from kernelproof.reference.weighting import RowTruth, RowVjp

_number = MPMATH.number


def solve(row: Row, mechanism: Mechanism) -> RowTruth:
    """The weights of `row` under a mechanism, at the working precision of mpmath.

    The support, the keys exactly at the threshold and the kinks are exact; weights are not certified.
    """
    kernel, rule = mechanism
    scores = [row.exact_score(i) for i in range(len(row.keys))]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = order[: int(rule.k)] if isinstance(rule, Nearest) else order
    inner = rule.then if isinstance(rule, Nearest) else rule
    if not kept:
        return _truth(row, [], [], [], None, empty=True)
    found = _of_kept(row, [scores[i] for i in kept], kept, kernel.order, inner)
    tied = [i for i in order[len(kept) :] if scores[i] == scores[kept[-1]]]
    if tied and len(found.keys) == len(kept):
        # Another of the tied keys might have been kept, with the same weight.
        return _with(found, unsure=True, kink=True)
    if tied and row.keys[kept[-1]] in found.boundary:
        return _with(found, boundary=np.concatenate([found.boundary, row.keys[tied]]))
    return found


def _of_kept(
    row: Row, scores: list[Fraction], kept: list[int], order: Any, rule: Fixed | Anchored | Adaptive
) -> RowTruth:
    """The weights of keys with descending `scores`, which are the keys `kept` of `row`."""
    gaps = [scores[0] - each for each in scores]
    tied = gaps.count(Fraction(0))
    several = isinstance(rule, Anchored) and tied > 1
    if order == 0 and not isinstance(rule, Fixed):
        return _shared(row, kept, gaps, len(kept))
    if not isinstance(order, Fraction):
        if isinstance(rule, Anchored):
            return _shared(row, kept, gaps, tied, kink=several)
        rate = rule.exact if isinstance(rule, Adaptive) else 1 / rule.exact**2
        powers = [mpmath.exp(-_number(rate * gap)) for gap in gaps]
        return _truth(row, kept, gaps, _normalized(powers), None, tied=tied)
    if isinstance(rule, Adaptive):
        return _entmax(row, kept, gaps, order, rule.exact)
    if order < 0:
        return _heavy(row, kept, gaps, scores[0], order, rule, several=several)
    gamma = rule.exact if isinstance(rule, Anchored) else scores[0] + rule.exact**2 / 2
    if gamma < 0 or (gamma == 0 and order > 0):
        edges = kept[:tied] if gamma == 0 else []
        return _truth(row, [], [], [], _number(gamma), boundary=edges, empty=True, kink=gamma == 0)
    inside = [gap for gap in gaps if gap < gamma]
    edge = [i for i, gap in zip(kept, gaps, strict=True) if gap == gamma]
    if order == 0:
        found = _shared(row, kept, gaps, len(inside) + len(edge), kink=bool(edge))
        return _with(found, gamma=_number(gamma), boundary=row.keys[edge])
    bases = [_number((gamma - gap) / gamma) for gap in inside]
    weights = _normalized([base ** _number(order) for base in bases])
    return _truth(
        row, kept[: len(inside)], inside, weights, _number(gamma), bases=bases, boundary=edge,
        kink=several or (bool(edge) and order <= 1), tied=tied,
    )  # fmt: skip


def _heavy(
    row: Row, kept: list[int], gaps: list[Fraction], top: Fraction, order: Fraction, rule: Any, *, several: bool
) -> RowTruth:
    """``w ∝ 1/(γ + d)^|n|``, whose γ is ``h²/2 − max s`` under `Fixed`; held with its sign reversed."""
    reach = rule.exact if isinstance(rule, Anchored) else rule.exact**2 / 2 - top
    if reach <= 0:
        return _truth(row, [], [], [], _number(-reach), empty=True, kink=reach == 0)
    bases = [_number((reach + gap) / reach) for gap in gaps]
    weights = _normalized([1 / base ** _number(-order) for base in bases])
    tied = gaps.count(Fraction(0))
    return _truth(row, kept, gaps, weights, _number(-reach), bases=bases, kink=several, tied=tied)


def _entmax(row: Row, kept: list[int], gaps: list[Fraction], order: Fraction, beta: Fraction) -> RowTruth:
    """``p_i = [z_i/n − τ]₊^n`` of the logits ``−β·gap``."""
    logits = [beta * gap for gap in gaps]
    root = MPMATH.adaptive(logits, np.array([float(each) for each in logits]), order)
    # The root is as exact as the bisection; which keys are at it is decided in rational numbers.
    size, boundary = support(logits, root.size, order) if order > 0 else (len(kept), 0)
    if boundary:
        bases = [_number((logits[size] - each) / order) for each in logits[:size]]
        gamma = _number(logits[size])
    else:
        gamma = root.gamma
        bases = [(gamma - _number(each)) / _number(order) for each in logits[:size]]
        if size == root.size:
            bases = root.bases
    weights = [base ** _number(order) for base in bases]
    if logits[size - 1] == 0:
        weights = [mpmath.mpf(1) / size] * size
    return _truth(
        row, kept[:size], gaps[:size], weights, gamma / _number(beta), bases=bases, boundary=kept[size : size +
        boundary], kink=bool(boundary) and order <= 1, tied=gaps.count(Fraction(0)),
    )  # fmt: skip


def support(logits: Sequence[Fraction], near: int, order: Fraction) -> tuple[int, int]:
    """(keys of the support, keys exactly at the threshold) of ascending gaps; `near` is the size that bisection found.

    A key is in the support iff ``Σ ((d − d_j)/n)^n < 1`` over the smaller gaps d_j. Far from 1 mpmath decides that;
    near it, a sum of powers is exactly 1 only if every one of them is rational, since positive radicals that are not
    multiples of each other are independent over the rationals.
    """

    def inside(i: int) -> int:
        """The sign of 1 − the sum at gap i."""
        terms = [(logits[i] - each) / order for each in logits if each < logits[i]]
        rest = 1 - mpmath.fsum(_number(term) ** _number(order) for term in terms)
        if abs(rest) > mpmath.mpf(2) ** (-mpmath.mp.prec // 2):
            return 1 if rest > 0 else -1
        roots = [_root(term, order.denominator) for term in terms]
        if None in roots or order.numerator > 4096:
            return 1 if rest > 0 else -1
        exact = 1 - sum((root**order.numerator for root in roots if root is not None), Fraction(0))
        return (exact > 0) - (exact < 0)

    size = max(near, 1)
    while size > 1 and inside(size - 1) <= 0:
        size -= 1
    while size < len(logits) and inside(size) > 0:
        size += 1
    if size == len(logits) or inside(size) != 0:
        return size, 0
    return size, sum(1 for each in logits[size:] if each == logits[size])


def _root(value: Fraction, degree: int) -> Fraction | None:
    """The rational root of that degree, or None."""
    parts = []
    for part in (value.numerator, value.denominator):
        guess = int(mpmath.nint(mpmath.root(mpmath.mpf(part), degree)))
        exact = next((each for each in (guess - 1, guess, guess + 1) if each**degree == part), None)
        if exact is None:
            return None
        parts.append(exact)
    return Fraction(*parts)


def _normalized(powers: Sequence[Any]) -> list[Any]:
    total = mpmath.fsum(powers)
    return [each / total for each in powers]


def _shared(row: Row, kept: list[int], gaps: list[Fraction], count: int, *, kink: bool = False) -> RowTruth:
    """Equal weights of the first `count` keys, which no derivative moves."""
    return _truth(row, kept[:count], gaps[:count], [mpmath.mpf(1) / count] * count, None, kink=kink)


def _truth(
    row: Row,
    kept: Sequence[int],
    gaps: Sequence[Fraction],
    weights: list[Any],
    gamma: Any,
    *,
    bases: Sequence[Any] = (),
    boundary: Sequence[int] = (),
    empty: bool = False,
    kink: bool = False,
    tied: int = 1,
) -> RowTruth:
    return RowTruth(
        row.keys[list(kept)], weights, list(bases), [], list(gaps), gamma, row.keys[list(boundary)], empty=empty,
        kink=kink, tied=tied,
    )  # fmt: skip


def _with(truth: RowTruth, **changed: Any) -> RowTruth:
    return RowTruth(**{**vars(truth), **changed})


def pull(truth: RowTruth, mechanism: Mechanism, cotangent: Sequence[Any], *, with_order: bool) -> RowVjp:
    """The vector-Jacobian product of one row; `cotangent` runs over the keys of its support.

    Every direction (a score, the parameter of the rule, the order) moves all weights, which stay 1 in sum.
    """
    kernel, rule = mechanism
    inner = rule.then if isinstance(rule, Nearest) else rule
    zero, count = mpmath.mpf(0), len(truth.keys)
    adaptive = isinstance(inner, Adaptive)
    fixed_share = kernel.order == 0 or (isinstance(inner, Anchored) and not isinstance(kernel.order, Fraction))
    if truth.empty or not count or fixed_share:
        return RowVjp([zero] * count, zero, zero, zero if adaptive else None)
    moves = _Moves(truth, kernel.order, inner)

    def along(logits: Sequence[Any]) -> Any:
        return mpmath.fsum(g * each for g, each in zip(cotangent, moves.of(logits), strict=True))

    units = [[mpmath.mpf(int(i == k)) for i in range(count)] for k in range(count)]
    scores = [along(moves.by_score(unit, k)) for k, unit in enumerate(units)]
    parameter = along(moves.by_parameter())
    by_order = by_alpha = zero
    if with_order and isinstance(kernel.order, Fraction):
        by_order = mpmath.fsum(g * each for g, each in zip(cotangent, moves.of_order(), strict=True))
        by_alpha = -(_number(kernel.order) ** 2) * by_order
    elif with_order and adaptive:
        logs = [mpmath.log(each) for each in truth.weights]
        mean = mpmath.fsum(w * log**2 for w, log in zip(truth.weights, logs, strict=True))
        moved = [w * (mean - log**2) / 2 for w, log in zip(truth.weights, logs, strict=True)]
        by_alpha = mpmath.fsum(g * each for g, each in zip(cotangent, moved, strict=True))
    return RowVjp(scores, parameter, by_order, by_alpha if adaptive and with_order else None)


class _Moves:
    """How the weights of a row move; gaps are those of scores, so that ``s_i = max s − gap_i``."""

    def __init__(self, truth: RowTruth, order: Fraction | float, rule: Fixed | Anchored | Adaptive) -> None:
        self.truth, self.order, self.rule = truth, order, rule
        self.gaps = [_number(gap) for gap in truth.gaps]
        self.value = _number(rule.exact)
        self.finite = isinstance(order, Fraction)
        self.n = _number(order) if isinstance(order, Fraction) else None

    def by_score(self, unit: list[Any], k: int) -> list[Any]:
        """How the room of every key moves with score k: of ``βs``, of ``γ − d`` or of ``h²/2 + s``."""
        if isinstance(self.rule, Adaptive):
            return [self.value * each for each in unit]
        if isinstance(self.rule, Anchored):
            # The anchor is the largest score; where several share it, each moves it by its share, as a convention.
            anchor = mpmath.mpf(1) / self.truth.tied if k < self.truth.tied else mpmath.mpf(0)
            return [each - anchor for each in unit]
        return unit if self.finite else [each / self.value**2 for each in unit]

    def by_parameter(self) -> list[Any]:
        """How the room of every key moves with β, γ or h; up to a term that all share, for β."""
        if isinstance(self.rule, Adaptive):
            return [-gap for gap in self.gaps]
        # At a negative order γ has the other sign: γ − d falls as γ or h grow.
        side = -1 if self.order < 0 else 1
        if isinstance(self.rule, Anchored):
            return [mpmath.mpf(side)] * len(self.gaps)
        return [side * self.value if self.finite else 2 * gap / self.value**3 for gap in self.gaps]

    def of(self, room: Sequence[Any]) -> list[Any]:
        """How the weights move where the room of every key, or its logit at order ∞, moves by `room`."""
        weights = self.truth.weights
        if isinstance(self.rule, Adaptive) and self.finite:
            slopes = [weight / base for weight, base in zip(weights, self.truth.bases, strict=True)]
            # The threshold moves so that the weights stay 1 in sum.
            fall = mpmath.fsum(w * each for w, each in zip(slopes, room, strict=True)) / mpmath.fsum(slopes)
            return [w * (each - fall) for w, each in zip(slopes, room, strict=True)]
        rates = (
            [self.n * each / (self.truth.gamma - gap) for each, gap in zip(room, self.gaps, strict=True)]
            if (self.finite)
            else list(room)
        )
        return self._relative(rates)

    def of_order(self) -> list[Any]:
        """How the weights move with the order."""
        logs = [mpmath.log(base) for base in self.truth.bases]
        if not isinstance(self.rule, Adaptive):
            return self._relative(logs)
        # p = u^n with u = −βd/n − τ: its own power, and u, which moves with n and with τ.
        beta_gaps = [self.value * gap for gap in self.gaps]
        pairs = zip(self.truth.weights, self.truth.bases, logs, beta_gaps, strict=True)
        own = [p * log + p / u * gap / self.n for p, u, log, gap in pairs]
        slopes = [p / u for p, u in zip(self.truth.weights, self.truth.bases, strict=True)]
        fall = mpmath.fsum(own) / mpmath.fsum(slopes)
        return [each - w * fall for each, w in zip(own, slopes, strict=True)]

    def _relative(self, rates: Sequence[Any]) -> list[Any]:
        """How weights move whose unnormalized powers move by these rates, relative to each."""
        weights = self.truth.weights
        mean = mpmath.fsum(w * rate for w, rate in zip(weights, rates, strict=True))
        return [w * (rate - mean) for w, rate in zip(weights, rates, strict=True)]
