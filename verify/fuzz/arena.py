"""A judge: it asks a target about subjects, in a process of its own that the target may take down.

The child tells the parent before each call of the target what it is about to do. So the parent knows, when the
child is gone or does not answer in time, whether the target is to blame. The watchdog is `faulthandler`, a
thread of C code that ends the process also if the target holds the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from os import devnull
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from kernelproof.reference.errors import TargetError
from kernelproof.verify.fuzz.answers import Question, reply
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.process.journal import JUDGING, RETURNED
from kernelproof.verify.process.limits import exhausted
from kernelproof.verify.process.spawning import Context, how_ended, threads_limited
from kernelproof.verify.records import CRASH, Failure
from kernelproof.verify.targets.target import Target
from kernelproof.verify.workers.runner import InternalError
from kernelproof.verify.workers.tasks import Limits
from kernelproof.verify.workers.worker import guard_of, limit_memory, prepare

START_SECONDS = 300.0
"""A process that does not load its target in this time is given up; importing torch cold takes tens of seconds."""
GRACE = 5.0
"""What the parent waits beyond a limit for the watchdog of the child, before it ends the child itself."""


class OutOfTime(BaseException):
    """The run has to end; no Exception, so that no search takes it for a failure."""


class Judge(Protocol):
    """Who answers questions about one target."""

    target: Target
    deaths: int

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """The answer: an `Answer` whatever the target does; for other wants a text says why there is none."""

    def fresh(self) -> None:
        """Forget whatever state earlier calls left in the target, if that is possible."""


class Here:
    """Answers in this process, without protection from the target: for tests."""

    def __init__(self, target: Target) -> None:
        self.target, self.deaths = target, 0

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """The answer; its time is this process's own, which its caller counts."""
        content = reply(question, guard_of(self.target), lambda *_: None)
        return replace(content, seconds=0.0) if isinstance(content, Answer) else content

    def fresh(self) -> None:
        """Nothing: a process cannot forget."""


class Arena:
    """Answers from a process that is replaced whenever the target has ended it.

    Args:
        target: what is judged.
        limits: of the calls of one question; truth and judging may take `patience` times as long.
        ends: the value of `time.monotonic` at which every wait ends with `OutOfTime`; None: never.
    """

    def __init__(self, target: Target, limits: Limits, ends: float | None = None) -> None:
        self.target, self.limits, self.ends = target, limits, ends
        self.deaths = 0
        self.process: Any = None
        self.pipe: Connection | None = None
        self.started = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        context = Context()
        here, there = context.Pipe()
        with threads_limited(1):
            self.process = context.Process(target=serve, args=(there, self.target, self.limits))
            self.process.start()
        there.close()
        self.pipe, self.started = here, False

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
        if self.pipe is not None:
            self.pipe.close()
        self.process = self.pipe = None

    def fresh(self) -> None:
        """A new process."""
        self._stop()

    def ask(self, question: Question, *, seconds: float | None = None) -> Any:
        """The answer; `seconds` replaces the time that the calls may take.

        Raises:
            InternalError: our own fault.
            OutOfTime: the run is over.
            TargetError: the target can no longer be loaded.
        """
        if self.process is None:
            self._start()
        assert self.pipe is not None  # `_start` has set it
        allowed = self.limits.seconds if seconds is None else seconds
        step: tuple[str, str] = ("", JUDGING)
        asked, returned = False, None
        since = time.monotonic()
        with suppress(BrokenPipeError):  # then the process has died, and the next read says so
            self.pipe.send((question, allowed))
        while True:
            if not self.started:
                wait = START_SECONDS
            else:
                wait = (allowed if step[1] != JUDGING else allowed * self.limits.patience) + GRACE
            try:
                message = self._receive(wait)
            except TimeoutError:
                message = None
            if message is None:
                late = time.monotonic() - since >= allowed
                return self._gone(question, step if asked else None, allowed, late=late)
            word, content = message
            since = time.monotonic()
            if word == "step":
                step, asked = content, True
            elif word == "loaded":
                self.started = True
            elif word == RETURNED:
                returned = content
            elif word == "refused":
                raise TargetError(content)
            elif word == "fault":
                msg = f"in the case {question.subject.case.text!r}:\n{content}"
                raise InternalError(msg)
            else:
                if word == "retired":
                    # What the target does not give back, the next question would lack.
                    self._stop()
                if returned is None or question.wants != "answer":
                    return content
                message = f"the {returned[1]} call: it forked, and the child came back as well"
                crash = Failure(message=message, kappa=float("inf"))
                return replace(content, failures={**content.failures, CRASH: crash})

    def _receive(self, seconds: float) -> Any:
        """The next message, None if the process is gone."""
        assert self.pipe is not None
        until = time.monotonic() + seconds
        end = until if self.ends is None else min(until, self.ends)
        if not self.pipe.poll(max(end - time.monotonic(), 0.0)):
            if self.ends is not None and time.monotonic() >= self.ends:
                self._stop()
                raise OutOfTime
            raise TimeoutError
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def _gone(self, question: Question, step: tuple[str, str] | None, allowed: float, *, late: bool) -> Any:
        """What the end of the process says about the target; `late`: the call had had all its time."""
        started, ended = self.started, self._ended()
        self.deaths += 1
        if not started:
            msg = f"the target {self.target.name!r} cannot be loaded: loading it ended the process ({ended})"
            raise TargetError(msg)
        if step is None or step[1] == JUDGING:
            # Neither the truth nor a judgement is the target's to answer for.
            nothing = "" if question.wants == "script" else f"no answer: {ended}"
            return Answer(undecided=1) if question.wants == "answer" else nothing
        reason = f"no answer in {allowed:g} s" if late else f"the process ended: {ended}"
        message = f"the {step[1]} call: {reason}"
        if question.wants != "answer":
            return "" if question.wants == "script" else message
        return Answer(failures={CRASH: Failure(message=message, kappa=float("inf"))}, called=True)

    def _ended(self) -> str:
        """How the process ended; it is over afterwards."""
        self.process.join(0.5)
        code = self.process.exitcode
        self._stop()
        return how_ended(code)


def serve(pipe: Connection, target: Target, limits: Limits) -> None:
    """What the child does: load the target once, then answer until the parent is gone."""
    prepare(())
    try:
        guard = guard_of(target)
        limit_memory(limits, (target,))
    except TargetError as error:
        pipe.send(("refused", str(error)))
        return
    pipe.send(("loaded", None))
    with Path(devnull).open("w", encoding="ascii") as sink:
        while True:
            try:
                question, seconds = pipe.recv()
            except EOFError:
                return

            def step(check: str, call: str, seconds: float = seconds) -> None:
                pipe.send(("step", (check, call)))
                factor = limits.patience if call == JUDGING else 1.0
                faulthandler.dump_traceback_later(seconds * factor, exit=True, file=sink)

            try:
                faulthandler.dump_traceback_later(seconds * limits.patience, exit=True, file=sink)
                content = reply(question, guard, step, lambda *at: pipe.send((RETURNED, at)))
            except Exception:  # noqa: BLE001 (an exception of ours is reported as such, not as the target's)
                pipe.send(("fault", traceback.format_exc()))
            else:
                pipe.send(("retired" if exhausted() else "done", content))
            finally:
                faulthandler.cancel_dump_traceback_later()
