"""Gradients beside rows with nothing to attend to: such a row may be anything, and may spoil nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kernelproof.api import verify
from kernelproof.verify.cases.inputs import zero_empty_cotangents
from kernelproof.verify.checks.gradients import SPOILED
from kernelproof.verify.record.schema import Check
from kernelproof.verify.records import Contract, Inputs

pytest.importorskip("torch")

SOURCE = """
import torch

def attends(q, k, v, mask, scale, fill):
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ k.mT)
    return torch.softmax(s if mask is None else s.masked_fill(~mask, fill), -1) @ v

def uniform(q, k, v, mask=None, scale=None):
    return attends(q, k, v, mask, scale, -1e30)

def nan(q, k, v, mask=None, scale=None):
    return attends(q, k, v, mask, scale, -torch.inf)

def wrong(q, k, v, mask=None, scale=None):
    y = uniform(q, k, v, mask, scale)
    return y + (v - v.detach()).sum(-2, keepdim=True) * 1e-2
"""
LINE = "attention order=inf rule=adaptive:1 dtype=float64 family=masks shape=2x2x3x8x4x4 feature=all seed=0"


def gradients(folder: Path, name: str, empty_row: str) -> Check:
    path = folder / "attends.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = verify(f"{path}:{name}", case=LINE, contract={"empty_row": empty_row}, serial=True).targets[0]
    return next(check for check in found.checks if check.id == "gradients")


def test_a_mean_of_all_values_is_one_of_the_things_that_an_empty_row_may_be(tmp_path: Path) -> None:
    check = gradients(tmp_path, "uniform", "any")
    assert check.failed == 0
    assert check.decided > 0
    assert gradients(tmp_path, "uniform", "zeros").failed


def test_what_an_empty_row_spoils_is_found(tmp_path: Path) -> None:
    assert gradients(tmp_path, "wrong", "any").failed


def test_nan_that_an_empty_row_passes_on_is_open_and_said_unless_the_row_must_be_zeros(tmp_path: Path) -> None:
    path = tmp_path / "attends.py"
    path.write_text(SOURCE, encoding="utf-8")
    target = verify(f"{path}:nan", case=LINE, serial=True).targets[0]
    check = next(check for check in target.checks if check.id == "gradients")
    assert check.failed == 0
    assert check.undecided > 0
    assert check.decided > 0
    assert SPOILED in target.note
    assert gradients(tmp_path, "nan", "zeros").failed


def test_only_empty_rows_lose_their_upstream() -> None:
    upstream = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2)
    inputs = Inputs({}, cotangent=upstream)
    empty = np.array([False, True, False, False, False, True])
    found = zero_empty_cotangents(inputs, empty, Contract()).cotangent
    assert found is not None
    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 1], [0, 0], [4, 5]], [[6, 7], [8, 9], [0, 0]]]
    assert upstream[0, 1, 0] == 2
    for other in ("zeros", "nan", "raise"):
        assert zero_empty_cotangents(inputs, empty, Contract(empty_row=other)) is inputs
    assert zero_empty_cotangents(inputs, np.zeros(6, dtype=bool), Contract()) is inputs


def test_a_script_asks_as_the_check_does(tmp_path: Path) -> None:
    check = gradients(tmp_path, "wrong", "any")
    assert check.script is not None
    path = tmp_path / "script.py"
    path.write_text(check.script, encoding="utf-8")
    run = [sys.executable, str(path)]
    assert subprocess.run(run, cwd=tmp_path, check=False, capture_output=True).returncode == 1
    (tmp_path / "attends.py").write_text(SOURCE.replace("* 1e-2", "* 0"), encoding="utf-8")
    again = subprocess.run(run, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
