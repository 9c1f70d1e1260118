"""For every check: the script of a planted fault runs as pasted, shows the fault, and is content with what is right."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.meta.planting import loaded_here
from tests.verify.witness.planted_faults import PLANTED, TORCH_FAULTS, Fault, Shown, parameters, text_of
from tests.verify.witness.planted_more import (
    BITS_FAULTS,
    HISTORY_FAULTS,
    JAX_FAULTS,
    KINK_FAULTS,
    LARGE_FAULT,
    LAYOUT_FAULTS,
    THIRD_CALL,
)
from tests.verify.witness.test_script import pasted

from kernelproof.api import verify
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families.layouts import laid
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.hosts.respondent import Local
from kernelproof.verify.process.state import parts
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.targets.arrays import Kind, same_bits, take
from kernelproof.verify.targets.loading import find
from kernelproof.verify.targets.target import describe
from kernelproof.verify.witness.calls import ScriptCall
from kernelproof.verify.witness.literals import literal
from kernelproof.verify.witness.renderer import rendered
from kernelproof.verify.witness.script import script_for
from kernelproof.verify.witness.states import STATES

pytestmark = pytest.mark.shrinks


def test_a_script_can_show_a_change_of_every_part_of_the_state() -> None:
    names = ("gc", "locale", "os", "random", "signal", "sys")
    modules = {"np": np, **{name: importlib.import_module(name) for name in names}}
    modules |= {name: sys.modules[name] for name in ("torch", "numba", "mpmath", "flint") if name in sys.modules}
    for part in parts():
        first, second = (eval(STATES[part.name], dict(modules)) for _ in range(2))  # noqa: S307 (ours)
        assert first == second, part.name


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "bool"])
@pytest.mark.parametrize("kind", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_large_array_is_read_back_bit_for_bit(kind: Kind, dtype: str, *, transposed: bool) -> None:
    wide = np.random.default_rng(0).normal(size=(2, 3001))
    wide[0, :3] = np.inf, np.nan, -0.0
    array = wide > 0 if dtype == "bool" else wide.astype(FORMATS[dtype].dtype)
    array = laid(array, "transposed") if transposed else array
    call = ScriptCall("got", "entmax", "forward", "function", kind, {}, {"back": literal(array, kind)})
    text = rendered("inputs.py.j2", call=call)
    assert max(len(line) for line in text.splitlines()) < 130
    names = ("base64", "zlib", "ml_dtypes", *(["torch"] if kind == "torch" else []))
    held = {"np": np, **{name: importlib.import_module(name) for name in names}}
    exec(text, held)  # noqa: S102 (ours)
    back = held["back"]
    if kind == "numpy":
        assert back.strides == array.strides
        back[0, 0] = 1
        back[0, 0] = array[0, 0]
    assert same_bits(take(back, kind), array)


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, id=str(fault)) for fault in (*KINK_FAULTS, *BITS_FAULTS)),
        pytest.param(LARGE_FAULT, id=str(LARGE_FAULT)),
        *parameters(TORCH_FAULTS, pytest.mark.torch),
        *parameters(LAYOUT_FAULTS, pytest.mark.torch),
        *parameters(JAX_FAULTS, pytest.mark.jax),
    ],
)
def test_the_script_of_a_failure_shows_the_fault_and_not_the_mended_target(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize("fault", HISTORY_FAULTS, ids=str)
def test_the_script_of_what_depends_on_earlier_calls_makes_them(fault: Fault, tmp_path: Path) -> None:
    file = tmp_path / "remembering_target.py"
    file.write_text(text_of(fault, mended=False), encoding="utf-8")
    results = verify(f"{file}:{PLANTED}", case=fault.case)
    failed = [check for check in results.targets[0].checks if check.verdict is Verdict.FAIL]
    assert failed
    for check in failed:
        assert check.script
        assert "import kernelproof" not in check.script
        run = pasted(check.script, tmp_path)
        assert run.returncode == 1, (check.script, run.stdout, run.stderr)
    assert any("wrong after the calls" in (check.script or "") for check in failed)
    file.write_text(text_of(fault, mended=True), encoding="utf-8")
    for check in failed:
        run = pasted(check.script or "", tmp_path)
        assert run.returncode == 0, (check.script, run.stdout, run.stderr)


def test_inputs_that_the_third_call_changes_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "third_target.py"
    file.write_text(text_of(THIRD_CALL, mended=False), encoding="utf-8")
    target = describe(find(f"{file}:{PLANTED}"))
    assert not isinstance(target, str)
    with loaded_here(tmp_path):
        asked = Local.load(target[0])
        written = script_for(Subject(Case.parse(THIRD_CALL.case)), "input_untouched", asked)
    assert written.repeats
    script = written.text
    assert "import kernelproof" not in script
    assert "for turn in range(" in script
    assert pasted(script, tmp_path).returncode == 1
    file.write_text(text_of(THIRD_CALL, mended=True), encoding="utf-8")
    assert pasted(script, tmp_path).returncode == 0
