"""A process holds itself to its limits; limits that nest do not lift each other."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from kernelproof.verify.process.limits import GIBIBYTE, Limits, held_bytes, memory_limited

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process can be limited on Linux only")


def run(text: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, because the limits end it."""
    head = "import sys, time\nfrom kernelproof.verify.process.limits import *\n"
    return subprocess.run([sys.executable, "-c", head + text], capture_output=True, text=True, check=False, timeout=100)


def test_our_own_code_gets_patience() -> None:
    assert Limits(seconds=2.0, patience=3.0).own_seconds == 6.0


def test_the_watchdog_ends_the_process_and_says_so() -> None:
    found = run("start_watch(0.2, sys.stderr.fileno())\ntime.sleep(60)\nprint('late')")
    assert found.returncode == 1
    assert found.stderr.startswith("Timeout (")
    assert found.stdout == ""


def test_a_watchdog_that_was_called_off_is_silent() -> None:
    found = run("start_watch(0.2, 2)\nstop_watch()\ntime.sleep(0.5)\nprint('alive')")
    assert (found.returncode, found.stdout) == (0, "alive\n")


def test_an_inner_limit_ends_the_process() -> None:
    found = run("with watchdog(0.2, 2**30):\n    time.sleep(60)")
    assert found.returncode == 1
    assert found.stderr == ""


def test_an_outer_limit_holds_after_an_inner_one() -> None:
    started = time.monotonic()
    found = run("start_watch(1.0, 2)\nwith watchdog(50.0, 2**30):\n    pass\ntime.sleep(60)")
    assert found.returncode == 1
    assert found.stderr.startswith("Timeout (")
    assert time.monotonic() - started < 50


def test_an_outer_limit_hears_of_an_inner_one() -> None:
    found = run("start_watch(50.0, 2)\nwith watchdog(0.2, 2**30):\n    time.sleep(60)")
    assert found.stderr.startswith("Timeout (")


def test_files_that_are_closed_inside_are_no_error() -> None:
    found = run("import os\nwith watchdog(50.0, 2**30):\n    os.closerange(3, 4096)\nprint('alive')")
    assert (found.returncode, found.stdout) == (0, "alive\n")


@on_linux
def test_memory_is_limited_inside_only() -> None:
    before = held_bytes()
    with memory_limited(GIBIBYTE // 4), pytest.raises(MemoryError):
        bytearray(GIBIBYTE // 2)
    assert len(bytearray(GIBIBYTE // 2)) == GIBIBYTE // 2
    assert before > 0


@on_linux
def test_calls_get_less_than_our_own_code() -> None:
    text = (
        "limit_data(2**28)\nown = bytearray(2**29)\ndel own\n"
        "try:\n    with data_limited():\n        bytearray(2**29)\nexcept MemoryError:\n    print('no')\n"
        "print(exhausted())\nheld = bytearray(2**27 + 2**20)\nprint(exhausted())"
    )
    assert run(text).stdout.split() == ["no", "False", "True"]
