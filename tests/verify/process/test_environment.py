"""The environment of a run: plain data, whatever the machine has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kernelproof import __version__
from kernelproof.verify.process import environment
from kernelproof.verify.process.environment import commit
from kernelproof.verify.process.spawning import THREADS, threads_limited


def test_it_is_plain_data_with_what_design_asks_for() -> None:
    found = environment.environment(with_torch=False, seed=7)
    assert json.loads(json.dumps(found)) == found
    assert {"python", "packages", "cpu", "gpu", "threads", "flush to zero", "seed", "commit"} <= found.keys()
    assert found["kernelproof"] == __version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["cpu"]["cores"] >= 1
    assert found["seed"] == 7
    assert found["flush to zero"] is False


@pytest.mark.torch
def test_torch_tells_its_modes() -> None:
    found = environment.environment(with_torch=True)
    assert {"tf32", "matmul precision", "deterministic"} <= found["torch"].keys()
    assert json.loads(json.dumps(found)) == found


def test_numba_is_cold_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "none"))
    assert environment.numba_is_cold()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert environment.numba_is_cold()
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "f.nbi").touch()
    assert not environment.numba_is_cold()


def test_threads_are_limited_inside_only_and_the_user_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with threads_limited(2):
        assert os.environ["OMP_NUM_THREADS"] == "5"
        assert os.environ["NUMBA_NUM_THREADS"] == "2"
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_a_commit_with_changes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kernelproof.verify.process.environment.__file__", str(tmp_path / "verify" / "process" / "environment.py")
    )
    assert commit() is None
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)  # noqa: S607 (git of the user)
    clean = commit()
    assert clean is not None
    assert clean.isalnum()
    (tmp_path / "new").write_text("")
    assert commit() == f"{clean} with changes"


def test_jax_is_asked_for_what_its_compiler_flushes() -> None:
    jnp = pytest.importorskip("jax.numpy")
    halved = np.asarray(jnp.asarray(np.array([2.0**-126], dtype=np.float32)) * jnp.float32(0.5))
    assert environment.modes()["jax"] == {"flush to zero": {"float32": bool(halved[0] == 0)}}
