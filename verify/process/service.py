"""What a child process does: take work, do it, write what came of it to the journal, and ring.

Everything of substance goes through the journal, a file for each piece of work. The connection to the parent carries
nothing but the path of the next one, and in the other direction single bytes that say "look".
"""

from __future__ import annotations

import builtins
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from kernelproof.verify.process.blame import InternalError
from kernelproof.verify.process.descriptors import moved_high
from kernelproof.verify.process.journal import Journal, Reader
from kernelproof.verify.process.limits import stop_watch
from kernelproof.verify.process.orphan import Origin, end_with
from kernelproof.verify.process.tree import become_subreaper


@dataclass(frozen=True)
class Work:
    """What a child process is to do.

    Attributes:
        function: called with the journal and `arguments`, where it announces its steps; what it returns is the answer.
        arguments: of the function, pickled.
        seconds: the time it has, until it gives itself another limit; None: no limit.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class Done:
    """The work is finished.

    Attributes:
        answer: what the function returned.
    """

    answer: Any


@dataclass(frozen=True)
class Raised:
    """The work raised an exception.

    Attributes:
        error: the exception, or None for one that the parent might not be able to read without importing a target.
        trace: its traceback.
    """

    error: BaseException | None
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """The record of `error`."""
        trace = "".join(traceback.format_exception(error))
        module = type(error).__module__
        if module == builtins.__name__ or module.startswith("kernelproof."):
            try:
                pickle.loads(pickle.dumps(error))  # noqa: S301 (made one line above)
            except Exception:  # noqa: BLE001 (whatever an exception does when it is copied)
                return cls(None, trace)
            return cls(error.with_traceback(None), trace)
        return cls(None, trace)

    @property
    def exception(self) -> BaseException:
        """What the parent raises."""
        if self.error is None:
            return InternalError(self.trace)
        self.error.add_note(self.trace)
        return self.error


def call(_: Journal, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The answer of a `function` that announces no steps."""
    return function(**arguments)


def serve(connection: Connection, _: Callable[..., Any], origin: Origin) -> None:
    """Do one piece of work after another until the parent is gone; this never returns.

    The second argument is not used here: to unpickle it is to import its module, before there is any work.
    """
    # What interrupts the command may reach its whole group of processes; the parent ends its children.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    become_subreaper()
    end_with(origin)
    parent = Connection(moved_high(os.dup(connection.fileno())))
    connection.close()
    try:
        while True:
            _work(os.fsdecode(parent.recv_bytes()))
            # A target may have changed that for every file of the process.
            os.set_blocking(parent.fileno(), True)
            os.write(parent.fileno(), b"\0")
    except (EOFError, OSError):
        os._exit(0)
    os._exit(0)


def _work(path: str) -> None:
    """Do the work in the journal at `path`."""
    process, journal = os.getpid(), Journal(path)
    said: Done | Raised
    try:
        (work,) = Reader(path).new()
        journal.allow(work.seconds)
        said = Done(work.function(journal, *work.arguments))
    except BaseException as error:  # noqa: BLE001 (an exit is no reason to go without an answer)
        said = Raised.of(error)
    if os.getpid() != process:
        # What was called forked, and this is the process that came back.
        os._exit(0)
    stop_watch()
    try:
        journal.add(said)
    except Exception as error:  # noqa: BLE001 (an answer that cannot be pickled)
        said = Raised.of(error)
        journal.add(said)
    journal.close()
