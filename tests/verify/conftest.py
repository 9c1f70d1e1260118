"""A cache of truth of one test's own, and what shows a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.witness.planted_faults import Fault, Shown, shows

from kernelproof.verify.truth import cache
from kernelproof.verify.truth.cache import CacheFile


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder, which is not there yet."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    cache._STORES.clear()
    return tmp_path / "cache"


@pytest.fixture
def cache_place(cache_home: Path) -> CacheFile:
    """Its place, prepared."""
    found, trouble = cache.prepared()
    assert trouble == ""
    assert found is not None
    assert found.file == str(cache_home / cache.FILE)
    return found


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Asserts that a planted fault is found, and that its script shows it."""
    # How far a witness is shrunk is for other tests to say.
    monkeypatch.setattr("kernelproof.verify.fuzz.scripts.SUBJECTS", 30)

    def show(fault: Fault) -> None:
        shows(fault, tmp_path)

    return show
