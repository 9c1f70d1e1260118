"""What a host does: describe a target, load it, and make calls of it, until whoever judges closes the connection.

    python -P -m kernelproof.verify.hosts.service

Requests come on the standard input and answers go to the standard output of the process; both move to high numbers
before the first target is loaded, which gets an empty input and whose output goes to a sink.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.hosts import isolation
from kernelproof.verify.hosts.described import place_from, target_from, target_json
from kernelproof.verify.hosts.guard import Guard, described
from kernelproof.verify.hosts.messages import Packer, calls_of, packed_outcome
from kernelproof.verify.hosts.sink import SINKS, Sink
from kernelproof.verify.hosts.wire import Frame, Reader, framed
from kernelproof.verify.process.descriptors import moved_high
from kernelproof.verify.process.limits import exhausted, limit_data
from kernelproof.verify.process.tree import become_subreaper, die_with_parent

PIECE = 1 << 20
"""Bytes that are read at once."""


class Connection:
    """The host's end of the connection."""

    def __init__(self) -> None:
        self._in, self._out = moved_high(os.dup(0)), moved_high(os.dup(1))
        nothing = os.open(os.devnull, os.O_RDWR)
        # Threads and processes that a target leaves may also print while no call is being made: to nobody's terminal.
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.close(nothing)
        self._reader = Reader()
        self._process = os.getpid()

    def next(self) -> Frame | None:
        """The next request; None if there will be none."""
        while True:
            for frame in self._reader.frames():
                return frame
            piece = os.read(self._in, PIECE)
            if not piece:
                return None
            self._reader.take(piece)

    def send(self, text: Mapping[str, Any], packer: Packer | None = None) -> None:
        """Send an answer."""
        if os.getpid() != self._process:
            os._exit(0)
        for part in framed(text, packer.parts if packer is not None else ()):
            left = part
            while left:
                left = left[os.write(self._out, left) :]


class Host:
    """The targets of this process."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.guards: dict[str, Guard] = {}
        self.limited = False

    def serve(self) -> None:
        """Do what is asked, one request after another."""
        while (frame := self.connection.next()) is not None:
            try:
                self._do(frame)
            except KernelproofError as error:
                self.connection.send({"is": "refused", "kind": type(error).__name__, "why": str(error)})
            except BaseException as error:  # noqa: BLE001 (a target may break anything, and exit anywhere; that is told)
                last = traceback.extract_tb(error.__traceback__)[-1]
                why = f"{type(error).__name__} in {last.name}: {error}"
                self.connection.send({"is": "broken", "why": why[:500]})

    def _do(self, frame: Frame) -> None:
        text = frame.text
        if text["do"] == "describe":
            self._describe(text)
        elif text["do"] == "load":
            self._load(text)
        elif text["do"] == "repeat":
            case, calls = calls_of(text, frame.content)
            self.guards[text["key"]].repeat(case, calls[0], text["count"])
            self.connection.send({"is": "repeated"})
        else:
            self._call(frame)

    def _describe(self, text: Mapping[str, Any]) -> None:
        orders, alphas, dtypes = (tuple(text["asked"][name]) for name in ("orders", "alphas", "dtypes"))
        asked = Selection(orders=orders, alphas=alphas, dtypes=dtypes)
        options = {name: text[name] for name in ("probe", "seconds", "memory")}
        isolation.protect(text["cache"])
        found = described(place_from(text["place"]), asked=asked, **options)
        if isinstance(found, str):
            self.connection.send({"is": "unavailable", "why": found})
        else:
            self.connection.send({"is": "described", "targets": [target_json(each) for each in found]})

    def _load(self, text: Mapping[str, Any]) -> None:
        isolation.protect(text["cache"])
        target = target_from(text["target"])
        guard = Guard.load(target, SINKS[0])
        self.guards[text["key"]] = guard
        if text["memory"] is not None and not self.limited:
            limit_data(text["memory"])
            self.limited = True
        self.connection.send({"is": "loaded", "modes": guard.loaded, "remarks": list(guard.remarks)})

    def _call(self, frame: Frame) -> None:
        guard = self.guards[frame.text["key"]]
        case, calls = calls_of(frame.text, frame.content)
        with guard:
            for call in calls:
                outcome = guard.call(case, call)
                packer = Packer()
                self.connection.send({"is": "outcome", "outcome": packed_outcome(outcome, packer)}, packer)
        self.connection.send(
            {
                "is": "end",
                "remarks": list(guard.remarks),
                "modes": guard.after or guard.loaded,
                "exhausted": exhausted(),
            }
        )


def main() -> None:
    """Serve until the connection ends."""
    # An interrupt from the keyboard reaches whoever judges too, and ends this process from there.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, name), signal.SIG_IGN if name == "SIGINT" else signal.SIG_DFL)
    die_with_parent(int(getattr(signal, "SIGKILL", signal.SIGTERM)), int(sys.argv[1]))
    become_subreaper()
    connection = Connection()
    SINKS.append(Sink())
    isolation.watch()
    with suppress(BrokenPipeError):
        Host(connection).serve()
    # Threads that a target left must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    sys.modules["kernelproof.verify.hosts.service"] = sys.modules["__main__"]
    main()
