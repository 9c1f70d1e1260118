"""Scripts of a run: the line that repeats a failure says so where the failure does not show in a fresh process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from tests.meta.planting import check_of

from kernelproof.api import verify
from kernelproof.reports.html import page
from kernelproof.reports.markdown import markdown
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.scripts import NOT_ALONE, Alone
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.record.schema import Check, Verdict, Worst
from kernelproof.verify.records import ACCURACY, CRASH, Failure

SOURCE = """
import numpy as np

CALLS = []

def stale(z):
    CALLS.append(z.shape)
    wide = z.astype(np.float64)
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) * (1 + (len(CALLS) > 100))).astype(z.dtype)

stale.KERNELPROOF = {"op": "entmax", "order": "inf", "gradients": []}
"""
CASE = "entmax order=2 rule=adaptive:1 dtype=float64 family=random shape={} feature=1 seed=0"
SMALL, OTHER, HUGE = (CASE.format(shape) for shape in ("3x8", "3x9", "4096x4096"))


def test_the_line_of_a_failure_that_needs_earlier_calls_says_so(tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    file.write_text(SOURCE, encoding="utf-8")
    results = verify(f"{file}:stale", suite="quick", dtype="float64", order="inf", device="cpu")
    check = check_of(results, ACCURACY)
    assert check.verdict is Verdict.FAIL
    assert check.worst is not None
    for failure in (check.worst, *check.failures):
        assert failure.reproduce.endswith(NOT_ALONE)
        assert failure.reproduce.removesuffix(NOT_ALONE).endswith(f"--case '{failure.case}'")
    for report in (markdown(results), page(results)):
        assert NOT_ALONE in report


@dataclass
class Told:
    """A judge that gives the answers it was told, and notes what it was asked after which fresh start."""

    answers: dict[str, Answer]
    done: list[str] = field(default_factory=list)

    def ask(self, question: Question) -> Answer:
        assert question.whole, "a line with --case runs every check, with gradients"
        self.done.append(question.subject.case.text)
        return self.answers[question.subject.case.text]

    def fresh(self) -> None:
        self.done.append("fresh")


def failing(*texts: str) -> Check:
    found = [Worst(case=text, reproduce=f"line of {text}", message="wrong") for text in texts]
    return Check(id=ACCURACY, title="", verdict=Verdict.FAIL, failed=2, worst=found[0], failures=found)


PASSES, FAILS = Answer(called=True), Answer({ACCURACY: Failure("wrong")}, called=True)


@pytest.mark.parametrize(
    ("answer", "marked"),
    [
        (PASSES, True),
        (Answer({"another": Failure("wrong")}, called=True), True),
        (FAILS, False),
        (Answer({CRASH: Failure("no answer in 5 s")}, called=True), False),
        (Answer(undecided=1), False),
    ],
)
def test_only_what_passes_alone_is_marked(answer: Answer, marked: bool) -> None:
    told = Told({SMALL: answer, OTHER: FAILS})
    found = Alone(cast("Judge", told)).told(failing(SMALL, OTHER))
    said: Any = found.worst
    assert (said.reproduce == f"line of {SMALL}{NOT_ALONE}") is marked
    assert [each.reproduce.endswith(NOT_ALONE) for each in found.failures] == [marked, False]
    assert told.done[:2] == ["fresh", SMALL]
    # Where the worst case fails alone the others are not run, and none is run twice.
    assert told.done[2:] == (["fresh", OTHER] if marked else [])


def test_a_large_case_is_not_run_again() -> None:
    told = Told({})
    assert Alone(cast("Judge", told)).told(failing(HUGE)) == failing(HUGE)
    assert told.done == []
