"""The arena: a target runs in its own child process, so that it cannot end the search.

The child process is a `kernelproof.verify.process.child.Child`, which reports how and where it ended. This module
adds what a search needs: every end of the process becomes an answer, only an end during a call of the target is a
failure, and no wait outlasts the run.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from kernelproof.reference.errors import TargetError
from kernelproof.verify.fuzz.answers import Question, reply
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.process.blame import Doing, End, InternalError, came_back
from kernelproof.verify.process.child import START_SECONDS, Child
from kernelproof.verify.process.journal import Journal
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.service import Done, Raised, Work
from kernelproof.verify.records import CRASH, Failure
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.renderer import Script
from kernelproof.verify.workers.guard import Guard
from kernelproof.verify.workers.judge import JUDGING
from kernelproof.verify.workers.worker import guard_of, limit_memory, prepare


class OutOfTime(BaseException):
    """The time of the run is up; not an `Exception`, so that no search mistakes it for a failure."""


class Judge(Protocol):
    """Answers questions about one target."""

    target: Target
    deaths: int

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return an `Answer`, whatever the target does; for errors, a text if they cannot be had."""

    def fresh(self) -> None:
        """Discard the state that earlier calls left in the target, if possible."""


class Here:
    """A judge in this process, without protection from the target: for tests."""

    def __init__(self, target: Target) -> None:
        self.target, self.deaths = target, 0

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return the answer; its `seconds` are 0, because the time of this process belongs to the caller."""
        content = reply(question, guard_of(self.target), lambda *_: None)
        return replace(content, seconds=0.0) if isinstance(content, Answer) else content

    def fresh(self) -> None:
        """Do nothing: a process cannot forget."""


class Arena:
    """A judge in a child process, which is replaced whenever the target ends it.

    Args:
        target: the target to judge.
        limits: limits of each call; truth and judging may take `patience` times as long.
        ends: the value of `time.monotonic` at which every wait raises `OutOfTime`; None: never.
    """

    def __init__(self, target: Target, limits: Limits, ends: float | None = None) -> None:
        self.target, self.limits, self.ends = target, limits, ends
        self.deaths = 0
        self.child = Child(Work(_load, (target, limits), START_SECONDS), threads=1)

    def __enter__(self) -> Self:
        self.child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()

    def fresh(self) -> None:
        """Stop the process, so that a new one answers the next question."""
        self.child.stop()

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return the answer; `seconds` replaces the time limit of each call.

        Raises:
            InternalError: kernelproof itself failed.
            OutOfTime: the time of the run is up.
            TargetError: the target can no longer be loaded.
        """
        self._prepare()
        limits = self.limits if seconds is None else replace(self.limits, seconds=seconds)
        self.child.give(Work(_reply, (question, limits), limits.own_seconds))
        said = self._said()
        if isinstance(said, End):
            self.deaths += 1
            return _answer_of(said, question)
        if isinstance(said, Raised):
            msg = f"in the case {question.subject.case.text!r}:\n{said.trace}"
            raise InternalError(msg)
        returned = [place for place in self.child.returned if place]
        if not returned or question.wants != "answer":
            return said.answer
        crash = Failure(message=came_back(returned[-1][1]), kappa=float("inf"))
        return replace(said.answer, failures={**said.answer.failures, CRASH: crash})

    def _prepare(self) -> None:
        """Ensure that an idle process has loaded the target."""
        if not self.child.alive:
            self.child.start()
        if not self.child.busy:
            return
        said = self._said()
        if isinstance(said, End):
            self.deaths += 1
            msg = f"the target {self.target.name!r} cannot be loaded: loading it ended the process ({said.how})"
            raise TargetError(msg)
        if isinstance(said, Raised):
            self.child.stop()
            raise said.exception

    def _said(self) -> Done | Raised | End:
        """Wait for the outcome of the work."""
        said = self.child.wait(self.ends)
        if said is None:
            self.child.stop()
            raise OutOfTime
        return said


def _answer_of(end: End, question: Question) -> Any:
    """The answer that the end of the process stands for."""
    if question.wants == "script":
        return Script()
    if question.wants != "answer":
        return end.message if end.in_call else f"no answer: {end.how}"
    if end.in_call:
        return Answer(failures={CRASH: Failure(message=end.message, kappa=float("inf"))}, called=True)
    # The process ended while it computed the truth or judged, for which the target is not responsible.
    return Answer(undecided=1)


_LOADED: list[Guard] = []
"""The target that the child process of an arena has loaded."""


def _load(journal: Journal, target: Target, limits: Limits) -> None:
    """Load `target`; runs in the child."""
    prepare(journal, ())
    journal.step(Doing.LOADING)
    _LOADED[:] = [guard_of(target)]
    limit_memory(limits, (target,))


def _reply(journal: Journal, question: Question, limits: Limits) -> Any:
    """Answer `question`; runs in the child."""

    def step(check: str, call: str) -> None:
        if call == JUDGING:
            journal.step(Doing.OWN, seconds=limits.own_seconds)
        else:
            journal.step(Doing.CALLING, check, call, call=call, seconds=limits.seconds)

    journal.step(Doing.OWN)
    return reply(question, _LOADED[0], step, journal.returned)
