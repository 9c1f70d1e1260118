"""Seams: duplicates and modules without their object are errors, and never a quiet gap."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernelproof.verify.backends import backend_names
from kernelproof.verify.cases.families import families
from kernelproof.verify.checks import checks
from kernelproof.verify.registry import SeamError, collect, index, module_names


@pytest.fixture
def seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "seam_under_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "one.py").write_text("class One:\n    id = 'one'\nTHING = One()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yielded = folder
    for name in [name for name in sys.modules if name.startswith("seam_under_test")]:
        monkeypatch.delitem(sys.modules, name)
    return yielded


@pytest.mark.usefixtures("seam")
def test_a_new_file_is_found() -> None:
    assert list(collect("seam_under_test", "THING")) == ["one"]
    assert module_names("seam_under_test") == ["one"]


def test_a_module_without_its_object_raises(seam: Path) -> None:
    (seam / "two.py").write_text("", encoding="utf-8")
    with pytest.raises(SeamError, match="two has none"):
        collect("seam_under_test", "THING")


def test_a_duplicate_id_raises() -> None:
    same = SimpleNamespace(id="same")
    with pytest.raises(SeamError, match="first and second are both 'same'"):
        index([("first", same), ("second", same)], "package")


def test_what_there_is() -> None:
    assert "accuracy" in checks()
    assert "random" in families()
    assert "numpy" in backend_names()
    for held in (checks(), families()):
        assert all(name == item.id and item.title for name, item in held.items())
