"""Temporary folders: one for each driver, removed by it or by the next start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kernelproof.reference.errors import ResourceError
from kernelproof.verify.process import folders, tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="the time at which a process started is read from /proc")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary files with nothing in it, and no folder of this process yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folders, "_held", [])
    return tmp_path


def test_folders_of_a_process_lie_in_one_that_goes_with_the_last(place: Path) -> None:
    first, second = folders.new(), folders.new()
    (one,) = place.iterdir()
    assert one.name.startswith(f"kernelproof-{folders.mark()}-")
    assert {first.parent, second.parent} == {one}
    (first / "held").write_text("")
    folders.remove(first)
    assert list(one.iterdir()) == [second]
    folders.remove(second)
    assert list(place.iterdir()) == []
    assert folders.new().is_dir()
    folders.remove_all()
    assert list(place.iterdir()) == []


@linux
def test_the_next_start_removes_what_a_killed_process_left(place: Path) -> None:
    text = "import os, signal; from kernelproof.verify.process import folders; folders.new(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", text], check=False, env={**os.environ, "TMPDIR": str(place)})
    (left,) = place.iterdir()
    foreign = left.name.rsplit("-", 2)[0] + "-00000000-abc"
    kept = [place / name for name in (foreign, "kernelproof-report-1-2-3", f"kernelproof-{folders.mark()}-x")]
    for path in kept:
        path.mkdir()
    mine = folders.new().parent
    assert set(place.iterdir()) == {mine, *kept}


@linux
def test_a_folder_of_a_process_that_runs_stays(place: Path) -> None:
    name = folders.new().parent.name
    pid, began = os.getppid(), tree.started(os.getppid())
    running = place / name.replace(folders.mark(), f"{pid}-{began}")
    reused = place / name.replace(folders.mark(), f"{pid}-{(began or 0) + 1}")
    running.mkdir()
    reused.mkdir()
    folders.sweep()
    assert running.is_dir()
    assert not reused.exists()


def test_no_place_is_one_clear_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "missing"))
    with pytest.raises(ResourceError, match="set TMPDIR"):
        folders.new()
