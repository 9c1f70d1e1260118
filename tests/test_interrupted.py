"""A command that is killed, terminated or interrupted at any moment leaves no process, no broken file and no folder."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from kernelproof.verify.process import tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc, which Linux has")
MARK = "TEST_INTERRUPTED"
ROUNDS = 30 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1
LATEST = 12.0
"""Seconds within which all kinds of work of a command have begun: its imports, its workers, its cases."""
COMMANDS = {
    "verify": "verify numpy --op entmax --order 1 --suite quick",
    "fuzz": "fuzz numpy --op entmax --order 1 --time 60s --database examples",
    "worst-case": "worst-case numpy --op entmax --order 1 --time 60s",
    "theory": "theory --claim kkt,mass_equation,normalized_relu,entmax_limit",
    "converge": "converge --orders 1,2,64",
    "bench": "bench --quick",
}
LEAVES = """
import os, subprocess, sys, time
import numpy as np

left = []

def leaves(z, order=None):
    if not left:
        left.append(1)
        words = [sys.executable, "-c", "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"]
        subprocess.run(words)
        open({ready!r}, "w").close()
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)
"""


@dataclass
class Run:
    """A command that is running, in a folder of its own."""

    words: list[str]
    folder: Path
    mark: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        (self.folder / "temporary").mkdir()
        env = {**os.environ, MARK: self.mark, "TMPDIR": str(self.folder / "temporary")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kernelproof", *self.words, "--out", "out"],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def living(self) -> list[int]:
        """The processes of the run that are there still."""
        return tree.marked(MARK, self.mark)

    def gone(self, seconds: float, *, below: bool = False) -> bool:
        """Whether all processes of the run end within `seconds`, or all that the command has started."""
        ends = time.monotonic() + seconds
        while left := {pid: words for pid in self.living if (words := self._words(pid, below=below))}:
            if time.monotonic() > ends:
                print(left)  # noqa: T201 (shown if it fails)
                return False
            time.sleep(0.01)
        return True

    def _words(self, pid: int, *, below: bool) -> bytes:
        """The command of a process that counts, or nothing."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
        # Python's own keeper of semaphores does nothing here, and ends with the command.
        return b"" if below and (pid == self.process.pid or b"resource_tracker" in words) else words

    def signal(self, number: int) -> tuple[int, str]:
        """Send the signal; the exit code and standard error, after every process has ended in time."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            assert self.gone(5)
        else:
            # Writing the report may take longer than ending everything else.
            assert self.gone(2, below=True)
        _, said = self.process.communicate(timeout=60)
        assert self.gone(1)
        return self.process.returncode, said


@pytest.fixture
def begin() -> Iterator[list[Run]]:
    """Runs; what is left of them is killed."""
    held: list[Run] = []
    yield held
    for run in held:
        run.process.kill()
        run.process.communicate()
        tree.end_all(run.living)


def check_files(folder: Path) -> None:
    """Every record is whole, its page says it if it was interrupted, and nothing temporary is left."""
    for path in folder.rglob("*"):
        assert not path.name.endswith(".partial")
        record = path.suffix == ".json" and "examples" not in path.parts
        if record and json.loads(path.read_text("utf-8"))["interrupted"]:
            assert "run was interrupted" in (path.parent / "index.html").read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_left_at_any_moment(name: str, number: int, tmp_path: Path, begin: list[Run]) -> None:
    draws = random.Random(f"{name} {number}")  # noqa: S311 (moments of a test)
    for at in range(ROUNDS):
        folder = tmp_path / str(at)
        folder.mkdir()
        run = Run(COMMANDS[name].split(), folder)
        begin.append(run)
        # Before that, Python itself starts, and none of our code runs.
        time.sleep(draws.uniform(0.5, LATEST) if ROUNDS > 1 else draws.uniform(1.0, 5.0))
        if run.process.poll() is not None:
            continue
        code, said = run.signal(number)
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        check_files(folder)
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
            # What no process was left to remove, the next start removes.
            text = "from kernelproof.verify.process import folders; folders.sweep()"
            env = {**os.environ, "TMPDIR": str(folder / "temporary")}
            subprocess.run([sys.executable, "-c", text], env=env, check=True)
        elif code in {0, 1}:
            continue  # it had finished when the signal came
        else:
            assert code == 130, said
            assert said.splitlines()[-1].startswith("kernelproof: interrupted by SIG")
        assert list((folder / "temporary").iterdir()) == []


def test_what_a_target_left_ends_and_the_report_has_what_was_decided(tmp_path: Path, begin: list[Run]) -> None:
    ready = tmp_path / "ready"
    (tmp_path / "mine.py").write_text(LEAVES.format(ready=str(ready)))
    run = Run(["verify", "mine.py:leaves", "--op", "entmax", "--order", "1"], tmp_path)
    begin.append(run)
    ends = time.monotonic() + 120
    while not (ready.exists() and len(run.living) > 2) and time.monotonic() < ends:
        time.sleep(0.05)
    time.sleep(4)
    code, said = run.signal(signal.SIGTERM)
    assert code == 130
    assert "the report of what was decided is out/index.html" in said
    check_files(tmp_path)
    record = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert record["interrupted"] is True
    assert record["passed"] is False
    assert sum(check["decided"] for target in record["targets"] for check in target["checks"]) > 0
    for name in ("report.md", "index.html", "junit.xml"):
        assert "The run was interrupted" in (tmp_path / "out" / name).read_text("utf-8")


LIBRARY = """
import multiprocessing.resource_tracker as keeper
import os, signal, threading
import kernelproof
from kernelproof.verify.process import tree

if __name__ == "__main__":
    threading.Timer({seconds}, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        kernelproof.verify("numpy", op="entmax", order="1", out="out")
    except KeyboardInterrupt:
        print("caught", [pid for pid in tree.descendants(os.getpid()) if pid != keeper._resource_tracker._pid])
"""


def test_a_user_of_the_function_gets_the_interrupt_after_everything_has_ended(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    words = [sys.executable, "-c", LIBRARY.format(seconds=6)]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "caught []\n"
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []
