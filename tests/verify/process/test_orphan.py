"""A child whose parent was killed ends by itself, with all below it and the folder of the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelproof.verify.process import tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc, which Linux has")
SECONDS = 5.0
DRIVER = """
import time
from tests.verify.process import test_orphan
from kernelproof.verify.process.pool import Pool
from kernelproof.verify.process.service import Work, call
if __name__ == "__main__":
    pool = Pool(2, Work(call, (test_orphan.leaves, {})))
    jobs = [pool.submit(Work(call, (test_orphan.leaves, {"busy": True}))) for _ in range(2)]
    time.sleep(600)
"""


def leaves(*, busy: bool = False) -> None:
    """Leave two processes, one of them without the variables of this one; then compute in C, if `busy`."""
    words = [sys.executable, "-c", "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"]
    subprocess.run(words, check=True)
    subprocess.run(words, check=True, env={"TEST_ORPHAN": os.environ["TEST_ORPHAN"]})
    if busy:
        import numpy as np

        Path(os.environ["TEST_ORPHAN"], str(os.getpid())).touch()
        held = np.ones((3000, 3000))
        while True:
            held @ held


@linux
def test_all_below_a_killed_driver_ends(tmp_path: Path) -> None:
    temporary, ready = tmp_path / "temporary", tmp_path / "ready"
    temporary.mkdir()
    ready.mkdir()
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "TEST_ORPHAN": str(ready), "TMPDIR": str(temporary)}
    env["PYTHONPATH"] = os.pathsep.join([str(root), env.get("PYTHONPATH", "")])
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], env=env, cwd=root)
    try:
        ends = time.monotonic() + 120
        while len(list(ready.iterdir())) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(tree.marked("TEST_ORPHAN", str(ready))) >= 7
        driver.kill()
        driver.wait()
        ends = time.monotonic() + SECONDS
        while tree.marked("TEST_ORPHAN", str(ready)) and time.monotonic() < ends:
            time.sleep(0.02)
        assert tree.marked("TEST_ORPHAN", str(ready)) == []
        assert list(temporary.iterdir()) == []
    finally:
        driver.kill()
        driver.wait()
        tree.end_all(tree.marked("TEST_ORPHAN", str(ready)))
