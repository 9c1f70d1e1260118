"""The tree of processes: whoever was forked or left there is found, counted and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kernelproof.verify.process import tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc, which Linux has")
MEBIBYTE = 2**20
DETACHES = """
import os, sys, time
from kernelproof.verify.process import tree
if "subreaper" in sys.argv:
    assert tree.become_subreaper()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
print("ready", flush=True)
time.sleep(600)
"""
FORKS = """
import os, time
ENDS = time.monotonic() + 10  # whatever becomes of the test
def forks():
    while time.monotonic() < ENDS:
        if os.fork() == 0:
            os.setsid()
        else:
            break
    os._exit(0)
for _ in range(4):
    if os.fork() == 0:
        forks()
print("ready", flush=True)
time.sleep(600)
"""
HOLDS = """
import mmap, os, sys, time
size, what = int(sys.argv[1]), sys.argv[2]
fd = os.memfd_create("held")
if what == "anonymous":
    held = bytearray(os.urandom(2**20) * (size // 2**20))
elif what == "shared":
    held = mmap.mmap(-1, size)
    held.write(b"1" * size)
elif what == "written":
    for _ in range(size // 2**20):
        os.write(fd, b"1" * 2**20)
elif what in ("mapped", "forked"):
    os.ftruncate(fd, size)
    held = mmap.mmap(fd, size)
    held.write(b"1" * size)
elif what == "deleted":
    fd = os.open("/dev/shm/kernelproof-test-" + str(os.getpid()), os.O_RDWR | os.O_CREAT)
    os.unlink("/dev/shm/kernelproof-test-" + str(os.getpid()))
    os.write(fd, b"1" * size)
if what == "forked" and os.fork() == 0:
    time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program that prints a line when it is ready; what is left of its tree is killed afterwards."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(text: str, *arguments: object) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", text, *map(str, arguments)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in running:
        tree.end(process.pid, reap=False)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if tree.started(pid) is not None]


def named(words: bytes) -> list[int]:
    """The living processes whose command has these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if words in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return living(found)


@linux
def test_a_process_that_left_is_found_below_a_subreaper(start: Start) -> None:
    process = start(DETACHES, "subreaper")
    found = tree.descendants(process.pid)
    assert len(found) == 3
    assert {os.getsid(pid) for pid in found}.isdisjoint({os.getsid(process.pid)})
    assert set(found) < set(tree.descendants(os.getpid()))


@linux
def test_all_below_a_process_end_with_it(start: Start) -> None:
    process = start(DETACHES, "subreaper")
    found = tree.descendants(process.pid)
    before = time.monotonic()
    tree.end(process.pid)
    assert time.monotonic() - before < 2
    assert living([process.pid, *found]) == []
    assert not Path(f"/proc/{process.pid}").exists()  # its exit code was collected


@linux
def test_an_exit_code_is_left_to_whoever_waits_for_it(start: Start) -> None:
    process = start(DETACHES, "subreaper")
    tree.end(process.pid, reap=False)
    assert process.wait(10) == -signal.SIGKILL


@linux
def test_processes_that_fork_all_the_time_do_not_escape(start: Start) -> None:
    text = FORKS.replace("import os, time\n", "import os, time, ctypes\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n")
    for _ in range(10):
        process = start(text)
        before = time.monotonic()
        tree.end(process.pid)
        assert time.monotonic() - before < 2
        time.sleep(0.02)
        assert named(b"def forks") == []


@linux
def test_ending_nothing_is_no_error(start: Start) -> None:
    process = start("print('ready', flush=True)")
    process.wait()
    tree.end_all([process.pid, 2**22 + 1])
    assert tree.descendants(2**22 + 1) == []
    assert tree.resident([2**22 + 1]) == 0


@linux
def test_this_process_is_never_ended() -> None:
    tree.end_all([os.getpid()])
    assert tree.started(os.getpid()) is not None


@linux
@pytest.mark.parametrize("what", ["anonymous", "shared", "written", "mapped", "forked", "deleted"])
def test_memory_counts_however_it_is_held(start: Start, what: str) -> None:
    if what == "deleted" and not os.access("/dev/shm", os.W_OK):  # noqa: S108 (it is what is asked)
        pytest.skip("the folder of memory files cannot be written here")
    size = 64 * MEBIBYTE
    empty = start(HOLDS, 0, "nothing")
    base = tree.resident([empty.pid])
    assert 0 < base < size
    process = start(HOLDS, size, what)
    pids = [process.pid, *tree.descendants(process.pid)]
    more = tree.resident(pids) - len(pids) * base
    # Twice would be 64 MiB more; a process by itself varies by far less than 8.
    assert size - 8 * MEBIBYTE < more < size + 8 * MEBIBYTE


@linux
def test_a_process_dies_with_its_parent(start: Start) -> None:
    text = """
import os, signal, time
from kernelproof.verify.process import tree
parent = os.getpid()
if os.fork() == 0:
    tree.die_with_parent(signal.SIGKILL, parent)
    print("ready", flush=True)
    time.sleep(600)
time.sleep(600)
"""
    process = start(text)
    (child,) = tree.descendants(process.pid)
    process.kill()
    ends = time.monotonic() + 5
    while living([child]) and time.monotonic() < ends:
        time.sleep(0.01)
    assert living([child]) == []


@linux
def test_a_parent_that_died_before_is_noticed() -> None:
    text = f"""
import signal
from kernelproof.verify.process import tree
tree.die_with_parent(signal.SIGKILL, {os.getpid() + 2**22})
"""
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == -signal.SIGKILL


def test_elsewhere_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert tree.descendants(os.getpid()) == []
    assert tree.resident([os.getpid()]) == 0
    assert not tree.become_subreaper()
    tree.die_with_parent(signal.SIGTERM, -1)
