"""The records of curves and fits: plain data, with enclosures as decimal strings rounded outward."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from fractions import Fraction

from flint import arb

from kernelproof.reference.record import Record
from kernelproof.theory.convergence.data import Source
from kernelproof.theory.convergence.norms import Norm

DIGITS = 18
"""Digits of the ends of an enclosure; more than the 2^-30 to which every error is known."""


class Ends(Record):
    """An interval that provably contains a number, with decimal ends."""

    lo: str
    hi: str

    @property
    def middle(self) -> float:
        """A float64 near the midpoint."""
        return (float(self.lo) + float(self.hi)) / 2


def ends(value: arb, digits: int = DIGITS) -> Ends:
    """The ball as decimal ends, rounded outward; a ball that is not finite becomes the whole real line.

    >>> ends(arb(1) / 4, 3)
    Ends(lo='0.25', hi='0.25')
    """
    if not value.is_finite():
        return Ends(lo="-Infinity", hi="Infinity")
    return Ends(
        lo=str(_decimal(value.lower(), Context(prec=digits, rounding=ROUND_FLOOR))),
        hi=str(_decimal(value.upper(), Context(prec=digits, rounding=ROUND_CEILING))),
    )


def _decimal(value: arb, context: Context) -> Decimal:
    mantissa, exponent = map(int, value.man_exp())
    exact = mantissa * Fraction(2) ** exponent
    return context.divide(Decimal(exact.numerator), Decimal(exact.denominator))


class Point(Record):
    """One order of a curve.

    Attributes:
        order: the exact order, as text.
        error: an enclosure of the error.
        prediction: the first-order term, ``c·n^slope``.
        remainder: an enclosure of the error minus that term.
        slope: slope of log error against log n, from the previous order to this one; None at the first.
        remainder_slope: the same for the remainder.
    """

    order: str
    error: Ends
    prediction: float
    remainder: Ends
    slope: Ends | None = None
    remainder_slope: Ends | None = None


class LineFit(Record):
    """The least-squares line through log error against log n, over the orders of a window: a number, and no judge.

    Attributes:
        limit: the theoretical slope.
        first: the least order.
        last: the largest order.
        count: how many orders there are.
        slope: an enclosure of the least-squares slope.
        intercept: an enclosure of the error that the line predicts at n = 1.
        ratio: the intercept divided by the exact coefficient; None without a coefficient.
    """

    limit: int
    first: str
    last: str
    count: int
    slope: Ends
    intercept: Ends
    ratio: Ends | None


class Window(Record):
    """The orders at which a curve is judged, and what was found there.

    Attributes:
        first: N, chosen before any error was measured: for every real n ≥ N it is proved that the error differs from
            ``c·n^s`` by at most ``bound·n^(s − 1)``.
        last: the largest order of the study that is at least N; None if there is none.
        count: how many orders of the study are in the window.
        bound: B, rounded upward.
        relative: B/c, rounded upward.
        slopes: the hull of the local slopes inside the window; None with fewer than two orders.
        ratio: ``error/(c·n^s)`` at `last`.
    """

    first: str
    last: str | None
    count: int
    bound: str
    relative: str
    slopes: Ends | None
    ratio: Ends | None


class CurveState(StrEnum):
    """The outcome for a curve; only HOLDS is a pass."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"
    UNPROVED = "no bound is proved"
    SHORT = "too few orders"
    DEGENERATE = "first coefficient is 0"


class ErrorCurve(Record):
    """The error of one quantity on one datum in one norm, over the orders.

    Attributes:
        datum: the name of the datum.
        source: the source of the datum.
        norm: how the error is measured.
        coefficient: the exact first coefficient, as an enclosure; None where it is 0.
        degenerate: why the first coefficient is 0, or "".
        absent: orders at which nothing is defined (an empty ball).
        points: by ascending order.
        window: where the curve is judged; None if the first coefficient is 0, or no bound is proved.
        fit: line through the error in the window; None if too few orders are in it.
        remainder_fit: the same through the remainder after the first-order term.
        state: the outcome.
    """

    datum: str
    source: Source
    norm: Norm
    coefficient: Ends | None
    degenerate: str
    absent: list[str]
    points: list[Point]
    window: Window | None
    fit: LineFit | None
    remainder_fit: LineFit | None
    state: CurveState


class StudyRecord(Record):
    """All curves of one study."""

    slug: str
    title: str
    says: str
    norms: list[Norm]
    curves: list[ErrorCurve]
