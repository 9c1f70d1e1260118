"""The examples: the command in the head of each passes as it stands, and a fault planted in each is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import unshrunk

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
SCORED = ("--case", "weights order=2 rule=anchored:2 dtype=float64 family=random shape=3x12 feature=1 seed=0")
ENTMAX = ("--case", "entmax order=1 rule=adaptive:1 dtype=float32 family=random shape=3x12 feature=1 seed=0")
SOFTMAX = ("--case", "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=3x12 feature=1 seed=0")
REGRESSION = "regression order=1 rule=fixed:3 dtype=float32 family={} feature={} seed=0"
GAUSSIAN = ("--case", "regression order=inf rule=fixed:3 dtype=float64 family=random shape=3x12x3x2 feature=1 seed=0")
RANDOM = ("--case", REGRESSION.format("random shape=3x12x3x2", 1))
EMPTY = ("--case", REGRESSION.format("masks shape=2x8x3x2", "empty_ball"))
QUICK = ("--suite", "quick")
QUICK32 = (*QUICK, "--dtype", "float32")

HEADS = [
    pytest.param("nadaraya_watson.py", QUICK),
    pytest.param("relumax_numpy.py", QUICK),
    pytest.param("sparsemax_torch.py", QUICK32, marks=pytest.mark.torch),
    # JAX compiles for every shape, and Triton's interpreter is slow: a case each instead of a suite.
    pytest.param("epanechnikov_jax.py", RANDOM, marks=pytest.mark.jax),
    pytest.param("epanechnikov_jax.py", EMPTY, marks=pytest.mark.jax),
    pytest.param("sparsemax_triton.py", ENTMAX, marks=pytest.mark.triton),
    pytest.param("sparsemax.c", QUICK32, marks=pytest.mark.cc),
    # A process for every call: a case here too.
    pytest.param("softmax_pipe.sh", SOFTMAX),
    # Without a word more, or with every dtype: the same ways, and half a minute each.
    pytest.param("nadaraya_watson.py", (), marks=pytest.mark.nightly),
    pytest.param("sparsemax_torch.py", QUICK, marks=[pytest.mark.torch, pytest.mark.nightly]),
    pytest.param("sparsemax.c", QUICK, marks=[pytest.mark.cc, pytest.mark.nightly]),
    pytest.param("softmax_pipe.sh", QUICK32, marks=pytest.mark.nightly),
]
FAULTS = [
    pytest.param("nadaraya_watson.py", "(2 * h**2)", "h**2", GAUSSIAN, "accuracy"),
    pytest.param("relumax_numpy.py", "n * np.log1p", "(n + 1) * np.log1p", SCORED, "accuracy"),
    pytest.param(
        "sparsemax_torch.py", "(top - gaps)", "(top - gaps.detach())", ENTMAX, "gradients", marks=pytest.mark.torch
    ),
    pytest.param(
        "epanechnikov_jax.py", "jnp.where(total == 0, 1, total)", "total", EMPTY, "empty_rows", marks=pytest.mark.jax
    ),
    pytest.param("sparsemax_triton.py", "top - gaps, 0.0", "top, 0.0", ENTMAX, "accuracy", marks=pytest.mark.triton),
    # Its command says the order, which a case would say again.
    pytest.param("sparsemax.c", "top - (sorted[0]", "top - 2 * (sorted[0]", QUICK32, "accuracy", marks=pytest.mark.cc),
    pytest.param("softmax_pipe.sh", "exp(z[i] - top)", "exp((z[i] - top) / 2)", SOFTMAX, "accuracy"),
]


def command_of(path: Path) -> str:
    """The indented command in the head of an example."""
    head = path.read_text(encoding="utf-8").split("\n\n", 3)
    found = re.search(r"^[\s#*]*\s{4}((?:\S.*)?kernelproof verify .*)$", "\n\n".join(head), re.MULTILINE)
    assert found is not None, f"{path.name} has no command in its head"
    return found[1]


def run(folder: Path, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the example `name`, with more arguments, beside a copy of the examples."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = f'{command_of(folder / "examples" / name)} "$@"'
    words = ["sh", "-c", command, "sh", *more, "--out", "report"]
    return subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(("name", "more"), HEADS)
def test_the_command_in_the_head_passes(folder: Path, name: str, more: tuple[str, ...]) -> None:
    done = run(folder, name, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize(("name", "right", "wrong", "more", "check"), FAULTS)
def test_a_fault_is_found(folder: Path, name: str, right: str, wrong: str, more: tuple[str, ...], check: str) -> None:
    path = folder / "examples" / name
    source = path.read_text(encoding="utf-8")
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    command = folder / "bin" / "kernelproof"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{unshrunk.PROGRAM}", encoding="utf-8")
    command.chmod(0o755)
    done = run(folder, name, *more)
    assert done.returncode == 1, done.stdout + done.stderr
    assert check in done.stdout


def test_every_example_is_run() -> None:
    told = {str(each.values[0]) for each in HEADS}
    assert told == {str(each.values[0]) for each in FAULTS}
    assert told == {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".c", ".sh"}}
