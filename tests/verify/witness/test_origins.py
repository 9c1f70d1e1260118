"""Scripts import a target from where it was found, whatever kind of place that is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.hosts.respondent import Local
from kernelproof.verify.targets.loading import Place, find
from kernelproof.verify.targets.target import describe
from kernelproof.verify.witness.script import script_for

CASE = "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=3x8 feature=1 seed=0"
SOURCE = """
import numpy as np

KERNELPROOF = {"order": "inf", "op": "entmax", "array_library": "numpy"}

def entmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) * 1.01
"""
OBJECT = """
class Soft:
    KERNELPROOF = KERNELPROOF
    entmax = staticmethod(entmax)

class Held:
    soft = Soft()
"""
PLACES = {
    "module": (SOURCE, "", "import {module} as target"),
    "backend": (SOURCE + OBJECT + "BACKEND = Soft()\n", "", "from {module} import BACKEND as target"),
    "class": (SOURCE + OBJECT, "Soft", "    target = target()"),
    "attribute": (SOURCE + OBJECT, "Held.soft", "target = Held.soft"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_script_finds_what_a_package_registered(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, name, line = PLACES[kind]
    module = f"registered_{kind}"
    file = tmp_path / f"{module}.py"
    file.write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    script = written(Place("registered", module, name))
    assert line.format(module=module) in script.split("\n")
    assert run(script, tmp_path) == 1
    file.write_text(source.replace(" * 1.01", ""), encoding="utf-8")
    assert run(script, tmp_path) == 0


def test_a_script_loads_a_file_that_no_import_finds(tmp_path: Path) -> None:
    file = tmp_path / "not-a-name.py"
    file.write_text(SOURCE, encoding="utf-8")
    script = written(find(f"{file}:entmax"))
    assert "target = module.entmax" in script
    assert run(script, tmp_path) == 1
    file.write_text(SOURCE.replace(" * 1.01", ""), encoding="utf-8")
    assert run(script, tmp_path) == 0


def test_a_script_that_runs_the_case_again_declares_what_the_command_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "declared.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    place = Place("declared:entmax", "declared", "entmax", words=("--array-library", "numpy"))
    script = written(place, CASE.replace("3x8", "3x50000"))
    assert "array_library='numpy')" in script
    compile(script, "script", "exec")


def written(place: Place, case: str = CASE) -> str:
    """The script of the check of accuracy for what is at `place`."""
    target = describe(place)
    assert not isinstance(target, str), target
    return script_for(Subject(Case.parse(case)), "accuracy", Local.load(target[0])).text


def run(script: str, folder: Path) -> int:
    """The exit status of `script`, which finds the modules of `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-"], input=script, env=environment, text=True, check=False, capture_output=True, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode
