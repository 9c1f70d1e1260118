"""One supervised child process: its watchdog, or else its parent, kills work that hangs.

Truth and judgements run in such processes: for `verify` in a `pool.Pool` of them, for `fuzz` and `worst-case` in one
that answers questions (`fuzz.arena`); so do the calls of benchmarks (`bench.isolation`). Targets do not: each has a
host, which a child starts and watches (`kernelproof.verify.hosts.process`).

Who kills work that hangs
    First the watchdog inside the child (`limits.start_watch`), at the limit that the child has set itself in its
    journal. If that is stopped, or the whole process, `Child.look` does: it sends SIGKILL `GRACE` seconds after the
    limit.
Who notices that the process has died
    `Child.look`: it asks the system for the exit code. The connection cannot tell, because a process that was forked
    may hold it open.
What ends with the process
    Everything below it (`tree.end`), and everything that bears its mark. If this process is killed, the child notices
    and does the same (`orphan`).
Data flow: the parent writes the work to a new file, the journal, and sends its path. The child appends its steps, its
records and at last the answer to the same file, and rings. Nothing depends on the ring: without it the parent looks
every `WATCH` seconds.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import nullcontext, suppress
from itertools import count
from math import inf
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from kernelproof.verify.process import folders, tree
from kernelproof.verify.process.blame import Doing, End, Step, blame
from kernelproof.verify.process.journal import Allowed, Journal, Reader, Told
from kernelproof.verify.process.orphan import Origin
from kernelproof.verify.process.service import Done, Raised, Work, serve
from kernelproof.verify.process.spawning import MARK, Context, marked, threads_limited

WATCH = 0.25
"""Seconds between two looks at a child that does not ring."""
GRACE = 10.0
"""Seconds beyond a limit that the watchdog inside the child gets, before the parent kills the child."""
START_SECONDS = 300.0
"""Time limit of a start with its imports; importing torch cold takes tens of seconds."""
TAKE_SECONDS = 30.0
"""Time limit for taking work: more than an idle process needs on a machine that is busy."""

_NUMBERS = count(1)
_STARTING = threading.Lock()
"""Held while a process is started, which changes the environment variables of this one."""


class Child:
    """A process that does one piece of work at a time.

    Args:
        preparation: the first work of every new process.
        threads: how many threads numeric libraries may use in it; None: as many as here.

    Attributes:
        busy: whether it has work that has not ended yet.
        step: the last step that it announced.
        told: the records that its present or last work has told.
    """

    def __init__(self, preparation: Work, *, threads: int | None = None) -> None:
        self.preparation, self.threads = preparation, threads
        self.busy = False
        self.step = Step(Doing.STARTING)
        self.told: list[tuple[Any, ...]] = []
        self.process: Any = None
        self._connection: Connection | None = None
        self._folder: Path | None = None
        self._mark = ""
        self._pidfd: int | None = None
        self._reaper: weakref.finalize[..., Child] | None = None
        self._number = 0
        self._path = Path()
        self._reader = Reader("")
        self._allowed: float | None = None
        self._deadline = inf

    @property
    def alive(self) -> bool:
        """Whether it can take or do work."""
        return self._connection is not None and self.process.exitcode is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return int(self.process.pid)

    def start(self) -> None:
        """Replace the process by a new one, which begins with the preparation."""
        self.stop()
        context = Context()
        self._connection, there = context.Pipe()
        self._folder = folders.new()
        self._mark = f"{folders.mark()}.{next(_NUMBERS)}."
        origin = Origin(os.getpid(), str(self._folder.parent), self._mark)
        # The function comes along so that its imports are part of the start.
        self.process = context.Process(target=serve, args=(there, self.preparation.function, origin))
        with _STARTING, marked(self._mark), nullcontext() if self.threads is None else threads_limited(self.threads):
            self.process.start()
        there.close()
        # A child that nobody stopped would keep this process from exiting.
        self._reaper = weakref.finalize(self, self.process.kill)
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self.process.pid)
        self.give(self.preparation)
        self.step, self._allowed = Step(Doing.STARTING), START_SECONDS
        self._deadline = time.monotonic() + START_SECONDS

    def give(self, work: Work) -> None:
        """Have the process begin with `work`; it must be alive and not busy."""
        assert self._folder is not None  # `start` has made it
        self._number += 1
        self._path = self._folder / str(self._number)
        journal = Journal(str(self._path))
        journal.add(work)
        journal.close()
        self.busy, self.step = True, Step(Doing.BETWEEN)
        self.told, self._reader = [], Reader(self._path)
        self._allowed, self._deadline = TAKE_SECONDS, time.monotonic() + TAKE_SECONDS
        if self._connection is not None:
            # If this fails the process has died, or a target has closed its end: `look` finds out.
            with suppress(OSError):
                self._connection.send_bytes(os.fsencode(self._path))

    @property
    def handles(self) -> list[Any]:
        """What `multiprocessing.connection.wait` can wait for, so that a look is worth while."""
        return [each for each in (self._connection, self._pidfd) if each is not None]

    def look(self) -> Done | Raised | End | None:
        """What has come of the work; None while it goes on."""
        self._hear()
        # Read after this, so that what the process wrote before it ended is not missed.
        code = self.process.exitcode
        said = self.read()
        if said is None and code is not None:
            return self._ended(code, timed_out=self._reader.timed_out)
        if said is None and time.monotonic() > self._deadline + GRACE:
            self._end()
            said = self.read()
            if said is None:
                return self._ended(None, timed_out=True)
        if said is not None:
            self.busy = False
            self._path.unlink(missing_ok=True)
        return said

    def wait(self, ends: float | None = None) -> Done | Raised | End | None:
        """What comes of the work; None at the time `ends` of `time.monotonic`."""
        while True:
            said = self.look()
            left = inf if ends is None else ends - time.monotonic()
            if said is not None or left <= 0:
                return said
            wait(self.handles, min(WATCH, left))

    def stop(self) -> None:
        """Kill the process, if there is one, and everything that was started below it."""
        if self.process is not None and self._folder is not None:
            self._end()
        if self._reaper is not None:
            self._reaper.detach()
        self._hang_up()
        if self._pidfd is not None:
            os.close(self._pidfd)
        if self._folder is not None:
            folders.remove(self._folder)
        self._pidfd = self._folder = None
        self.busy = False

    def _end(self) -> None:
        if self.process.exitcode is None:
            tree.end(self.pid, reap=False)
            self.process.kill()
        self.process.join()
        # It may have ended before and left processes, which are below it no longer.
        tree.end_all(tree.marked(MARK, self._mark))

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _hear(self) -> None:
        """Take the rings; a target may have written there too, or closed it."""
        while self._connection is not None and self._connection.poll():
            try:
                if os.read(self._connection.fileno(), 1 << 16):
                    return
            except OSError:
                pass
            self._hang_up()

    def read(self) -> Done | Raised | None:
        """Take the new records of the journal; the last of them, if the work is finished, else None."""
        for record in self._reader.new():
            if isinstance(record, Step):
                self.step = record
            elif isinstance(record, Allowed):
                self._allowed = record.seconds
                self._deadline = inf if record.seconds is None else time.monotonic() + record.seconds
            elif isinstance(record, Told):
                self.told.append(record.content)
            elif isinstance(record, Done | Raised):
                return record
        return None

    def _ended(self, code: int | None, *, timed_out: bool) -> End:
        end = blame(self.step, code, timed_out=timed_out, seconds=self._allowed)
        self.stop()
        return end
