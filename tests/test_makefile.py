"""`make` says in one line what is missing, before it makes anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    if program is None:
        pytest.skip("make is not installed")
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def own_lines(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in (run.stdout + run.stderr).splitlines() if not line.startswith("make")]


def test_an_old_python_gives_one_clear_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *platform*) echo 3.9.2;; *) exit 1;; esac\n', "utf-8")
    old.chmod(0o755)
    run = make("install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert run.returncode == 2
    line = f"kernelproof needs Python 3.11 or newer; {old} is 3.9.2. Try: make PYTHON=/path/to/python3.11"
    assert own_lines(run) == [line]
    assert not (tmp_path / "venv").exists()


def test_no_python_gives_one_clear_line(tmp_path: Path) -> None:
    run = make("install", f"PYTHON={tmp_path / 'none'}", f"VENV={tmp_path / 'venv'}")
    assert run.returncode == 2
    assert len(own_lines(run)) == 1
    assert "there is no" in own_lines(run)[0]


def test_help_lists_the_two_commands_first() -> None:
    lines = make("help").stdout.splitlines()
    assert {"verify", "test"} <= {line.split()[0] for line in lines}


def test_where_the_locks_do_not_apply_one_line_says_so(tmp_path: Path) -> None:
    other, asked = tmp_path / "python3", tmp_path / "asked"
    other.write_text(
        f'#!/bin/sh\ncase "$2" in import*) echo "CPython 3.13 on Plan9 riscv";; esac\necho "$@" >>{asked}\n', "utf-8"
    )
    other.chmod(0o755)
    run = subprocess.run([ROOT / ".ci" / "install", other], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    (line,) = run.stdout.splitlines()
    assert line.startswith(
        "The locks are for CPython 3.11 on Linux x86_64; on CPython 3.13 on Plan9 riscv the versions "
    )
    assert asked.read_text("utf-8").splitlines()[-1].endswith("-c constraints.txt -e .[torch,dev]")
