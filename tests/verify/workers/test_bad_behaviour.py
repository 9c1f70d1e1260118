"""What a target does beside answering: a verdict or a line for it, never a traceback of ours, never a pass."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.meta.planting import failing, loaded_here

import kernelproof
from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.hosts.guard import Guard, described
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.state import State, flushes, rounds_to_nearest
from kernelproof.verify.record.schema import Results, Verdict
from kernelproof.verify.records import Call
from kernelproof.verify.targets.target import find

SOURCE = """
import importlib, locale, os, random, signal, sys, threading, time
import numpy as np

def right(z, order=None):
    with np.errstate(all="ignore"):
        wide = z.astype(np.float64)
        e = np.exp(wide - wide.max(axis=-1, keepdims=True, initial=-np.inf))
        return (e / e.sum(axis=-1, keepdims=True)).astype(z.dtype)

def seeds(z, order=None):
    np.random.seed(0)
    return right(z)

def draws(z, order=None):
    random.random()
    return right(z)

def ignores(z, order=None):
    np.seterr(all="ignore")
    return right(z)

def moves(z, order=None):
    os.chdir("/")
    return right(z)

def remembers(z, order=None):
    os.environ["KERNELPROOF_TEST"] = str(z.size)
    return right(z)

def remembers_and_imports(z, order=None):
    os.environ["KERNELPROOF_TEST"] = "1"
    importlib.import_module("imported_in_a_call")
    return right(z)

def imports_what_remembers(z, order=None):
    importlib.import_module("sets_a_variable")
    return right(z)

def forgets(z, order=None):
    os.environ.pop("KERNELPROOF_HELD", None)
    return right(z)

def remembers_for_a_while(z, order=None):
    os.environ["KERNELPROOF_TEST"] = "1"
    del os.environ["KERNELPROOF_TEST"]
    os.environ["KERNELPROOF_HELD"] = "held"
    return right(z)

def handles(z, order=None):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return right(z)

def patches(z, order=None):
    np.abs = np.exp
    return right(z)

def hides(z, order=None):
    sys.stdout = sys.__stderr__
    return right(z)

def forks(z, order=None):
    os.fork()
    return right(z)

def forks_and_raises(z, order=None):
    if os.fork() == 0:
        raise KeyboardInterrupt
    return right(z)

def forks_well(z, order=None):
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return right(z)

def interrupts(z, order=None):
    raise KeyboardInterrupt

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def mute(z, order=None):
    raise Mute

def stops(z, order=None):
    os.kill(os.getpid(), signal.SIGSTOP)

def unwatched(z, order=None):
    import faulthandler
    faulthandler.cancel_dump_traceback_later()
    time.sleep(600)

def closes(z, order=None):
    os.closerange(3, 400)
    return right(z)

def closes_ours(z, order=None):
    os.closerange(3, 4096)
    return right(z)

def noisy(z, order=None):
    print("hello")
    os.write(2, b"from below")
    return right(z)

def leaves(z, order=None):
    threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
    return right(z)

def leaks(z, order=None):
    HELD.append(np.ones(1 << 22))
    return right(z)

HELD = []

def scalar(z, order=None):
    return 0.5

def text(z, order=None):
    return np.array(["a"])

def masked(z, order=None):
    return np.ma.masked_array(right(z), mask=True)

def complex_(z, order=None):
    return right(z) + 0j

def nothing(z, order=None):
    return ()

def more(z, order=None):
    return right(z)[None]

def fewer(z, order=None):
    return right(z)[..., :-1]

def flags(z, order=None):
    return right(z) > 0.5

class Gradients:
    dtypes = ("float64",)
    array_library = "numpy"

    def __init__(self, found):
        self.found = found

    def entmax(self, z, *, order=None):
        return right(z)

    def vjp(self, op, cotangent, z, *, order=None):
        return self.found(z)

number = Gradients(lambda z: 3)
odd_names = Gradients(lambda z: {1: z, "z": z})
odd_shapes = Gradients(lambda z: {"z": 0.5, "order": np.zeros((2, 3))})
none = Gradients(lambda z: {"z": None, "order": None})
"""
SETS = "import os\n\nos.environ['KERNELPROOF_IMPORTED'] = '1'\n"
LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
PATIENT = Limits(seconds=20.0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "unruly.py"
    path.write_text(SOURCE, encoding="utf-8")
    (tmp_path / "imported_in_a_call.py").write_text("", encoding="utf-8")
    (tmp_path / "sets_a_variable.py").write_text(SETS, encoding="utf-8")
    with loaded_here(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELPROOF_HELD", "held")
        yield path


def one(file: Path, name: str, limits: Limits = PATIENT) -> Results:
    """What the workers say of one case."""
    return verify(f"{file}:{name}", case=LINE, timeout=limits)


def test_the_right_one_passes_and_nothing_is_remarked(file: Path) -> None:
    results = one(file, "right")
    assert failing(results) == {}
    assert results.passed
    assert "prints" not in results.targets[0].note


CHANGES = {
    "seeds": "the random state of NumPy",
    "draws": "the random state of Python",
    "ignores": "how NumPy handles errors",
    "moves": "the working directory",
    "remembers": "environment variables",
    "remembers_and_imports": "environment variables",
    "forgets": "environment variables",
    "handles": "signal handlers",
    "patches": "the functions of NumPy",
    "hides": "the standard streams",
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_call_changes_is_named_and_put_back(name: str, file: Path) -> None:
    before = State.now()
    results = verify(f"{file}:{name}", case=LINE, serial=True)
    after = State.now()
    assert failing(results).keys() == {"global_state"}
    assert CHANGES[name] in failing(results)["global_state"]
    assert before.changed_by(after) == ()


def test_variables_of_the_workers_are_watched_too(file: Path) -> None:
    assert failing(one(file, "remembers_and_imports")).keys() == {"global_state"}


@pytest.mark.parametrize("name", ["imports_what_remembers", "remembers_for_a_while"])
def test_variables_that_an_import_sets_or_that_are_put_back_are_no_fault(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that what the import sets is put back after the test.
    monkeypatch.setenv("KERNELPROOF_IMPORTED", "0")
    assert failing(verify(f"{file}:{name}", case=LINE, serial=True)) == {}


@pytest.mark.parametrize("name", ["numpy", "numba", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_built_in_backends_leave_the_variables(name: str) -> None:
    before = dict(os.environ)
    assert failing(verify(name, case=LINE)) == {}
    assert dict(os.environ) == before


@pytest.mark.torch
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("torch.manual_seed(3)", "the random state of torch"),
        ("torch.set_default_dtype(torch.float64)", "the default dtype of torch"),
        ("torch.set_num_threads(3)", "the thread count of torch"),
        ("torch.set_grad_enabled(False)", "whether torch records gradients"),
        ("torch.set_float32_matmul_precision('medium')", "the precision of matrix products in torch"),
        ("torch.set_flush_denormal(True)", "the mode of arithmetic (flush to zero, rounding)"),
    ],
)
def test_what_a_call_changes_of_torch(change: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "with_torch.py"
    path.write_text(f"import torch\n\ndef f(z, order=None):\n    {change}\n    return torch.softmax(z, -1)\n", "utf-8")
    before = State.now()
    with loaded_here(tmp_path):
        results = verify(f"{path}:f", case=LINE, serial=True)
    assert words in failing(results)["global_state"]
    assert before.changed_by(State.now()) == ()
    assert flushes() == (False, False)
    modes = results.environment["processes"][f"{path}:f on cpu"]
    if "flush" in change:
        assert modes["after loading"]["flush to zero"] == {"float64": False, "float32": False}
        assert modes["after its calls"]["flush to zero"] == {"float64": True, "float32": True}
    if "matmul" in change:
        assert modes["after its calls"]["torch"]["matmul precision"] == "medium"
    json.dumps(modes)


@pytest.mark.torch
def test_what_an_import_changes_holds_for_its_own_calls_only(tmp_path: Path) -> None:
    path = tmp_path / "flushing.py"
    path.write_text(
        "import torch\ntorch.set_flush_denormal(True)\n\n"
        "def f(z, order=None):\n    assert float(torch.tensor(2.0**-1022) * 0.5) == 0\n"
        "    return torch.softmax(z, -1)\n",
        "utf-8",
    )
    with loaded_here(tmp_path):
        (target,) = [each for each in described(find(f"{path}:f"), probe=False) if not isinstance(each, str)]
        guard = Guard.load(target, None)
        assert flushes() == (False, False)
        assert guard.loaded["flush to zero"]["float64"] is True
        case = Case.parse(LINE)
        with guard:
            outcome = guard.call(case, Call(inputs_of(case)))
        assert outcome.error is None
        assert outcome.changed == ()
        assert flushes() == (False, False)
    assert any("its import changes" in remark for remark in guard.remarks)


def test_the_modes_of_arithmetic_are_found_by_arithmetic() -> None:
    assert flushes() == (False, False)
    assert rounds_to_nearest()


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork")
@pytest.mark.parametrize("name", ["forks", "forks_and_raises"])
def test_a_child_that_comes_back_is_a_crash_and_reaches_nothing_of_ours(name: str, file: Path) -> None:
    target = one(file, name).targets[0]
    assert target.verdict is Verdict.CRASH
    assert any("the child came back" in (check.worst.message if check.worst else "") for check in target.checks)
    # Each comparison is counted once: no child wrote results of its own.
    assert {check.statistics.get("cases", 0.0) for check in target.checks} <= {0.0, 1.0}


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork")
def test_a_child_that_ends_is_no_fault(file: Path) -> None:
    assert one(file, "forks_well").passed


@pytest.mark.parametrize(
    ("name", "word"), [("interrupts", "KeyboardInterrupt"), ("mute", "Mute"), ("text", "real numbers")]
)
def test_what_is_raised_is_a_failure(name: str, word: str, file: Path) -> None:
    results = one(file, name)
    assert not results.passed
    assert word in failing(results)["accuracy"]


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems stop a process")
@pytest.mark.parametrize("name", ["stops", "unwatched"])
def test_a_worker_that_nobody_watches_is_ended(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelproof.verify.process.child.GRACE", 1.0)
    target = one(file, name, Limits(seconds=8.0, patience=1.0)).targets[0]
    assert target.verdict is Verdict.CRASH
    assert any("no answer" in (check.worst.message if check.worst else "") for check in target.checks)


def test_prints_are_remarked_and_corrupt_nothing(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = one(file, "noisy")
    assert results.passed
    assert "prints, such as 'hello'" in results.targets[0].note
    assert capfd.readouterr().out == ""


def test_threads_that_stay_are_remarked(file: Path) -> None:
    assert "leaves threads running" in one(file, "leaves").targets[0].note


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process can be limited on Linux only")
def test_memory_that_is_not_given_back_is_the_target_s_and_no_one_else_s(file: Path) -> None:
    results = verify(f"{file}:leaks", f"{file}:right", case=LINE, timeout=Limits(seconds=20.0, memory=2**28))
    leaky, good = results.targets
    assert good.passed, failing(results)
    assert leaky.verdict in {Verdict.PASS, Verdict.CRASH}


def test_closed_files_are_opened_again(file: Path) -> None:
    # No pass is promised, nor a failure: only that it ends in results.
    assert one(file, "closes").targets[0].verdict in set(Verdict)


def test_what_closes_our_files_has_ended_its_process(file: Path) -> None:
    results = one(file, "closes_ours")
    assert results.targets[0].verdict is Verdict.CRASH
    assert failing(results)
    assert all("the process ended: exit code 1" in words for words in failing(results).values())
    found = kernelproof.fuzz(f"{file}:closes_ours", examples=1, order="inf", dtype="float64", op="entmax")
    assert not found.passed
    assert "the process ended: exit code 1" in found.findings[0].message


@pytest.mark.parametrize("name", ["scalar", "masked", "complex_", "nothing", "more", "fewer", "flags"])
def test_what_is_no_array_of_weights_fails(name: str, file: Path) -> None:
    results = verify(f"{file}:{name}", op="entmax", order="inf", dtype="float64", suite="quick", serial=True)
    assert results.targets[0].verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["number", "odd_names", "odd_shapes", "none"])
def test_what_are_no_gradients_fails(name: str, file: Path) -> None:
    results = verify(f"{file}:{name}", op="entmax", order="inf", dtype="float64", suite="quick", serial=True)
    assert results.targets[0].verdict is Verdict.FAIL
    assert "gradients" in failing(results)
