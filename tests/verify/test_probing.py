"""The first call of a target: what it may leave behind."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from kernelproof.verify.probing import watchdog


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork")
def test_a_child_that_comes_back_leaves_the_watchdog() -> None:
    # The thread of the watchdog is not in the child; one that cancels it waits for ever and outlives the run.
    process = os.getpid()
    try:
        with watchdog(30.0, 2**32):
            child = os.fork()
    finally:
        if os.getpid() != process:
            os._exit(7)
    end = time.monotonic() + 10
    ended = (0, 0)
    while ended[0] == 0 and time.monotonic() < end:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
