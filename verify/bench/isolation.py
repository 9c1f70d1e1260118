"""Measure the memory of a call in a separate child process, and find out whether the call returns at all.

The peak of the resident set is reset before the call (Linux: /proc/self/clear_refs), so that memory used for loading
and compiling does not count. `kernelproof.verify.process.child` supervises the process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kernelproof.verify.process.blame import End
from kernelproof.verify.process.child import START_SECONDS, Child
from kernelproof.verify.process.journal import Journal
from kernelproof.verify.process.limits import memory_limited
from kernelproof.verify.process.service import Raised, Work

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_PEAK = "5"
"""The text that resets the peak of the resident set, see proc(5)."""


class Failed(Exception):
    """A call did not return: it ran out of time or memory, raised, or ended its process."""


def peak_of(prepare: Callable[[], Callable[[], Any]], seconds: float, memory: int) -> float | None:
    """Return the bytes that a call needs beyond those in use before it; None if this system cannot measure them.

    Args:
        prepare: returns the call; pickled; if the call compiles, `prepare` first calls it on something small.
        seconds: time limit of `prepare` and the call together.
        memory: limit on the bytes of data beyond those in use before the call, if the system can enforce it.

    Raises:
        Failed: no answer in time, out of memory, an exception, or the end of the process.
    """
    child = Child(Work(_start, (), START_SECONDS))
    try:
        child.start()
        said = child.wait()
        if not isinstance(said, End | Raised):
            child.give(Work(_measured, (prepare, memory), seconds))
            said = child.wait()
    finally:
        child.stop()
    assert said is not None  # only a wait with a deadline returns None
    if isinstance(said, End):
        raise Failed(said.reason if said.timed_out else f"its process ended with {said.how}")
    if isinstance(said, Raised):
        raise said.exception
    failure, peak = said.answer
    if failure:
        raise Failed(failure)
    return None if peak is None else float(peak)


def _start(_: Journal) -> None:
    """Do nothing; waiting for it keeps the start of the process out of the time of the call."""


def _measured(_: Journal, prepare: Callable[[], Callable[[], Any]], memory: int) -> tuple[str, int | None]:
    """Return why the call failed, or "", and its peak if known."""
    out_of_memory = f"it needs more than {memory / 2**30:.3g} GiB beyond its inputs"
    try:
        call = prepare()
        with memory_limited(memory):
            before = _reset()
            kept = call()
            after = _status("VmHWM")
            del kept
    except MemoryError:
        return out_of_memory, None
    except Exception as error:  # noqa: BLE001 (any exception means that the call failed)
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        # The messages of torch when it runs out of memory.
        short = "not enough memory" in text or "can't allocate" in text
        return out_of_memory if short else text, None
    return "", None if before is None or after is None else max(after - before, 0)


def _reset() -> int | None:
    """Reset the peak and return the resident bytes it starts from; None if the system does not support this."""
    with suppress(OSError):
        _RESET.write_text(_PEAK, encoding="ascii")
        return _status("VmRSS")
    return None


def _status(name: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
