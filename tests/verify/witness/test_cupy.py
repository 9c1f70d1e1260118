"""Scripts of CuPy targets, held against a stand-in that refuses what CuPy refuses: they need no GPU to be read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import checks
from kernelproof.verify.hosts.respondent import Local
from kernelproof.verify.targets.loading import find
from kernelproof.verify.targets.target import describe
from kernelproof.verify.witness.script import script_for

pytestmark = pytest.mark.shrinks

STAND_IN = """
import numpy

class ndarray:
    def __init__(self, held):
        self.held, self.shape, self.dtype = held, held.shape, held.dtype
    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")
    def get(self):
        return self.held.copy()
    def __getitem__(self, key):
        return ndarray(self.held[key])

def asarray(a):
    return ndarray(numpy.array(a))

def asnumpy(a):
    return a.get()
"""
TARGET = """
import cupy
import numpy as np

class Soft:
    KERNELPROOF = {{"order": "inf", "array_library": "numpy"}}

    def entmax(self, z):
        e = np.exp(z.held - z.held.max(-1, keepdims=True))
        right = e / e.sum(-1, keepdims=True)
        {fault}
"""
CASE = "entmax order=inf rule=adaptive:1 dtype=float32 family=random shape=3x8 feature=1 seed=0"
FAULTS = {
    "accuracy": "return cupy.asarray(right * 1.01)",
    "dtype_kept": "return cupy.asarray(right.astype('f8'))",
    "determinism": "import time; return cupy.asarray(right * np.float32(1 + time.time() % 1))",
    "input_untouched": "z.held[...] = 0; return cupy.asarray(right)",
    "simplex": "return right",
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_script_gives_and_takes_arrays_of_cupy(check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check in checks()
    (tmp_path / "cupy.py").write_text(STAND_IN, encoding="utf-8")
    file = tmp_path / f"given_{check}.py"
    file.write_text(TARGET.format(fault=FAULTS[check]), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    found = describe(find(f"{file}:Soft"))
    assert not isinstance(found, str)
    asked = Local.load(replace(found[0], array_library="cupy"))
    script = script_for(Subject(Case.parse(CASE)), check, asked).text
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert "kernelproof" not in script
    for fault, code in ((FAULTS[check], 1), ("return cupy.asarray(right)", 0)):
        file.write_text(TARGET.format(fault=fault), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-"],
            input=script,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == code, (script, run.stdout, run.stderr)
        assert "Traceback" not in run.stderr, run.stderr
