"""The records of the study of backends: a verdict at every order, and the curves that a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from kernelproof.reference.record import Record
from kernelproof.theory.convergence.records import CurveState, Ends, ErrorCurve, LineFit


class Verdict(StrEnum):
    """What was concluded; only PASSED is a pass."""

    PASSED = "passed"
    FAILED = "failed"
    NO_ANSWER = "no answer"
    UNDECIDED = "undecided"


class OrderVerdict(Record):
    """The judgement of the weights at one order.

    Attributes:
        order: n as the target received it.
        verdict: whether the weights are within the grade that the target promises.
        kappa: the largest κ of a weight; None where none was measured.
        why: why it is not passed, or "".
    """

    order: str
    verdict: Verdict
    kappa: float | None = None
    why: str = ""


class BackendPoint(Record):
    """One order of a target's curve, where it returned finite weights.

    Attributes:
        order: n as the target received it.
        error: distance of the returned weights from softmax.
        own: distance of the returned weights from the certified weights at that order: the observed floor.
        floor: the predicted floor, ``u·Σ unit/2``.
        kept: whether the point is above its floor, and so may be part of a fit.
    """

    order: str
    error: Ends
    own: Ends
    floor: float
    kept: bool


class BackendCurve(Record):
    """The curve of one target, device and dtype.

    Attributes:
        target: the name of the target.
        device: the device on which it ran.
        dtype: the dtype of the row and the weights.
        grade: the grade that the target promises; κ at every order is judged by it.
        verdict: the outcome: passed only if the weights passed at every order that was asked, at least one.
        why: why it is not passed, or "".
        refused: why orders were left out, or "".
        judged: the verdicts, by ascending order.
        points: the points of the figure, by ascending order.
        meets: the order where the first-order term meets the predicted floor, ``c₁/(u·Σ unit/2)``.
        kappa: the largest κ of all orders; None where none was measured.
        worst: the order of that κ.
        lowest: the order at which the distance to softmax is smallest.
        turns: the order from which the curve first turns upward, or None.
        fit: the line through the asymptotic orders above the floor, which judges nothing; None if there are too few.
    """

    target: str
    device: str
    dtype: str
    grade: str
    verdict: Verdict = Verdict.UNDECIDED
    why: str = ""
    refused: str = ""
    judged: list[OrderVerdict] = Field(default_factory=list)
    points: list[BackendPoint] = Field(default_factory=list)
    meets: float | None = None
    kappa: float | None = None
    worst: str | None = None
    lowest: str | None = None
    turns: str | None = None
    fit: LineFit | None = None

    @property
    def label(self) -> str:
        """The label in a legend: target and dtype, and the device unless it is the CPU."""
        return " ".join([self.target, self.dtype, *([] if self.device == "cpu" else [self.device])])


class BackendStudy(Record):
    """The curves of all targets, and the truth of the row.

    Attributes:
        row: the logits in float64; each dtype gets them rounded to it.
        truth: the exact curve of the row, over all orders of the study.
        curves: one for each target, device and dtype.
    """

    row: list[float]
    truth: ErrorCurve
    curves: list[BackendCurve]

    @property
    def passed(self) -> bool:
        """Whether every curve passed, there is one, and nothing speaks against the truth of the row."""
        right = self.truth.state not in {CurveState.FAILS, CurveState.UNDECIDED}
        return right and bool(self.curves) and all(curve.verdict is Verdict.PASSED for curve in self.curves)


def concluded(judged: Sequence[OrderVerdict]) -> tuple[Verdict, str]:
    """The outcome of a curve from the verdicts of its orders, and why it is not passed."""
    for verdict, words in ((Verdict.FAILED, "wrong at"), (Verdict.UNDECIDED, "undecided at")):
        found = [each for each in judged if each.verdict is verdict]
        if found:
            # κ says by how much; where several orders are as wrong, the first one is shown.
            worst = max(found, key=lambda each: -1.0 if each.kappa is None else each.kappa)
            return verdict, f"{words} {len(found)} of {len(judged)} orders; at n = {worst.order}: {worst.why}"
    return (Verdict.PASSED, "") if judged else (Verdict.UNDECIDED, "no order was asked")
