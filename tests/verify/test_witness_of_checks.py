"""For every check: the script of a planted fault runs as pasted, shows the fault, and is content with what is right."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.meta.planting import check_of, loaded_here
from tests.verify.planted_faults import FAULTS, JAX_FAULTS, KINK_FAULTS, PLANTED, TORCH_FAULTS, Fault, text_of
from tests.verify.test_witness import pasted

from kernelproof.api import verify
from kernelproof.verify.discovery import checks
from kernelproof.verify.results import Verdict
from kernelproof.verify.state import parts
from kernelproof.verify.witness_effects import STATES


def test_a_script_can_show_a_change_of_every_part_of_the_state() -> None:
    names = ("gc", "locale", "os", "random", "signal", "sys")
    modules = {"np": np, **{name: importlib.import_module(name) for name in names}}
    modules |= {name: sys.modules[name] for name in ("torch", "numba", "mpmath", "flint") if name in sys.modules}
    for part in parts():
        first, second = (eval(STATES[part.name], dict(modules)) for _ in range(2))  # noqa: S307 (ours)
        assert first == second, part.name


def test_every_check_has_a_planted_fault() -> None:
    assert {fault.check for fault in FAULTS} == set(checks())


def parameters(faults: tuple[Fault, ...], *marks: pytest.MarkDecorator) -> Iterator[object]:
    """Each fault; only the first of a check outside of the nightly profile, since each starts two interpreters."""
    seen: set[str] = set()
    for fault in faults:
        more = [pytest.mark.nightly] if fault.check in seen else []
        seen.add(fault.check)
        yield pytest.param(fault, marks=[*marks, *more], id=str(fault))


@pytest.mark.parametrize(
    "fault",
    [
        *parameters(FAULTS),
        *(pytest.param(fault, id=str(fault)) for fault in KINK_FAULTS),
        *parameters(TORCH_FAULTS, pytest.mark.torch),
        *parameters(JAX_FAULTS, pytest.mark.jax),
    ],
)
def test_the_script_of_a_failure_shows_the_fault_and_not_the_mended_target(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How far a witness is shrunk is for other tests to say.
    monkeypatch.setattr("kernelproof.verify.fuzz.scripting.SUBJECTS", 30)
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    file = home / "planted_target.py"
    file.write_text(text_of(fault, mended=False), encoding="utf-8")
    with loaded_here(home):
        results = verify(f"{file}:{PLANTED}", case=fault.case, serial=True)
    check = check_of(results, fault.check)
    assert check.verdict is Verdict.FAIL
    assert check.script
    assert "kernelproof" not in check.script
    run = pasted(check.script, empty)
    assert run.returncode == 1, (check.script, run.stdout, run.stderr)
    if "the call gave no output" not in check.script or "TargetError" in check.script:
        assert "Traceback" not in run.stderr, (check.script, run.stderr)
        assert (run.stdout + run.stderr).strip()
    file.write_text(text_of(fault, mended=True), encoding="utf-8")
    run = pasted(check.script, empty)
    assert run.returncode == 0, (check.script, run.stdout, run.stderr)
    assert list(empty.iterdir()) == []
