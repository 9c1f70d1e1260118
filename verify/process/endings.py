"""The words for how a process ended."""

from __future__ import annotations

import signal

LOST_CONTEXT = 213
"""Exit code of a process whose CUDA context a call has lost: every later call in that process would fail too."""


def how_ended(code: int | None) -> str:
    """How a process with this exit code ended, in words; None: it was killed from outside.

    >>> how_ended(-9), how_ended(3)
    ('killed by SIGKILL', 'exit code 3')
    """
    if code is None:
        return "it did not end by itself"
    if code < 0:
        names = {int(each): each.name for each in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"
    if code == LOST_CONTEXT:
        return f"exit code {code}, of a process whose CUDA context is lost, such as to an illegal memory access"
    return f"exit code {code}"
