"""The record of `kernelproof converge`: converge.json holds it, and every other file is a pure function of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import CurveState, StudyRecord
from kernelproof.verify.studies.convergence import BackendStudy


class ConvergenceResults(HasBrief, Record):
    """Everything that one run found, without times, so that the same run on the same machine gives the same bytes.

    Attributes:
        passed: whether every fit holds, each study has a fit, and no built-in backend turns upward or fails.
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
    seed: int
    orders: list[str]
    style: str
    venue: str
    environment: dict[str, Any]
    studies: list[StudyRecord] = Field(default_factory=list)
    backends: BackendStudy | None = None
    pictures: list[PictureRecord] = Field(default_factory=list)

    def brief(self) -> Brief:
        """Say which studies hold."""
        title = f"kernelproof converge: {'passed' if self.passed else 'FAILED'}, seed {self.seed}"
        held = [*((each.slug, study_passed(each)) for each in self.studies)]
        held += [("backends", self.backends.passed)] if self.backends is not None else []
        return Brief(title, ("study", "verdict"), [(slug, "passed" if passed else "FAILED") for slug, passed in held])

    @property
    def slugs(self) -> list[str]:
        """The names of all figures, in the order of the record."""
        found = [study.slug for study in self.studies]
        return [*found, *(["backends"] if self.backends else []), *(picture.slug for picture in self.pictures)]


def study_passed(study: StudyRecord) -> bool:
    """Whether every fitted curve holds and there is at least one: a study that decided nothing has not passed."""
    states = {curve.state for curve in study.curves}
    return CurveState.FAILS not in states and CurveState.HOLDS in states
