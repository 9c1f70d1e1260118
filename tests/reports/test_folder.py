from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelproof import reports
from kernelproof.reference.errors import DomainError
from kernelproof.reports import folder
from kernelproof.verify.record.schema import Results


def test_the_files_of_a_report_are_a_pure_function_of_its_json(tmp_path: Path, small_results: Results) -> None:
    first, second = tmp_path / "new" / "first", tmp_path / "second"
    reports.write(small_results, first)
    reports.write(reports.read(first), second)
    assert {file.name for file in first.iterdir()} == set(reports.FILES)
    for name in reports.FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_files_that_are_not_ours_stay(tmp_path: Path, empty_results: Results) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    reports.write(empty_results, tmp_path)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "kept"
    assert {file.name for file in tmp_path.iterdir()} == {"mine.txt", *reports.FILES}


def test_a_check_leaves_no_trace(tmp_path: Path) -> None:
    reports.check_writable(tmp_path)
    reports.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def _file(path: Path) -> Path:
    (path / "file").write_text("", encoding="utf-8")
    return path / "file"


def _dangling(path: Path) -> Path:
    (path / "link").symlink_to(path / "nowhere")
    return path / "link"


def _below(path: Path) -> Path:
    return _file(path) / "below"


def _taken(path: Path) -> Path:
    (path / "index.html").mkdir()
    return path


@pytest.mark.parametrize("place", [_file, _below, _dangling, _taken], ids=["file", "below", "link", "taken"])
def test_an_output_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, empty_results: Results, place: Callable[[Path], Path]
) -> None:
    out = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    acts: list[Callable[[], None]] = [lambda: reports.check_writable(out), lambda: reports.write(empty_results, out)]
    for act in acts:
        with pytest.raises(DomainError, match="must be a folder that can be written") as caught:
            act()
        assert str(out) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("fails", ["mkdir", "open", "replace"])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_failing_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: str, fresh: bool
) -> None:
    out = tmp_path / "out"
    if not fresh:
        folder.put({"a": "old", "b": "old"}, out)

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename" if fresh and fails == "replace" else fails, broken)
        with pytest.raises(DomainError, match="No space left on device"):
            folder.put({"a": "new", "b": "new"}, out)
    assert out.exists() is not fresh
    assert [file.name for file in tmp_path.iterdir()] == ([] if fresh else ["out"])
    if not fresh:
        assert {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()} == {"a": "old", "b": "old"}


def test_importing_reports_leaves_the_heavy_packages_alone() -> None:
    heavy = {"matplotlib", "jinja2", "torch", "numba", "scipy", "sympy"}
    code = f"import sys, kernelproof.reports; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
