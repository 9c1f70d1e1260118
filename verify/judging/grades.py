"""Grades: the largest κ that each allows, in units of the roundoff of the compute dtype (docs/theory.md §4)."""

from __future__ import annotations

from collections.abc import Mapping

GRADE_LIMITS: Mapping[str, float] = {"A": 4.0, "B": 32.0, "C": 1e3, "D": 1e6, "E": float("inf")}
"""The largest κ of each grade."""
WIDEST = 2.0**-4
"""The largest κ·u within which rounding explains a wrong support: beyond, no weight would be certain."""
SHARPEST = 2.0**-8
"""The same for quantities that do not depend on conditioning: a sum of weights, a distance from a hull."""
UNGRADED = "–"
"""Stands for a grade where no error was measured."""


def limit_of(grade: str) -> float:
    """The largest κ that `grade` allows.

    >>> limit_of("C"), limit_of("E")
    (1000.0, inf)
    """
    return GRADE_LIMITS[grade]


def power_of(grade: str) -> float:
    """The κ by which the power of a comparison is judged: as `limit_of`, and that of D for E, which allows anything."""
    return min(limit_of(grade), GRADE_LIMITS["D"])


def band_of(grade: str, unit: float) -> float:
    """The κ within which rounding may explain a wrong support or row, for the unit roundoff `unit`.

    Grades D and E forgive large errors of a weight, and none of these, so their band must not grow with them.
    """
    return max(GRADE_LIMITS["A"], min(power_of(grade), WIDEST / unit))


def sharp_of(grade: str, unit: float) -> float:
    """The κ that `grade` allows for a sum of weights or a distance from a hull, which conditioning does not excuse."""
    return max(GRADE_LIMITS["A"], min(limit_of(grade), SHARPEST / unit))


def grade_of(kappa: float) -> str:
    """The grade of a worst κ; NaN and infinity are F (docs/theory.md §4)."""
    if not kappa < float("inf"):
        return "F"
    return next(grade for grade, limit in GRADE_LIMITS.items() if kappa <= limit)
