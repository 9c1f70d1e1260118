"""A call that loses the CUDA context is a crash of its own case, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernelproof
from kernelproof.api import verify
from kernelproof.verify.record.schema import Verdict

# What an illegal memory access does to a process, without a device: every later call fails.
SOURCE = """
import torch

LOST = []

def softmax(z: torch.Tensor) -> torch.Tensor:
    if z.shape[-1] == {keys} or LOST:
        LOST.append(True)
        torch.cuda.is_initialized = lambda: True
        torch.cuda.synchronize = illegal
        illegal()
    return torch.softmax(z.double(), -1).to(z.dtype)

def illegal() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")

softmax.KERNELPROOF = {{"op": "entmax", "order": "inf", "dtypes": ["float32"], "gradients": []}}
"""

pytest.importorskip("torch", reason="torch is not installed; pip install 'kernelproof[torch]'")


def written(folder: Path, keys: int) -> str:
    (folder / "mine.py").write_text(SOURCE.format(keys=keys), encoding="utf-8")
    return f"{folder / 'mine.py'}:softmax"


def test_other_cases_are_judged_by_what_a_new_process_says(tmp_path: Path) -> None:
    (target,) = verify(written(tmp_path, 33), suite="quick").targets
    crashed = [check for check in target.checks if check.verdict is Verdict.CRASH]
    assert crashed
    for check in crashed:
        assert all("CUDA context is lost" in failure.message for failure in check.failures)
        # The shape is the last word but the feature and the seed: rows of 33 keys.
        assert all("x33 " in failure.case for failure in check.failures)
    assert not any(check.verdict is Verdict.FAIL for check in target.checks)
    assert sum(check.decided for check in target.checks) > 1000


def test_fuzzing_names_it_and_goes_on(tmp_path: Path) -> None:
    found = kernelproof.fuzz(written(tmp_path, 5), examples=60, seed=2)
    assert {finding.check for finding in found.findings} == {"crash"}
    assert all("CUDA context is lost" in finding.message for finding in found.findings)
    assert sum(cell.decided for cell in found.coverage) > 1000
