"""The runner: what a target does to its process is a result for that case, and never the end of the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kernelproof
from kernelproof.api import verify
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.checks import checks
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record.schema import Check, Results, Target, Verdict

SOURCE = """
import numpy as np
import os, signal, time

def right(z, order):
    e = np.exp((z - z.max(axis=-1, keepdims=True)).astype(np.float64))
    return (e / e.sum(axis=-1, keepdims=True)).astype(z.dtype)

def raises(z, order):
    raise ValueError("not today")

def hangs(z, order):
    if z.shape == (3, 10):
        time.sleep(600)
    return right(z, order)

def exits(z, order):
    if z.shape == (3, 10):
        os._exit(7)
    return right(z, order)

def always_exits(z, order):
    os._exit(9)

def ends_well(z, order):
    os._exit(0)

def always_hangs(z, order):
    time.sleep(600)

def killed(z, order):
    if z.shape == (3, 10):
        os.kill(os.getpid(), signal.SIGKILL)
    return right(z, order)

def greedy(z, order):
    return np.ones(1 << 34)

def chatty(z, order):
    print("hello from the target")
    return right(z, order)
"""
LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def check(target: Target, name: str) -> Check:
    return next(each for each in target.checks if each.id == name)


def small(*targets: str, serial: bool = False, timeout: Limits | None = None) -> Results:
    return verify(*targets, order="inf", dtype="float64", suite="standard", serial=serial, timeout=timeout)


def test_a_right_target_passes_in_this_process_and_in_workers(file: Path) -> None:
    found = [small(f"{file}:right", serial=serial) for serial in (True, False)]
    for results in found:
        assert results.passed, [(each.id, each.worst) for each in results.targets[0].checks if each.failed]
        # NumPy adds strided rows one number after the other, which is within grade B.
        assert results.targets[0].grade in {"A", "B"}
        assert check(results.targets[0], "gradients").verdict is Verdict.UNSUPPORTED
        assert check(results.targets[0], "accuracy").decided > 0
    # Scheduling decides nothing.
    assert found[0].targets == found[1].targets


def test_a_target_that_raises_fails(file: Path) -> None:
    target = small(f"{file}:raises", serial=True).targets[0]
    assert target.verdict is Verdict.FAIL
    assert target.grade == "F"
    worst = check(target, "accuracy").worst
    assert worst is not None
    assert "ValueError: not today" in worst.message
    assert worst.reproduce.startswith("kernelproof verify ")


@pytest.mark.parametrize(("name", "word"), [("exits", "exit code 7"), ("killed", "SIGKILL")])
def test_a_target_that_ends_its_process_crashes_on_that_case_only(file: Path, name: str, word: str) -> None:
    results = small(f"{file}:{name}", f"{file}:right")
    bad, good = results.targets
    assert good.passed
    assert bad.verdict is Verdict.CRASH
    assert bad.grade == "F"
    assert not results.passed
    crashed = next(each for each in bad.checks if each.verdict is Verdict.CRASH)
    assert crashed.worst is not None
    assert word in crashed.worst.message
    assert "shape=3x10" in crashed.worst.case
    # Every other case was judged all the same.
    assert check(bad, "accuracy").statistics["cases"] >= check(good, "accuracy").statistics["cases"] - 3


def test_a_target_that_hangs_crashes_on_that_case_only(file: Path) -> None:
    results = small(f"{file}:hangs", timeout=Limits(seconds=1.0, patience=30.0))
    assert results.command.endswith(" --timeout 1s")
    target = results.targets[0]
    assert target.verdict is Verdict.CRASH
    crashed = next(each for each in target.checks if each.verdict is Verdict.CRASH)
    assert crashed.worst is not None
    assert "no answer in 1 s" in crashed.worst.message


@pytest.mark.parametrize(
    ("name", "word"),
    [("always_exits", "exit code 9"), ("ends_well", "exit code 0"), ("always_hangs", "no answer in 2 s")],
)
def test_a_target_that_never_answers_crashes_and_can_be_loaded(file: Path, name: str, word: str) -> None:
    found = verify(f"{file}:{name}", case=LINE, timeout=Limits(seconds=2.0, patience=30.0)).targets[0]
    assert found.verdict is Verdict.CRASH
    worst = check(found, "accuracy").worst
    assert worst is not None
    assert word in worst.message


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process can be limited on Linux only")
def test_memory_is_limited(file: Path) -> None:
    results = verify(f"{file}:greedy", case=LINE, timeout=Limits(memory=2**30))
    target = results.targets[0]
    assert target.verdict is Verdict.CRASH
    worst = check(target, "accuracy").worst
    assert worst is not None
    assert "out of memory" in worst.message


def test_an_import_that_ends_the_process_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "deadly.py"
    path.write_text("import os\nos._exit(5)\n", encoding="utf-8")
    with pytest.raises(TargetError, match="exit code 5"):
        small(f"{path}:f")


def test_a_target_that_was_never_called_fails(file: Path) -> None:
    results = verify(f"{file}:right", dtype="bfloat16", order="inf", serial=True)
    target = results.targets[0]
    assert not results.passed
    assert target.verdict is Verdict.UNSUPPORTED
    assert "never called" in target.note
    assert "bfloat16" in target.note
    assert all(cell.not_tried for cell in target.coverage)


def test_nothing_decided_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelproof.verify.records import Judgement

    for each in checks().values():
        monkeypatch.setattr(type(each), "judge", lambda *_: Judgement())
    results = small(f"{file}:right", serial=True)
    assert not results.passed
    assert results.targets[0].verdict is Verdict.UNDECIDED
    assert "nothing was decided" in results.targets[0].note


def test_a_check_that_decides_nothing_is_undecided(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelproof.verify.records import Judgement

    monkeypatch.setattr(type(checks()["simplex"]), "judge", lambda *_: Judgement())
    results = small(f"{file}:right", serial=True)
    assert check(results.targets[0], "simplex").verdict is Verdict.UNDECIDED
    assert results.targets[0].verdict is Verdict.UNDECIDED
    assert not results.passed


def test_one_case_by_its_text(file: Path) -> None:
    results = verify(f"{file}:right", case=LINE, serial=True)
    assert results.passed
    assert results.command == f"kernelproof verify {file}:right --case '{LINE}'"
    assert [cell.family for cell in results.targets[0].coverage] == ["ties"]
    assert {each.statistics.get("cases", 0.0) for each in results.targets[0].checks} <= {0.0, 1.0}


def test_functions_are_targets_too() -> None:
    with pytest.raises(TargetError, match="own name"):
        verify(lambda z: z, serial=True)


def test_our_own_fault_is_not_the_target_s(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        msg = "a bug in a check"
        raise RuntimeError(msg)

    monkeypatch.setattr(type(checks()["simplex"]), "judge", wrong)
    with pytest.raises(RuntimeError, match="a bug in a check"):
        small(f"{file}:right", serial=True)


@pytest.mark.parametrize(
    "options",
    [
        {"op": "conv"},
        {"order": "-inf"},
        {"order": "1", "alpha": "2"},
        {"alpha": "-1/2"},
        {"alpha": "2", "op": "weights"},
        {"dtype": "int8"},
        {"suite": "huge"},
        {"device": "tpu"},
        {"seed": -1},
        {"case": LINE, "order": "1"},
        {"case": LINE.replace("ties", "tie")},
        {"case": LINE.replace("feature=1", "feature=one")},
    ],
)
def test_bad_arguments(options: dict[str, object]) -> None:
    with pytest.raises(DomainError) as caught:
        verify("json:dumps", serial=True, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_script_without_a_main_guard_runs(file: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import kernelproof\nresults = kernelproof.verify({str(file) + ':chatty'!r}, case={LINE!r})\n"
        "print(results.passed)\n",
        encoding="utf-8",
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert found.stdout == "True\n", found.stderr


def test_the_package_is_callable(file: Path) -> None:
    called: Results = kernelproof.verify(f"{file}:right", case=LINE, serial=True)
    assert called.passed


def test_a_check_whose_other_call_the_target_does_not_take_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "square.py"
    path.write_text(
        "import numpy as np\n"
        "import kernelproof\n"
        "@kernelproof.declare(op='attention', order='inf', rule='adaptive:1', square=True)\n"
        "def attend(q, k, v):\n"
        "    s = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])\n"
        "    w = np.exp(s - s.max(-1, keepdims=True))\n"
        "    return w / w.sum(-1, keepdims=True) @ v\n"
    )
    # One query alone is not as many queries as keys: nothing to compare with, and no fault of ours.
    case = "attention order=inf rule=adaptive:1 dtype=float64 family=random shape=2x2x4x4x3x3 feature=1 seed=0"
    results = verify(f"{path}:attend", case=case, serial=True)
    checks = {check.id: check for check in results.targets[0].checks}
    assert results.passed
    assert "batch" not in checks or not checks["batch"].decided
    assert checks["accuracy"].decided
