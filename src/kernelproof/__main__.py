"""`python -m kernelproof`, and the script `kernelproof`: the command line, which no signal ends with a traceback."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def _leave(number: int, _: FrameType | None) -> None:
    """End before anything has been started: everything heavy is still being imported."""
    os.write(2, f"kernelproof: interrupted by {signal.Signals(number).name}; nothing was written\n".encode())
    os._exit(130)


def main() -> None:
    """Run the command line and exit: 0 passed, 1 failed, 2 bad usage, 3 an error in kernelproof, 130 interrupted."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    for number in taken:
        signal.signal(number, _leave)
    from kernelproof import cli  # noqa: PLC0415 (signals first)

    try:
        cli.main()
    finally:
        # The exit code is known, and what is left to do is to end.
        for number in taken:
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()


if __name__ == "__main__":
    # With -m Python begins its path with the working folder, where a file locale.py is no module of Python.
    if sys.path[0] == str(Path.cwd()):
        sys.path.append(sys.path.pop(0))

    main()
