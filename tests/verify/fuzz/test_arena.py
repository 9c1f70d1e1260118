"""The judge outlives its target, and tells whose fault an end is."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from tests.verify.fuzz.conftest import FAULTY

import kernelproof
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Arena, Here, OutOfTime
from kernelproof.verify.fuzz.subject import Answer, kind
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import CRASH
from kernelproof.verify.targets.target import Target

Loaded = Callable[[str], Target]


def question(family: str, shape: str, feature: str) -> Question:
    text = f"entmax order=2 rule=adaptive:1 dtype=float32 family={family} shape={shape} feature={feature} seed=0"
    return Question(Subject(Case.parse(text)))


NAN, NINE, PLAIN = question("special", "2x7", "nan"), question("random", "2x9", "1"), question("random", "2x8", "1")


@pytest.mark.parametrize(
    ("name", "asked", "sort", "words"),
    [
        ("dies", NAN, "death", "exit code 0"),
        ("hangs", NINE, "hang", "no answer in 1 s"),
        ("eats", NINE, "memory", "out of memory"),
    ],
)
def test_what_ends_the_process_is_an_answer_and_the_next_question_has_one(
    faulty: Loaded, name: str, asked: Question, sort: str, words: str
) -> None:
    with Arena(faulty(name), Limits(seconds=1.0, memory=2**30)) as judge:
        assert judge.ask(PLAIN).failures == {}
        answer = judge.ask(asked)
        assert kind(answer.failures[CRASH]) == sort
        assert words in answer.failures[CRASH].message
        assert judge.ask(PLAIN).failures == {}
        assert judge.deaths == (0 if sort == "memory" else 1)


def test_a_hang_does_not_outlast_the_run(faulty: Loaded) -> None:
    started = time.monotonic()
    with Arena(faulty("hangs"), Limits(seconds=60.0)) as judge:
        judge.ask(PLAIN)
        judge.ends = time.monotonic() + 1.0
        with pytest.raises(OutOfTime):
            judge.ask(NINE)
    assert time.monotonic() - started < 30


def test_a_fresh_process_has_forgotten(faulty: Loaded) -> None:
    with Arena(faulty("changes"), Limits(seconds=5.0)) as judge:
        judge.ask(PLAIN)
        assert judge.ask(NINE).failures == {}
        judge.fresh()
        assert judge.ask(PLAIN).failures == {}


def test_a_recipe_that_cannot_be_built_is_no_failure(faulty: Loaded) -> None:
    text = "entmax order=2 rule=adaptive:1 dtype=float32 family=random shape=2x7 feature=much seed=0"
    with Arena(faulty("right"), Limits(seconds=5.0)) as judge:
        answer = judge.ask(Question(Subject(Case.parse(text))))
    assert "much" in answer.rejected
    assert not answer.failures


def test_the_death_of_the_judge_is_said(faulty: Loaded) -> None:
    with Arena(faulty("right"), Limits(seconds=5.0)) as judge:
        judge.ask(PLAIN)
        threading.Timer(0.0, os.kill, (judge.child.pid, signal.SIGKILL)).start()
        # Whichever question is under way when it ends, or the next one, has a new judge.
        answers = [judge.ask(PLAIN) for _ in range(4)]
    lost = [each.lost for each in answers if each.lost]
    assert set(lost) <= {"the process ended: killed by SIGKILL"}
    assert answers[-1].failures == {}
    assert answers[-1].decided > 0


def test_what_a_lost_judge_was_asked_is_in_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([Answer(undecided=1, lost="the process ended: killed by SIGKILL")])
    monkeypatch.setattr(Here, "ask", lambda *_, **__: next(told, Answer(decided=1)))
    found = kernelproof.fuzz(f"{FAULTY}:right", examples=3, serial=True, op="entmax", order="1", dtype="float32")
    (note,) = [each for each in found.notes if each.startswith("not judged: entmax order=1 ")]
    assert note.endswith("(the process ended: killed by SIGKILL)")
