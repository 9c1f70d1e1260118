"""Blame: what the end of a child process says, from the last step that it announced and the way it ended.

Child processes run our own code; targets have processes of their own (`kernelproof.verify.hosts`). So an end is never a
target's doing, and the caller decides by its own policy what becomes of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.process.endings import how_ended


class InternalError(KernelproofError):
    """Our own fault: an oracle or a check raised, or a child process ended outside of any target."""


class Doing(Enum):
    """What a child process is at."""

    STARTING = "starting"
    """It has not taken its first work yet."""
    OWN = "own"
    """It computes a truth, judges, or waits for a target."""
    BETWEEN = "between"
    """It has finished with one target and has not begun with the next."""


@dataclass(frozen=True)
class Step:
    """What a child process announces before it does it.

    Attributes:
        doing: the kind of step.
        place: what it is about, in the terms of the caller.
    """

    doing: Doing
    place: tuple[Any, ...] = ()


@dataclass(frozen=True)
class End:
    """How a child process ended before it finished its work.

    Attributes:
        step: what it was at.
        timed_out: whether it had used up its time.
        how: the exit code or the signal, in words.
        seconds: the time it had; None: no limit.
    """

    step: Step
    timed_out: bool
    how: str
    seconds: float | None = None

    @property
    def reason(self) -> str:
        """Why there is no answer."""
        if self.timed_out and self.seconds is not None:
            return f"no answer in {self.seconds:g} s"
        return f"the process ended: {self.how}"


class Ended(Exception):
    """Raised for work whose process ended before it was finished."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


def blame(step: Step, code: int | None, *, timed_out: bool, seconds: float | None) -> End:
    """The record of an end.

    Args:
        step: the last one that was announced.
        code: the exit code; None if the process had to be killed from outside.
        timed_out: whether its time was up.
        seconds: the time it had.

    >>> blame(Step(Doing.OWN), -9, timed_out=False, seconds=60.0).reason
    'the process ended: killed by SIGKILL'
    >>> blame(Step(Doing.OWN), 1, timed_out=True, seconds=60.0).reason
    'no answer in 60 s'
    """
    return End(step, timed_out, how_ended(code), seconds)
