"""Grades: the largest κ that each allows in a format (docs/theory.md §4)."""

from __future__ import annotations

from collections.abc import Mapping

from kernelproof.reference.formats import Format

GRADE_LIMITS: Mapping[str, float] = {"A": 4.0, "B": 32.0, "C": 1e3, "D": 1e6, "E": float("inf")}
"""The largest κ of each grade, before `WIDEST`."""
WIDEST = 2.0**-4
"""The largest κ·u of grades B and C: a wider box would allow errors above a sixteenth of a weight and mean nothing."""
SHARPEST = 2.0**-8
"""The same for quantities that do not depend on conditioning: a sum of weights, a distance from a hull."""
UNGRADED = "–"
"""Stands for a grade where no error was measured."""


def limit_of(grade: str, target: Format) -> float:
    """The largest κ that `grade` allows in the format `target`; of B and C at most ``WIDEST/u``, but never below A.

    >>> from kernelproof.reference.formats import FORMATS
    >>> limit_of("C", FORMATS["float32"]), limit_of("C", FORMATS["bfloat16"]), limit_of("D", FORMATS["bfloat16"])
    (1000.0, 16.0, 1000000.0)
    """
    limit = GRADE_LIMITS[grade]
    if grade in {"B", "C"}:
        return max(GRADE_LIMITS["A"], min(limit, WIDEST / target.unit_roundoff))
    return limit


def sharp_of(grade: str, target: Format) -> float:
    """The κ that `grade` allows for a sum of weights or a distance from a hull: as `limit_of`, within `SHARPEST`."""
    return max(GRADE_LIMITS["A"], min(limit_of(grade, target), SHARPEST / target.unit_roundoff))


def band_of(grade: str, target: Format) -> float:
    """The κ within which rounding may explain a wrong support, sum or row: as `limit_of`, with `WIDEST` for D and E.

    Grades D and E forgive large errors of a weight, and none of these, so their band must not grow with them.
    """
    limit = min(limit_of(grade, target), GRADE_LIMITS["D"])
    return max(GRADE_LIMITS["A"], min(limit, WIDEST / target.unit_roundoff))


def grade_of(kappa: float, target: Format) -> str:
    """The grade of a worst κ in the format `target`; NaN and infinity are F (docs/theory.md §4)."""
    if not kappa < float("inf"):
        return "F"
    return next(grade for grade in GRADE_LIMITS if kappa <= limit_of(grade, target))
