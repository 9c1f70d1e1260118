"""Whatever is in the files of Numba's cache, a function can be called, and the next process finds it compiled."""

from __future__ import annotations

import errno
import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

SOURCE = """\
from kernelproof.reference.compiled_cache import cached


@cached
def more(x):
    return x + 1.5
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[], Any]:
    """Import the module of `SOURCE` as a new process would."""
    path = tmp_path / "compiles.py"
    path.write_text(SOURCE, encoding="utf-8")

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("compiles", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.more

    return load


def hits_of(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": truncated,
    "foreign": lambda _: b"of another program\n",
    "another object": lambda _: pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_damaged_cache_is_rebuilt(loaded: Callable[[], Any], tmp_path: Path, ending: str, damage: str) -> None:
    assert loaded()(1.0) == 2.5
    intact = loaded()
    assert intact(1.0) == 2.5 and hits_of(intact) == 1
    (file,) = tmp_path.glob(f"__pycache__/*.{ending}")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    again = loaded()
    assert again(1.0) == 2.5 and hits_of(again) == 0
    rebuilt = loaded()
    assert rebuilt(1.0) == 2.5 and hits_of(rebuilt) == 1


def test_where_nothing_can_be_written_it_is_compiled(
    loaded: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_index", full)
    assert loaded()(1.0) == 2.5
    monkeypatch.undo()
    assert loaded()(1.0) == 2.5
    (index,) = tmp_path.glob("__pycache__/*.nbi")
    index.write_bytes(b"")
    monkeypatch.setattr(IndexDataCacheFile, "_save_index", full)
    assert loaded()(1.0) == 2.5


def test_the_backend_and_the_truth_have_such_a_cache() -> None:
    from kernelproof.reference.bulk.rows import solve_rows
    from kernelproof.reference.compiled_cache import RebuiltCache
    from kernelproof.verify.backends.numba.jit import jit

    for function in (solve_rows, jit(lambda x: x)):
        assert isinstance(getattr(function, "_cache", None), RebuiltCache)
