"""The condition-normalized error by its definition: exact weights at the corners of the input box (docs/theory.md §4).

A weight rises in its own score and falls in every other, under every rule, so its extremes over the box
``|δ_j| ≤ κu·moved_j`` lie at two corners. The oracle computes them on exact perturbed scores. The box is used
for elements where first order is no bound: near a kink, or where an input error changes a weight by a large
fraction of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import Adaptive, Fixed
from kernelproof.reference.rows import exact_row
from kernelproof.reference.solver import Solver, choose
from kernelproof.reference.variant.definition import Variant
from kernelproof.reference.weighting import effective
from kernelproof.verify.judging.grades import GRADE_LIMITS
from kernelproof.verify.judging.precision import Precision
from kernelproof.verify.records import Floats
from kernelproof.verify.truth.variants import corner_of_variant

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

STEPS = 4
"""Bisections, in log κ, inside the grade found: the reported κ is at most 2^(1/4)·(width) too large."""
BEYOND = (1e9, 1e20, 1e60, 1e160, 1e300)
"""Values of κ that are tried after those of the grades; a number that none of them admits has κ = ∞."""


def box_kappa(case: Case, scores: Floats, key: int, got: float, precision: Precision, stored: float = 0.0) -> float:
    """Compute the least κ that admits `got` as weight `key` of `scores`, rounded up to the resolution of `STEPS`.

    Args:
        case: gives kernel and rule.
        scores: (m,) float64, exact, −∞ = masked.
        key: which weight.
        got: what the target returned.
        precision: of the target.
        stored: what storage roundings may add to the weight.
    """
    if not np.isfinite(got):
        return float("inf")
    bounds = _bounds(case, scores, key, precision, stored)
    exact = Fraction(got)

    def admits(kappa: Fraction) -> bool:
        below, above = bounds(kappa)
        return below <= exact <= above

    # Beyond grade D a box of κu > 1 soon admits everything finite that is not masked.
    limits = [*(limit for limit in GRADE_LIMITS.values() if np.isfinite(limit)), *BEYOND]
    upper = next((limit for limit in limits if admits(Fraction(limit))), None)
    if upper is None:
        return float("inf")
    lower = max((limit for limit in limits if limit < upper), default=upper / 16)
    for _ in range(STEPS):
        middle = float(np.sqrt(lower * upper))
        if admits(Fraction(middle)):
            upper = middle
        else:
            lower = middle
    return float(upper)


def box_interval(
    case: Case, scores: Floats, key: int, kappa: float, precision: Precision, stored: float = 0.0
) -> tuple[Fraction, Fraction]:
    """Return the least and largest number that `kappa` admits as weight `key`; arguments as in `box_kappa`."""
    return _bounds(case, scores, key, precision, stored)(Fraction(kappa))


Corner = Callable[[Fraction, int], tuple[Fraction, Fraction]]
"""(κu, sign) -> a proved interval of the weight if its own gap is scaled by 1 − sign·κu, all others by 1 + sign·κu."""


def _corner(case: Case, scores: Floats, key: int) -> Corner:
    mechanism = case.mechanism
    rule = effective(mechanism)[1]
    solver = Solver(mechanism, choose("arb", mechanism), "zeros")
    exact = [None if np.isneginf(s) else Fraction(float(s)) for s in scores]
    top = max(s for s in exact if s is not None)
    # The bandwidth of a fixed rule is rounded too, which moves all scores together by the same amount again.
    factor = 1 if isinstance(rule, Adaptive) else 2
    moved = [None if s is None else factor * (abs(s) if isinstance(rule, Fixed) else top - s) for s in exact]

    def corner(step: Fraction, sign: int) -> tuple[Fraction, Fraction]:
        shifted = [
            None if s is None or d is None else s + (sign if j == key else -sign) * step * d
            for j, (s, d) in enumerate(zip(exact, moved, strict=True))
        ]
        truth = solver.solve(exact_row(shifted), 96)
        where = np.flatnonzero(truth.keys == key)
        if not len(where):
            return Fraction(0), Fraction(0)
        value = solver.publish([truth.weights[int(where[0])]], 96)[0]
        if isinstance(value, Fraction):
            return value, value
        low, high = (Fraction(np.nextafter(float(end()), way)) for end, way in ((value.lower, -1), (value.upper, 2)))
        return max(low, Fraction(0)), high

    return corner


def _bounds(
    case: Case, scores: Floats, key: int, precision: Precision, stored: float
) -> Callable[[Fraction], tuple[Fraction, Fraction]]:
    rule = case.parsed_rule
    corner = corner_of_variant(rule, scores, key) if isinstance(rule, Variant) else _corner(case, scores, key)
    unit, more = Fraction(precision.unit), Fraction(stored) + Fraction(precision.flushed)
    # Each end is rounded once more, to the dtype of the arrays; the lower one as the weight itself, as in a(κ).
    half = precision.half_step(corner(Fraction(0), 1)[1] + more)

    def bounds(kappa: Fraction) -> tuple[Fraction, Fraction]:
        above = corner(kappa * unit, 1)[1] * (1 + kappa * unit) + more
        below = corner(kappa * unit, -1)[0] * (1 - kappa * unit) - more
        return below - half, above + precision.half_step(above)

    return bounds
