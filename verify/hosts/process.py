"""The process of a host, as whoever judges sees it: start it, ask it, watch its time and memory, and end it.

Who kills a target that hangs, or holds too much memory
    `HostProcess.ask`: it waits for every answer until the time is up, and looks at the memory of the process and of all
    below it while it waits.
Who notices that the process has died
    The same: the system tells, not the connection, which a process that a target forked may hold open.
What happens to processes that a target leaves
    The host ends them after the calls of a case (`guard`); `HostProcess.stop` ends those below a host that has died,
    which this process inherits.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from math import inf
from typing import Any

from kernelproof.verify.hosts.messages import Packer
from kernelproof.verify.hosts.wire import Frame, Reader, WireError, framed
from kernelproof.verify.process import tree
from kernelproof.verify.process.endings import how_ended
from kernelproof.verify.process.limits import GIBIBYTE

LOOK = 0.1
"""Seconds between two looks at a host that does not answer."""
PIECE = 1 << 20
"""Bytes that are read or written at once."""
_PIPE = 1 << 20
"""Bytes that the system is asked to hold for each direction."""
_MODULE = "kernelproof.verify.hosts.service"
_SETTINGS = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""Variables of the environment unless the user sets them: what compiles in processes of its own would lose them."""


class Fate(Enum):
    """How a host ended."""

    TIME = "time"
    """Its time was up."""
    MEMORY = "memory"
    """It held too much memory."""
    DEATH = "death"
    """It ended by itself, or somebody else ended it."""
    WORDS = "words"
    """It, or the target, wrote what is no answer."""


class HostEnded(Exception):
    """Raised in place of the next answer of a host that has ended, or that had to be ended.

    Attributes:
        fate: how it ended.
        reason: the same in words, with what is known of it.
    """

    def __init__(self, fate: Fate, reason: str) -> None:
        super().__init__(reason)
        self.fate, self.reason = fate, reason


class HostProcess:
    """One host.

    Attributes:
        memory: bytes that it and all processes below it may hold beyond what they hold now; None: no limit.
    """

    def __init__(self) -> None:
        self.memory: int | None = None
        self.span: float | None = None
        self._base = 0
        self._reader = Reader()
        self._pidfd: int | None = None
        self._process = subprocess.Popen(  # noqa: S603 (this interpreter, and our own module)
            [sys.executable, "-P", "-m", _MODULE, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={**_SETTINGS, **os.environ},
        )
        _HOSTS.add(self._process.pid)
        # One that nobody stopped would stay until this process ends.
        self._reaper = weakref.finalize(self, _end, self._process)
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._in, self._out):
            os.set_blocking(descriptor, False)
            _widen(descriptor)
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def limit(self, memory: int | None) -> None:
        """Limit the memory from now on."""
        self.memory, self._base = memory, tree.resident([self.pid]) if memory is not None else 0
        if memory is not None:
            # What it sends is held here, where no limit of its own counts.
            self._reader.longest = memory

    def ask(
        self, text: Mapping[str, Any], packer: Packer | None = None, seconds: float | None = None
    ) -> Iterator[Frame]:
        """Send a request; yield the answers, of which there is no end: the caller knows which is the last.

        Args:
            text: the request.
            packer: holds its arrays.
            seconds: the time from now until the last answer; None: no limit.

        Raises:
            HostEnded: the process has ended, has not answered in time, holds too much memory, or wrote nonsense.
        """
        self.span = seconds
        ends = inf if seconds is None else time.monotonic() + seconds
        left = framed(text, packer.parts if packer is not None else ())
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(self._out, selectors.EVENT_READ)
                ready.register(self._in, selectors.EVENT_WRITE)
                if self._pidfd is not None:
                    ready.register(self._pidfd, selectors.EVENT_READ)
                while True:
                    yield from self._reader.frames()
                    self._step(ready, left, ends)
        except WireError as error:
            raise self.ended(Fate.WORDS, str(error)) from None

    def _step(self, ready: selectors.BaseSelector, left: list[memoryview], ends: float) -> None:
        """Wait once, and write and read what can be written and read."""
        now = time.monotonic()
        if now >= ends:
            raise self.ended(Fate.TIME, f"no answer in {self.span:g} s")
        held = ready.select(min(LOOK, ends - now))
        if not held:
            self._look()
        came = False
        for key, _ in held:
            if key.fd == self._in:
                if not self._write(left):
                    ready.unregister(self._in)
            elif key.fd == self._out:
                came = self._read()
                if not came:
                    ready.unregister(self._out)
        if not came and not self.alive and not self._read():
            raise self.ended(Fate.DEATH, f"the process ended: {how_ended(self._process.returncode)}")

    def _write(self, left: list[memoryview]) -> bool:
        """Write what the pipe takes; whether anything is left."""
        try:
            while left:
                written = os.write(self._in, left[0][:PIECE])
                left[0] = left[0][written:]
                if not left[0]:
                    del left[0]
        except BlockingIOError:
            return True
        except OSError:
            # The process has ended, or a target has closed its end: that shows elsewhere.
            return False
        return False

    def _read(self) -> bool:
        """Read what has come; whether anything has."""
        try:
            piece = os.read(self._out, PIECE)
        except BlockingIOError:
            return False
        if piece:
            self._reader.take(piece)
        return bool(piece)

    def _look(self) -> None:
        if self.memory is None:
            return
        held = tree.resident([self.pid, *tree.descendants(self.pid)]) - self._base
        if held > self.memory:
            msg = f"out of memory (its process holds {held / GIBIBYTE:.1f} GiB, shared memory included)"
            raise self.ended(Fate.MEMORY, msg)

    def ended(self, fate: Fate, reason: str) -> HostEnded:
        """End the process; return what to raise."""
        self.stop()
        return HostEnded(fate, reason)

    def stop(self) -> None:
        """End the process and all that are below it."""
        self._reaper.detach()
        _end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._pidfd = None


_HOSTS: set[int] = set()
"""The numbers of the hosts of this process that live."""
ADOPTS: list[bool] = []
"""Not empty in a process whose only children are hosts, and that gets the children of those that end."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all below it, and what one that has ended by itself has left to this process."""
    tree.end_all([process.pid], reap=False)
    process.wait()
    _HOSTS.discard(process.pid)
    if ADOPTS:
        here = os.getpid()
        hosted = {below for host in _HOSTS for below in (host, *tree.descendants(host))}
        tree.end_all([pid for pid in tree.descendants(here) if pid not in hosted])


def _widen(descriptor: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):
        return
