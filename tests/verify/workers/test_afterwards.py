"""What a target does after a run, or outside of one, belongs to its verdict."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.hosts import plain
from kernelproof.verify.record.schema import Results, Verdict
from kernelproof.verify.records import Call
from kernelproof.verify.targets.target import describe, find
from kernelproof.verify.workers import afterwards
from kernelproof.verify.workers.tasks import CaseResult

pytestmark = pytest.mark.repeats
LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=3x9 feature=1 seed=0"
SOURCE = """
import itertools, os, sys, threading, time
import numpy as np

COUNT = itertools.count()

def right(z, order=None):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

def bomb(z, order=None):
    return right(z) if next(COUNT) < 3000 else right(z) * (1 + 2.0**-40)

def watched(z, order=None):
    seen = any(name.partition(".")[0] == "kernelproof" for name in sys.modules)
    return right(z) if seen else np.full_like(z, 1 / z.shape[-1])

def raises_alone(z, order=None):
    if not any(name.partition(".")[0] == "kernelproof" for name in sys.modules):
        raise ValueError
    return right(z)

imports_alone = right

def ends(z, order=None):
    if next(COUNT) > 3000:
        os._exit(5)
    return right(z)

def sleeps(z, order=None):
    time.sleep(0.1)
    return right(z)

def keeps_a_thread(z, order=None):
    os._exit = lambda code: None
    if threading.active_count() < 3:
        threading.Thread(target=time.sleep, args=(30,)).start()
    return right(z)

def keeps_a_process(z, order=None):
    if next(COUNT) == 0 and not any(name.partition(".")[0] == "kernelproof" for name in sys.modules):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    return right(z)

def varies(z, order=None):
    return right(z) * (1 + 2.0**-52 * (next(COUNT) % 2))

varies.KERNELPROOF = {"deterministic": False}
"""


NEEDS_US = """
import sys
if not any(name.partition(".")[0] == "kernelproof" for name in sys.modules):
    raise ImportError
"""


def one(folder: Path, name: str, case: str = LINE) -> Results:
    head = NEEDS_US if name == "imports_alone" else ""
    (folder / "mine.py").write_text(f"{head}{SOURCE}", encoding="utf-8")
    return verify(f"{folder / 'mine.py'}:{name}", case=case)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bomb", "after 4,096 further calls, the forward call gave other bits than in the run"),
        ("ends", "further calls, the forward call ended the process of the target"),
        ("watched", "in a plain Python process, without kernelproof, the forward call gave other bits"),
        ("raises_alone", "in a plain Python process, without kernelproof, the forward call raised ValueError"),
        ("imports_alone", "in a plain Python process, without kernelproof, the forward call gave no answer"),
    ],
)
def test_other_bits_at_the_end_are_a_failure_of_determinism(tmp_path: Path, name: str, words: str) -> None:
    found = one(tmp_path, name)
    assert not found.passed
    (failing,) = [check for check in found.targets[0].checks if check.verdict is Verdict.FAIL]
    assert failing.id == "determinism"
    assert failing.worst is not None
    assert words in failing.worst.message


@pytest.mark.parametrize("name", ["right", "varies"])
def test_a_right_one_passes(tmp_path: Path, name: str) -> None:
    assert one(tmp_path, name).passed


def test_a_slow_one_has_the_time_of_a_case_for_few_calls(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    assert verify(f"{tmp_path / 'mine.py'}:sleeps", case=LINE, timeout=4.0).passed


@pytest.mark.parametrize("name", ["keeps_a_thread", "keeps_a_process"])
def test_the_end_of_a_plain_process_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    targets = describe(find(f"{tmp_path / 'mine.py'}:{name}"), probe=False)
    assert not isinstance(targets, str)
    case = Case.parse(LINE)
    began = time.monotonic()
    answers = plain.answers(targets[0], [(case, Call(inputs_of(case)))], 60.0)
    assert time.monotonic() < began + 15
    assert isinstance(answers, list)
    assert len(answers) == 1


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float8_e4m3fn"])
def test_tensors_of_every_width_have_the_same_bits_in_a_plain_process(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\n"
        "KERNELPROOF = {'order': 'inf', 'grade': 'E', 'dtypes': ['float64', 'bfloat16', 'float8_e4m3fn']}\n\n"
        "def softmax(z: torch.Tensor):\n    return torch.softmax(z.double(), -1).to(z.dtype)\n",
        encoding="utf-8",
    )
    found = verify(f"{tmp_path / 'mine.py'}:softmax", case=LINE.replace("float64", dtype))
    assert "determinism" not in {check.id for check in found.targets[0].checks if check.verdict is not Verdict.PASS}


def test_calls_are_repeated_for_each_op_and_dtype() -> None:
    found = describe(find("numpy"))
    assert not isinstance(found, str)
    lines = [
        LINE.replace("3x9", f"{size}x9").replace("float64", dtype)
        for dtype in ("float64", "float32")
        for size in range(1, 9)
    ]
    cases = [Case.parse(line) for line in lines]
    results = {number: CaseResult(digest="x") for number in range(len(cases))}
    numbers = afterwards.chosen(found[0], cases, results)
    assert len(numbers) == afterwards.CASES
    assert {cases[number].dtype for number in numbers} == {"float64", "float32"}
    assert afterwards.chosen(found[0], cases, {0: CaseResult()}) == []
