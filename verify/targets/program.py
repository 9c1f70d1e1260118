"""A program as a target: it reads one request per line and writes one answer per line; see docs/exec.md.

A worker starts the program with its first call, so that the program inherits the memory limit of the worker, and
starts it again if it has ended. A program may also end after each answer, as a shell pipe does. On Linux the program is
killed when its worker ends, and the watchdog ends the worker at the time limit; on other systems a program that hangs
and ignores the end of its input keeps running.
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from typing import IO, Any

from kernelproof.reference.errors import TargetError, shown
from kernelproof.verify.cases.case import Case
from kernelproof.verify.process.endings import how_ended
from kernelproof.verify.process.tree import die_with_parent
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.declaration import Declaration
from kernelproof.verify.targets.loading import PROGRAM, Place
from kernelproof.verify.targets.protocol import answered, longest, request
from kernelproof.verify.targets.scope import Scope, case_of

_LINGER = 2.0
"""Seconds within which a program must end after it has closed its output."""


class Ended(Exception):
    """The program ended; the message says how."""


def words_of(place: Place) -> list[str]:
    """Split the command of `place` into the program and its arguments.

    Raises:
        TargetError: there is no such program.
    """
    command = place.name.removeprefix(PROGRAM)
    try:
        words = shlex.split(command)
    except ValueError as error:
        msg = f"the command {command!r} cannot be read: {error}"
        raise TargetError(msg) from None
    if not words or shutil.which(words[0]) is None:
        msg = f"there is no program {words[0] if words else ''!r} that can be run, for the target {place.name!r}"
        raise TargetError(msg)
    return words


def scopes_of(said: Declaration) -> tuple[Scope, ...]:
    """The scopes of a program: entmax of any order in float64 and float32, unless something else is declared."""
    fixed = said.order is not None or said.alpha is not None
    return tuple(
        Scope(
            op=op,
            takes=() if fixed else ("order", "alpha"),
            order=said.order,
            alpha=said.alpha,
            orders=said.orders or (),
            rules=("adaptive:1",) if op == "entmax" else said.rules or (),
            dtypes=said.dtypes or ("float64", "float32"),
            options=said.options,
            requires=said.requires or (),
            masks=said.masks or (),
            exclusive=said.exclusive or (),
            gradients=said.gradients or (),
            shapes=said.limits,
        )
        for op in said.op or ("entmax",)
    )


class Program:
    """A running program, or one that will be started with the first request.

    Attributes:
        starting: whether a program is being started, so that a fork at this time is ours.
    """

    starting = False

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.process: subprocess.Popen[bytes] | None = None
        self.answers = 0
        self.code: int | None = None
        self.errors: IO[bytes] | None = None

    def ask(self, line: bytes, most: int) -> bytes:
        """Send `line` and return the one line, of at most `most` bytes, that the program answers.

        Raises:
            Ended: the program ended before it answered.
            TargetError: it wrote too much, more than one line, or something before the request.
        """
        if self.process is None or self.process.poll() is not None:
            self._start()
        used = self.answers > 0
        try:
            return self._exchange(line, most)
        except Ended:
            if not used or self.code != 0:
                raise
        # It answered the previous request and exited normally before this one: it takes one request per run.
        self._start()
        return self._exchange(line, most)

    def _exchange(self, line: bytes, most: int) -> bytes:
        """Write `line` and read at the same time: a program may answer before it has read all of it."""
        process = self.process
        assert process is not None  # it was started before
        assert process.stdin is not None
        assert process.stdout is not None
        into, out = process.stdin.fileno(), process.stdout.fileno()
        left, held = memoryview(line), bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            if ready.select(0) and (early := os.read(out, 2**16)):
                self.stop()
                msg = f"the program wrote what nobody asked for: {shown(early.decode('utf-8', 'replace'))}"
                raise TargetError(msg)
            ready.register(into, selectors.EVENT_WRITE)
            while b"\n" not in held:
                for key, _ in ready.select():
                    if key.fd == into:
                        left = left[self._write(into, left) :]
                        if not left:
                            ready.unregister(into)
                        continue
                    part = os.read(out, 2**16)
                    if not part:
                        raise Ended(self._ending())
                    held += part
                if len(held) > most:
                    self.stop()
                    msg = f"the program wrote {len(held)} bytes and no answer: {shown(bytes(held[:80]))}"
                    raise TargetError(msg)
        answer, _, rest = bytes(held).partition(b"\n")
        if rest.strip():
            self.stop()
            msg = f"the program must write one line for each request; it wrote more: {shown(rest[:80])}"
            raise TargetError(msg)
        self.answers += 1
        return answer

    def _write(self, into: int, left: memoryview) -> int:
        try:
            return os.write(into, left[: 2**16])
        except BrokenPipeError:
            # It may have answered without reading everything; if it has ended instead, its output ends too.
            return len(left)

    def _start(self) -> None:
        self.stop()
        self.answers = 0
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the program)
        dies = partial(die_with_parent, signal.SIGKILL, os.getpid())
        Program.starting = True
        try:
            self.process = subprocess.Popen(  # noqa: S603 (running it is what its user asked for)
                self.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                bufsize=0,
                preexec_fn=dies if sys.platform == "linux" else None,  # noqa: PLW1509 (no thread of ours)
            )
        except OSError as error:
            msg = f"the program {shlex.join(self.words)!r} cannot be started: {error}"
            raise TargetError(msg) from None
        finally:
            Program.starting = False
        assert self.process.stdin is not None  # it is a pipe
        os.set_blocking(self.process.stdin.fileno(), False)

    def _ending(self) -> str:
        """Describe how the program ended, with the last line that it wrote to standard error."""
        assert self.process is not None  # it was running
        try:
            self.code = code = self.process.wait(_LINGER)
        except subprocess.TimeoutExpired:
            self.code = None
            self.stop()
            return "the program closed its output without an answer"
        how = how_ended(code)
        assert self.errors is not None  # opened with the program
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(size - 4096, 0))
        lines = self.errors.read().decode("utf-8", "replace").split("\n")
        last = next((" ".join(each.split())[:200] for each in reversed(lines) if each.strip()), "")
        self.stop()
        return f"the program ended without an answer: {how}" + (f": {last}" if last else "")

    def stop(self) -> None:
        """Kill the program if it is running, and close its streams."""
        process, self.process = self.process, None
        errors, self.errors = self.errors, None
        if process is not None:
            process.kill()
            process.wait()
        streams = (errors, None if process is None else process.stdin, None if process is None else process.stdout)
        for stream in streams:
            if stream is not None:
                stream.close()


class ProgramCaller:
    """Turns calls of a worker into requests to a program, and its answers into outcomes.

    Raises:
        TargetError: there is no such program.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.program = Program(words_of(target.place))
        self.asked = 0

    def keep(self, *, together: bool) -> None:
        """Do nothing: a program returns text, which it cannot change afterwards."""

    def __call__(self, case: Case, call: Call) -> Outcome:
        """Ask the program and return its answer as an outcome."""
        self.asked += 1
        case = case_of(case, call)
        line = json.dumps(request(case, call, self.asked)).encode() + b"\n"
        try:
            answer = self.program.ask(line, longest(case, call))
            return Outcome(arrays=answered(answer, case, call, self.asked))
        except Ended as error:
            return Outcome(crash=str(error))
        except TargetError as error:
            return Outcome(error=str(error))
