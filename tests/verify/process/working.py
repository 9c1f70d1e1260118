"""Work for the child processes of the tests: a function for each way to finish, to fail, and to end a process."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.process.blame import Doing
from kernelproof.verify.process.journal import Journal


class Foreign(Exception):
    """An exception that the parent could not read without importing a module of someone else."""


def nothing(_: Journal) -> None:
    """Prepare nothing."""


def answers(_: Journal, value: Any) -> Any:
    """Return what came."""
    return value


def pid(_: Journal) -> int:
    """Return the number of the process."""
    return os.getpid()


def waits_for_another(_: Journal, folder: str) -> int:
    """Return the number of the process, once another one has come to `folder` as well."""
    (Path(folder) / str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.01)
    return os.getpid()


def tells(journal: Journal, count: int) -> int:
    """Tell `count` records."""
    for number in range(count):
        journal.tell("record", number)
    return count


def refuses(journal: Journal) -> None:
    """Fail to load a target."""
    journal.step(Doing.OWN)
    msg = "no such target"
    raise TargetError(msg)


def raises(journal: Journal, kind: str) -> None:
    """Raise an error of ours, a built-in one, one of someone else, or an exit."""
    journal.step(Doing.OWN, 5)
    errors = {"ours": DomainError, "built-in": ValueError, "foreign": Foreign, "exit": SystemExit}
    msg = "because"
    raise errors[kind](msg)


def cannot_be_sent(_: Journal) -> Any:
    """Return what cannot be pickled."""
    return lambda: None


def dies(journal: Journal, how: str) -> None:
    """Tell a record, then end the process in a call."""
    journal.tell("before")
    journal.step(Doing.OWN, 1, 2)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(how))


def dies_at_once(_: Journal) -> None:
    """End the process."""
    os._exit(3)


def hangs(journal: Journal, how: str, seconds: float | None) -> None:
    """Give no answer, and keep the watchdog from biting."""
    journal.step(Doing.OWN, seconds=seconds)
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "unwatched":
        faulthandler.cancel_dump_traceback_later()
    time.sleep(600)


def hangs_with_a_child(journal: Journal, seconds: float) -> None:
    """Give no answer, and leave a process that holds every file open."""
    journal.step(Doing.OWN, seconds=seconds)
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    time.sleep(600)


def closes(journal: Journal, end: int) -> int:
    """Close every file but the standard streams, up to a number; return the number of the process."""
    journal.step(Doing.OWN)
    os.closerange(3, end)
    return os.getpid()


def floods(journal: Journal) -> int:
    """Write into every file that takes it; return the number of the process."""
    journal.step(Doing.OWN)
    for number in range(3, 1024):
        try:
            os.set_blocking(number, False)
            os.write(number, b"flood " * 10_000)
        except OSError:
            continue
    return os.getpid()


def forks(journal: Journal) -> str:
    """Come back twice, the second time a little later."""
    if os.fork() == 0:
        time.sleep(0.2)
        journal.tell("from the other one")
        return "twice"
    os.wait()
    return "once"


def leaves_a_killer(_: Journal, marker: str) -> None:
    """Leave a thread that ends the process after the answer."""

    def kill() -> None:
        time.sleep(0.3)
        Path(marker).touch()
        os._exit(9)

    threading.Thread(target=kill, daemon=True).start()


def in_time_after(journal: Journal, seconds: float) -> str:
    """Take longer than the limit of the work, by limits of its own."""
    for _ in range(3):
        journal.step(Doing.OWN, seconds=2 * seconds)
        time.sleep(seconds)
    return "in time"


def path_and_variable(_: Journal) -> tuple[list[str], str | None]:
    """Where this process looks for modules, and whether programs that it starts look elsewhere than usual."""
    return list(sys.path), os.environ.get("PYTHONSAFEPATH")
