"""What a failing target may have left undeclared: a line says what to declare, and then it is asked no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.record.schema import Results
from kernelproof.verify.records import ACCURACY, Judgement
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, explained

SOURCE = """
import numpy as np

def attends(q, k, v, allowed, added, scale):
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2)) + added
    s = np.where(allowed, s, -np.inf)
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    # What has no weight anywhere is left out.
    v = np.where((e > 0).any(axis=-2)[..., None], v, 0)
    with np.errstate(invalid="ignore"):
        return (e / e.sum(axis=-1, keepdims=True)) @ v

def boolean(q, k, v, mask=None, scale=None):
    return attends(q, k, v, True if mask is None else mask.astype(bool), 0, scale)

def additive(q, k, v, mask=None, scale=None):
    added = 0 if mask is None else mask.astype(q.dtype)
    return attends(q, k, v, added != -np.inf, np.where(added == -np.inf, 0, added), scale)

def one(q, k, v, mask=None, causal=False, scale=None):
    if mask is not None and causal:
        raise RuntimeError("mask must not be set when causal=True")
    allowed = True if mask is None else mask if mask.dtype == bool else mask != -np.inf
    added = 0 if mask is None or mask.dtype == bool else np.where(mask == -np.inf, 0, mask)
    if causal:
        count, size = q.shape[-2], k.shape[-2]
        allowed = np.arange(size) <= np.arange(count)[:, None] + size - count
    return attends(q, k, v, allowed, added, scale)

def low(q, k, v, mask=None, causal=False, scale=None):
    hide = np.zeros((q.shape[-2], k.shape[-2]), bool)
    if causal:
        hide = ~np.tri(*hide.shape, hide.shape[1] - hide.shape[0], dtype=bool)
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2))
    if mask is not None:
        s = np.where(mask, s, -10000) if mask.dtype == bool else s + np.maximum(mask, -10000)
    s = np.where(hide, -10000, s)
    e = np.exp(s - s.max(axis=-1, keepdims=True, initial=-np.inf))
    v = np.where((e > 0).any(axis=-2)[..., None], v, 0)
    return ((e / e.sum(axis=-1, keepdims=True)) @ v).astype(q.dtype)

def flushes(z, order=None):
    e = np.exp(z - z.max(axis=-1, keepdims=True, initial=-np.inf))
    w = e / e.sum(axis=-1, keepdims=True)
    return np.where(w < np.finfo(z.dtype).tiny, 0, w).astype(z.dtype)

def off(z, order=None):
    return flushes(z) * z.dtype.type(1.01)

def exits(z, order=None):
    raise SystemExit(0)
"""
MASKED = "attention order=inf rule=adaptive:1 dtype=float64 family=masks shape=2x2x3x8x4x2 feature={} seed=0"
PADDED = "attention order=inf rule=adaptive:1 dtype=float64 family=padding shape=2x2x3x8x4x2 feature=causal seed=0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "asked.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def tried(file: Path, name: str, case: str, **contract: object) -> Results:
    return verify(f"{file}:{name}", case=case, contract=contract, serial=True)


@pytest.mark.parametrize(
    ("name", "feature", "wrong", "kind"),
    [("boolean", "mask", "bias", "boolean"), ("additive", "bias", "mask", "additive")],
)
def test_masks_of_one_kind(name: str, feature: str, wrong: str, kind: str, file: Path) -> None:
    assert tried(file, name, MASKED.format(feature)).passed
    other = tried(file, name, MASKED.format(wrong))
    assert not other.passed
    assert f'declares masks = ["{kind}"]' in other.targets[0].note
    declared = tried(file, name, MASKED.format(wrong), masks=[kind]).targets[0]
    assert f"the target takes {kind} masks" in declared.note
    assert tried(file, name, MASKED.format(feature), masks=[kind]).passed


def test_options_that_do_not_go_together(file: Path) -> None:
    assert tried(file, "one", MASKED.format("causal")).passed
    assert tried(file, "one", MASKED.format("mask")).passed
    both = tried(file, "one", PADDED)
    assert not both.passed
    assert (
        "raises for mask and causal in one call: a target that does not take both declares "
        'exclusive = ["mask", "causal"]' in (both.targets[0].note)
    )
    declared = tried(file, "one", PADDED, exclusive=["mask", "causal"]).targets[0]
    assert "does not take mask and causal together" in declared.note


@pytest.mark.parametrize("feature", ["low_mask", "low_bias", "low_causal"])
def test_a_number_in_the_place_of_minus_infinity_is_found(feature: str, file: Path) -> None:
    assert tried(file, "low", MASKED.format("mask")).passed
    assert tried(file, "one", MASKED.format(feature)).passed
    for dtype in ("float64", "float32"):
        found = tried(file, "low", MASKED.format(feature).replace("float64", dtype)).targets[0]
        assert any(check.id == "accuracy" and check.failed for check in found.checks)


def test_numbers_that_were_flushed(file: Path) -> None:
    case = "entmax order=inf rule=adaptive:1 dtype=float32 family=two_keys shape=129x2 feature={} seed=0"
    lines = [case.format(feature) for feature in ("wide", "small", "edge")]
    lines.append("entmax order=inf rule=adaptive:1 dtype=float32 family=subnormals shape=3x8 feature=weights seed=0")
    notes = [tried(file, "flushes", line).targets[0] for line in lines]
    failing = [target for target in notes if not target.passed]
    assert failing
    assert all("declares flush_to_zero = true" in target.note for target in failing)
    assert all(tried(file, "flushes", line, flush_to_zero=True).passed for line in lines)


def test_a_wrong_number_is_excused_by_no_hint(file: Path) -> None:
    case = "entmax order=inf rule=adaptive:1 dtype=float32 family=subnormals shape=3x8 feature=weights seed=0"
    found = tried(file, "off", case)
    assert not found.passed
    assert "declares" not in found.targets[0].note


def test_a_hint_that_does_not_explain_every_failure_is_not_given() -> None:
    """Flushing explains some of the errors of sums in half precision, and not the others."""
    wrong = {ACCURACY: CheckResult(Judgement(decided=1, failed=1))}
    flushed, other, open_ = CaseResult(wrong, hints=("flushes",)), CaseResult(wrong), CaseResult(wrong, hints=("",))
    right = CaseResult({ACCURACY: CheckResult(Judgement(decided=1))})
    assert explained([right, flushed, flushed]) == ["flushes"]
    assert explained([flushed, open_, CaseResult(wrong, hints=("varies",))]) == ["flushes", "varies"]
    assert explained([right, flushed, other]) == []
    assert explained([flushed, CaseResult({ACCURACY: CheckResult(crash="it ended the process")})]) == []
    assert explained([right, open_]) == []


def test_a_script_of_what_exits_fails(file: Path) -> None:
    case = "entmax order=1 rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
    failing = [check for check in tried(file, "exits", case).targets[0].checks if check.failed]
    scripts = [check.script for check in failing if check.script is not None]
    assert len(scripts) == len(failing)
    for script in scripts:
        path = file.parent / "script.py"
        path.write_text(script, encoding="utf-8")
        run = subprocess.run([sys.executable, str(path)], cwd=file.parent, check=False, capture_output=True, text=True)
        assert run.returncode == 1
        assert "the call raised SystemExit(0)" in run.stderr
