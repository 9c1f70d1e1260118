"""The record of `kernelproof converge`: converge.json holds it, and every other file is a pure function of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import CurveState, StudyRecord
from kernelproof.verify.studies.backend_records import BackendStudy, Verdict


class ConvergenceResults(HasBrief, Record):
    """Everything that one run found, without times, so that the same run on the same machine gives the same bytes.

    Attributes:
        passed: whether every curve of the studies is as proved, each study has one, and every backend is right at every
            order.
        seed: of all random numbers.
        orders: the exact orders of the studies.
        style: of the figures.
        venue: the venue whose widths the figures have.
        environment: machine and versions of the run.
        studies: of the certified values.
        backends: the study of backends on one row; None if it was not requested.
        pictures: the numbers of the other pictures.
    """

    format: Literal["kernelproof-convergence/1"] = Field(default="kernelproof-convergence/1", alias="schema")
    passed: bool
    interrupted: bool = False
    seed: int
    orders: list[str]
    style: str
    venue: str
    environment: dict[str, Any]
    studies: list[StudyRecord] = Field(default_factory=list)
    backends: BackendStudy | None = None
    pictures: list[PictureRecord] = Field(default_factory=list)

    def brief(self) -> Brief:
        """Say which studies passed."""
        title = f"kernelproof converge: {'passed' if self.passed else 'FAILED'}, seed {self.seed}"
        held = [*((each.slug, study_passed(each)) for each in self.studies)]
        held += [("backends", self.backends.passed)] if self.backends is not None else []
        return Brief(title, ("study", "verdict"), [(slug, "passed" if passed else "FAILED") for slug, passed in held])

    @property
    def reasons(self) -> list[str]:
        """Why the run has not passed, one line for each curve that has not; empty if it has."""
        found = [
            f"{study.slug}, {curve.datum}, {curve.norm.value}: {curve.state.value}"
            for study in self.studies
            for curve in study.curves
            if curve.state not in _FINE
        ]
        found += [f"{study.slug}: no curve was judged" for study in self.studies if not _judged(study)]
        if self.backends is not None:
            found += [
                f"backends, {curve.label}: {curve.verdict.value}: {curve.why}"
                for curve in self.backends.curves
                if curve.verdict is not Verdict.PASSED
            ]
            if self.backends.truth.state in {CurveState.FAILS, CurveState.UNDECIDED}:
                found.append(f"backends, the truth of the row: {self.backends.truth.state.value}")
        if self.interrupted:
            found.append("the run was interrupted, and the rest was not measured")
        return found or ([] if self.passed else ["nothing was judged"])

    @property
    def slugs(self) -> list[str]:
        """The names of all figures, in the order of the record."""
        found = [study.slug for study in self.studies]
        return [*found, *(["backends"] if self.backends else []), *(picture.slug for picture in self.pictures)]


_FINE = frozenset({CurveState.HOLDS, CurveState.DEGENERATE})


def study_passed(study: StudyRecord) -> bool:
    """Whether every curve is as proved, or is not judged because its first coefficient is 0, and at least one is."""
    return _judged(study) and all(curve.state in _FINE for curve in study.curves)


def _judged(study: StudyRecord) -> bool:
    return any(curve.state is not CurveState.DEGENERATE for curve in study.curves)
