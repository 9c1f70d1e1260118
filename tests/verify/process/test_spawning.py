"""A child process starts as it would in an empty folder, and a target in a file still finds what lies beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.verify.process import working

from kernelproof.verify.process.child import Child
from kernelproof.verify.process.service import Done, Work

LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
NAMES = ("locale", "pickle", "numpy", "socket", "flint")
TRAP = 'from pathlib import Path\nPath(__file__).with_suffix(".imported").touch()\nraise SystemExit(7)\n'


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder with files that have the names of modules."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(TRAP, encoding="utf-8")
    return tmp_path


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "kernelproof", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def in_child(function: Any) -> Any:
    child = Child(Work(working.nothing))
    child.start()
    try:
        assert isinstance(child.wait(), Done)
        child.give(Work(function))
        found = child.wait()
        assert isinstance(found, Done), found
        return found.answer
    finally:
        child.stop()


def test_a_worker_imports_no_file_of_the_working_folder(trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trapped)
    # As in a session of Python, or with `python -m`: here the working folder comes first.
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    path, variable = in_child(working.path_and_variable)
    assert variable is None
    assert path.index(str(trapped)) == len(path) - 1
    assert list(trapped.glob("*.imported")) == []
    assert sys.path[0] == ""
    assert "PYTHONSAFEPATH" not in os.environ


def test_the_variable_of_a_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert in_child(working.path_and_variable)[1] == "1"
    assert os.environ["PYTHONSAFEPATH"] == "1"


def test_the_command_runs_among_files_with_names_of_modules(trapped: Path) -> None:
    found = command("verify", "numpy", "--case", LINE, folder=trapped)
    assert found.returncode == 0, found.stderr
    assert list(trapped.glob("*.imported")) == []


def test_a_target_may_be_called_like_a_module_and_imports_what_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "shifting.py").write_text("def shifted(z):\n    return z - z.max(axis=-1, keepdims=True)\n", "utf-8")
    (folder / "locale.py").write_text(
        "import locale\nimport numpy as np\nfrom shifting import shifted\n\n\ndef softmax(z):\n"
        "    locale.localeconv()\n    e = np.exp(shifted(z))\n"
        "    return e / e.sum(axis=-1, keepdims=True)\n",
        "utf-8",
    )
    for where, name in ((folder, "locale.py"), (tmp_path, "kernels/locale.py")):
        found = command("verify", f"{name}:softmax", "--case", LINE, folder=where)
        assert found.returncode == 0, found.stderr + found.stdout
