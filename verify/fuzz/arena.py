"""The arena: questions about a target are answered in a child process, so that nothing in them can end the search.

The child judges, and calls the target in a host of its own. This module adds what a search needs: the end of the child
becomes an answer, and no wait outlasts the run.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from kernelproof.reference.errors import TargetError
from kernelproof.verify.fuzz.answers import Question, reply
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.hosts.remote import stop_all
from kernelproof.verify.hosts.respondent import local_of
from kernelproof.verify.process.blame import Doing, End, InternalError
from kernelproof.verify.process.child import START_SECONDS, Child
from kernelproof.verify.process.journal import Journal
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.service import Done, Raised, Work
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.renderer import Script
from kernelproof.verify.workers.worker import GRACE, prepare, remote_of


class OutOfTime(BaseException):
    """The time of the run is up; not an `Exception`, so that no search mistakes it for a failure."""


class Judge(Protocol):
    """Answers questions about one target."""

    target: Target
    deaths: int
    ends: float | None
    """The value of `time.monotonic` at which every wait raises `OutOfTime`; None: never."""

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return an `Answer`, whatever the target does; for errors, a text if they cannot be had."""

    def fresh(self) -> None:
        """Discard the state that earlier calls left in the target, if possible."""


class Here:
    """A judge in this process, without protection from the target: for tests."""

    def __init__(self, target: Target) -> None:
        self.target, self.deaths = target, 0
        self.ends: float | None = None

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return the answer; its `seconds` are 0, because the time of this process belongs to the caller."""
        content = reply(question, local_of(self.target))
        return replace(content, seconds=0.0) if isinstance(content, Answer) else content

    def fresh(self) -> None:
        """Do nothing: a process cannot forget."""


class Silent:
    """A judge without time for any question."""

    def __init__(self, judge: Judge) -> None:
        self.target, self.deaths, self.ends = judge.target, judge.deaths, judge.ends

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Raise `OutOfTime`."""
        raise OutOfTime

    def fresh(self) -> None:
        """Do nothing."""


class Arena:
    """A judge in a child process, and the target in a host of it, which is replaced whenever the target ends it.

    Args:
        target: the target to judge.
        limits: limits of the calls for one question; truth and judging may take `patience` times as long.
        ends: the value of `time.monotonic` at which every wait raises `OutOfTime`; None: never.
    """

    def __init__(self, target: Target, limits: Limits, ends: float | None = None) -> None:
        self.target, self.limits, self.ends = target, limits, ends
        self.deaths = 0
        self.child = Child(Work(prepare, (), START_SECONDS), threads=1)

    def __enter__(self) -> Self:
        self.child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()

    def fresh(self) -> None:
        """Have a new host answer the next question."""
        self._do(Work(_fresh, (), START_SECONDS))

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """Return the answer; `seconds` replaces the time limit of the calls.

        Raises:
            InternalError: kernelproof itself failed.
            OutOfTime: the time of the run is up.
            TargetError: the target can no longer be loaded.
        """
        limits = self.limits if seconds is None else replace(self.limits, seconds=seconds)
        said = self._do(Work(_reply, (question, self.target, limits), START_SECONDS))
        if isinstance(said, End):
            # The truth or a judgement took too long, or somebody ended the process: the target is not to blame.
            return _undecided(said, question)
        if isinstance(said, Raised):
            if isinstance(said.error, TargetError):
                raise said.error
            msg = f"in the case {question.subject.case.text!r}:\n{said.trace}"
            raise InternalError(msg)
        content, died = said.answer
        self.deaths += died
        return content

    def _do(self, work: Work) -> Done | Raised | End:
        """Do `work` in the child process, which is started if it has to be."""
        if not self.child.alive:
            self.child.start()
        if self.child.busy and isinstance(said := self._said(), End | Raised):
            return said
        self.child.give(work)
        return self._said()

    def _said(self) -> Done | Raised | End:
        """Wait for the outcome of the work."""
        said = self.child.wait(self.ends)
        if said is None:
            self.child.stop()
            raise OutOfTime
        return said


def _undecided(end: End, question: Question) -> Any:
    """The answer that the end of the judging process stands for."""
    if question.wants == "script":
        return Script()
    return f"no answer: {end.how}" if question.wants != "answer" else Answer(undecided=1, lost=end.reason)


def _fresh(_: Journal) -> None:
    """End the hosts; runs in the child."""
    stop_all()


def _reply(journal: Journal, question: Question, target: Target, limits: Limits) -> tuple[Any, bool]:
    """The answer, and whether the host of the target ended; runs in the child."""
    remote, _ = remote_of(target, limits)
    journal.step(Doing.OWN)
    journal.allow(None)
    remote.load()
    journal.step(Doing.OWN, seconds=limits.own_seconds + limits.seconds + GRACE)
    content = reply(question, remote)
    return content, remote.fate is not None
