"""A cache of truth of one test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.verify.truth import cache
from kernelproof.verify.truth.cache import Place


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder, which is not there yet."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    cache._STORES.clear()
    return tmp_path / "cache"


@pytest.fixture
def cache_place(cache_home: Path) -> Place:
    """Its place, prepared."""
    found, trouble = cache.prepared()
    assert trouble == ""
    assert found is not None
    assert found.file == str(cache_home / cache.FILE)
    return found
