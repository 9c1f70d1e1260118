"""Causal masks where there are not as many queries as keys: two alignments, each judged by what it means."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import hidden_keys, inputs_of, other_readings, resolve
from kernelproof.verify.cases.subject import Subject, explicit
from kernelproof.verify.fuzz.cuts import cut
from kernelproof.verify.record.schema import Target, Verdict
from kernelproof.verify.records import Call, Contract, Inputs
from kernelproof.verify.targets.protocol import request
from kernelproof.verify.truth.truth import _without_causal as options_of_truth
from kernelproof.verify.truth.truth import truth_of

ROOT = Path(__file__).resolve().parents[3]
TOP_LEFT = Contract(causal="top-left")

SOURCE = """
import numpy as np

def attention(q, k, v, causal, scale, first, poisoned=False):
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2))
    count, size = s.shape[-2:]
    if causal:
        assert causal is True
        s = np.where(np.arange(size) <= np.arange(count)[:, None] + first(count, size), s, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    if not poisoned:
        # What has no weight is left out, so that nothing behind the mask reaches the mean.
        v = np.where((e > 0).any(axis=-2)[..., None], v, 0)
    return (e / e.sum(axis=-1, keepdims=True)) @ v

def top_left(q, k, v, causal=False, scale=None):
    return attention(q, k, v, causal, scale, lambda count, size: 0)

def bottom_right(q, k, v, causal=False, scale=None):
    return attention(q, k, v, causal, scale, lambda count, size: size - count)

def poisoned(q, k, v, causal=False, scale=None):
    return attention(q, k, v, causal, scale, lambda count, size: 0, True)
poisoned.KERNELPROOF = {"masked_nonfinite": "ignored"}

def off_by_one(q, k, v, causal=False, scale=None):
    return attention(q, k, v, causal, scale, lambda count, size: 1)
"""
LINE = (
    "attention order=inf rule=adaptive:1 dtype=float64 family=masks shape=2x2x{count}x{size}x4x2 feature=causal seed=0"
)
SHAPES = [(3, 8), (8, 3), (5, 5)]


def tried(path: Path, name: str, count: int, size: int, causal: str) -> Target:
    source = path / "attends.py"
    source.write_text(SOURCE, encoding="utf-8")
    line = LINE.format(count=count, size=size)
    return verify(f"{source}:{name}", case=line, contract={"causal": causal}, serial=True).targets[0]


@pytest.mark.parametrize(("count", "size"), SHAPES)
def test_top_left_is_judged_as_what_it_means(count: int, size: int, tmp_path: Path) -> None:
    assert tried(tmp_path, "top_left", count, size, "top-left").passed
    assert not tried(tmp_path, "off_by_one", count, size, "top-left").passed
    assert tried(tmp_path, "bottom_right", count, size, "top-left").passed == (count == size)


@pytest.mark.parametrize(("count", "size"), [(3, 8), (5, 5)])
def test_bottom_right_is_what_the_op_is(count: int, size: int, tmp_path: Path) -> None:
    assert tried(tmp_path, "bottom_right", count, size, "bottom-right").passed
    assert tried(tmp_path, "top_left", count, size, "bottom-right").passed == (count == size)


@pytest.mark.parametrize(
    ("name", "causal", "other"),
    [("top_left", "bottom-right", "top-left"), ("bottom_right", "top-left", "bottom-right")],
)
def test_a_target_of_the_other_alignment_is_told_so(name: str, causal: str, other: str, tmp_path: Path) -> None:
    assert f'declares causal = "{other}"' in tried(tmp_path, name, 3, 8, causal).note
    assert "declares causal" not in tried(tmp_path, "off_by_one", 3, 8, causal).note


def test_scripts_call_with_true(tmp_path: Path) -> None:
    found = tried(tmp_path, "off_by_one", 3, 8, "top-left")
    script = next(check.script for check in found.checks if check.id == "accuracy")
    assert script is not None
    assert "causal=True" in script
    path = tmp_path / "script.py"
    path.write_text(script, encoding="utf-8")
    run = [sys.executable, str(path)]
    assert subprocess.run(run, cwd=tmp_path, check=False, capture_output=True).returncode == 1
    mended = SOURCE.replace("lambda count, size: 1)", "lambda count, size: 0)")
    (tmp_path / "attends.py").write_text(mended, encoding="utf-8")
    again = subprocess.run(run, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr


def test_what_stands_behind_the_mask_of_a_top_left_target_is_tried(tmp_path: Path) -> None:
    checks = {check.id: check for check in tried(tmp_path, "poisoned", 3, 8, "top-left").checks}
    assert checks["accuracy"].verdict is Verdict.PASS
    assert checks["garbage"].verdict is Verdict.FAIL
    path = tmp_path / "script.py"
    path.write_text(checks["garbage"].script or "", encoding="utf-8")
    assert "kernelproof" not in path.read_text("utf-8")
    assert subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_what_is_hidden_goes_by_the_alignment() -> None:
    case = Case.parse(LINE.format(count=3, size=8))
    inputs = inputs_of(case)
    assert not hidden_keys(case, inputs).any()
    meant = resolve(inputs, TOP_LEFT)
    assert hidden_keys(case, meant)[0].tolist() == [False] * 3 + [True] * 5
    assert resolve(meant, Contract()).diagonal == inputs.diagonal == 5
    assert meant.options == inputs.options == {"causal": True}
    assert request(case, Call(meant), 1)["options"]["causal"] is True


def called(options: dict[str, Any], contract: Contract = TOP_LEFT, count: int = 2, size: int = 4) -> Inputs:
    arrays = {name: np.zeros((1, rows, 1)) for name, rows in (("q", count), ("k", size), ("v", size))}
    return resolve(Inputs(arrays, options), contract)


def test_other_masks_stay() -> None:
    seen = np.tril(np.ones((2, 4), dtype=bool))
    flags = np.array([[True, False, True, True]])
    assert options_of_truth(called({"causal": True, "mask": flags}))["mask"].tolist() == (seen & flags).tolist()
    bias = np.array([[0.5, -np.inf, 2.0, 3.0]], dtype=np.float32)
    wanted = np.where(seen, bias, -np.inf)
    found = options_of_truth(called({"causal": True, "mask": bias, "scale": 2.0}))
    assert np.array_equal(found.pop("mask"), wanted)
    assert found == {"scale": 2.0}
    alone = options_of_truth(called({"causal": True}, Contract()))
    assert list(alone) == ["mask"]
    assert alone["mask"].tolist() == [[True, True, True, False], [True] * 4]
    plain = Inputs({}, {"scale": 1.0})
    assert resolve(plain, TOP_LEFT) is plain
    assert options_of_truth(plain) == {"scale": 1.0}


def test_the_other_reading_is_asked_for_where_there_is_one() -> None:
    meant = called({"causal": True})
    assert [(other.causal, each.diagonal) for other, each in other_readings(meant, TOP_LEFT)] == [("bottom-right", 2)]
    assert [(other.causal, each.diagonal) for other, each in other_readings(meant, Contract())] == [("top-left", 0)]
    assert not list(other_readings(called({"causal": True}, count=4), TOP_LEFT))
    assert not list(other_readings(called({"causal": False}), TOP_LEFT))


def test_what_was_not_resolved_has_no_truth() -> None:
    case = Case.parse(LINE.format(count=3, size=8))
    raw = replace(inputs_of(case), diagonal=None)
    with pytest.raises(ValueError, match="must go through"):
        truth_of(case, raw)
    with pytest.raises(ValueError, match="must go through"):
        hidden_keys(case, raw)


def test_arrays_that_were_cut_are_resolved_again() -> None:
    case = Case.parse(LINE.format(count=3, size=8))
    for contract, wanted in ((Contract(), 2), (TOP_LEFT, 0)):
        part = cut(explicit(Subject(case)), "S", range(5))
        assert part.built(contract).diagonal == wanted
        assert Subject(case).built(contract).diagonal == (0 if wanted == 0 else 5)


def test_the_alignments_are_told_apart_in_one_place() -> None:
    named = {
        path.relative_to(ROOT).as_posix(): text
        for folder in ("reference", "theory", "verify", "reports", "src")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "top-left" in (text := path.read_text("utf-8")) or "TOP_LEFT" in text
    }
    # The contract's word, and what it means: everything else asks for the diagonal of the mask.
    assert set(named) == {"verify/cases/inputs.py", "verify/records.py"}
    compared = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "verify").rglob("*.py"))
        if re.search(r"contract\.causal|\.causal\b\s*(==|!=|in\b)", path.read_text("utf-8"))
    ]
    assert compared == ["verify/cases/inputs.py"]
