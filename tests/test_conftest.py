"""The guards that every test gets do bite: a leaked precision fails, and what is missing is skipped with its reason."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROBE = """
import flint, mpmath, pytest

def test_leaks_mpmath():
    mpmath.mp.prec = 99

def test_leaks_flint():
    flint.ctx.prec = 99

def test_next_is_clean():
    assert (mpmath.mp.prec, flint.ctx.prec) == (53, 53)

@pytest.mark.nightly
def test_is_long():
    raise AssertionError
"""

GROUPS = """
import os, pytest

@pytest.fixture(scope="module")
def shared():
    return os.environ["PYTEST_XDIST_WORKER"]

@pytest.mark.parametrize("number", range(8))
def test_one(shared, number):
    print(f"<{shared}>")
"""


def test_tests_that_share_a_fixture_share_a_worker(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_probe.py").write_text(GROUPS, "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup", "-rP"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "8 passed" in run.stdout, run.stdout + run.stderr
    assert len(set(re.findall(r"<(gw\d)>", run.stdout))) == 1, run.stdout


def test_leaks_fail_and_skips_are_visible(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "test_probe.py").write_text(PROBE, "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"HYPOTHESIS_PROFILE": "dev"},
    )
    assert "3 passed, 1 skipped, 2 errors" in run.stdout, run.stdout + run.stderr
    assert "ERROR tests/test_probe.py::test_leaks_mpmath" in run.stdout
    assert "ERROR tests/test_probe.py::test_leaks_flint" in run.stdout
    assert "runs with HYPOTHESIS_PROFILE=nightly, not dev" in run.stdout
