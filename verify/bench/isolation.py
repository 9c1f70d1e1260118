"""A call in a process of its own: what it needs in memory, and whether it comes back at all.

The peak of the resident set is reset before the call (Linux: /proc/self/clear_refs), so that what loading and
compiling needed does not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kernelproof.verify.process.limits import held_bytes
from kernelproof.verify.process.spawning import Context

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_PEAK = "5"
"""What resets the peak of the resident set, see proc(5)."""


class Failed(Exception):
    """A call did not come back: it ran out of time or memory, or raised."""


def peak_of(prepare: Callable[[], Callable[[], Any]], seconds: float, memory: int) -> float | None:
    """Bytes that the call made by `prepare` needs beyond what is there before it; None where that is not told.

    Args:
        prepare: pickled; makes the call, and calls it on something small first if it compiles.
        seconds: until the process is ended.
        memory: bytes of data beyond what is held before the call, where the system can limit it.

    Raises:
        Failed: no answer in time, out of memory, or an exception.
    """
    context = Context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sender, prepare, memory))
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            msg = f"no answer in {seconds:g} s"
            raise Failed(msg)
        kind, value = receiver.recv()
    except EOFError:
        process.join()
        msg = f"its process ended with exit code {process.exitcode}"
        raise Failed(msg) from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if kind == "failed":
        raise Failed(value)
    return None if value is None else float(value)


def _measured(sender: Connection, prepare: Callable[[], Callable[[], Any]], memory: int) -> None:
    try:
        call = prepare()
        _limit(memory)
        before = _reset()
        kept = call()
        after = _status("VmHWM")
        del kept
        sender.send(("peak", None if before is None or after is None else max(after - before, 0)))
    except MemoryError:
        sender.send(("failed", f"it needs more than {memory / 2**30:.3g} GiB beyond its inputs"))
    except Exception as error:  # noqa: BLE001 (whatever it raises is what became of the call)
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        # How torch says that there is no memory.
        short = "not enough memory" in text or "can't allocate" in text
        sender.send(("failed", f"it needs more than {memory / 2**30:.3g} GiB beyond its inputs" if short else text))


def _limit(memory: int) -> None:
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 (not on every system)

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = held_bytes() + memory
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def _reset() -> int | None:
    """The resident bytes now, from which the peak counts again; None where the system has no such thing."""
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
