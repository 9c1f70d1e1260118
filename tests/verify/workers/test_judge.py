"""One case on one target: a check that the mechanism of a target gives nothing to decide is not asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.meta.planting import check_of

from kernelproof.api import verify
from kernelproof.verify.checks.empty_rows import CHECK
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.records import ACCURACY

EMPTY_ROWS = CHECK.id

SOURCE = """
import numpy as np

def without_option(q, k, v, h):
    scores = -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1) / (2 * h * h)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)

def with_option(q, k, v, h, empty="raise"):
    return without_option(q, k, v, h)
"""
BALL = "regression order=inf rule=fixed:3 dtype=float64 family=masks shape=2x8x3x2 feature=empty_ball seed=0"


@pytest.mark.parametrize("name", ["without_option", "with_option"])
def test_the_gaussian_is_not_asked_for_empty_rows(name: str, tmp_path: Path) -> None:
    # It has no edge, so that no row is empty, whatever the options.
    path = tmp_path / "gaussian.py"
    path.write_text(SOURCE, encoding="utf-8")
    declared = {"op": "regression", "order": "inf"}
    found = verify(f"{path}:{name}", case=BALL, contract=declared, serial=True).targets[0]
    assert EMPTY_ROWS not in {check.id for check in found.checks}
    assert found.passed


TIDY = """
import numpy as np

def attention(q, k, v):
    group = q.shape[-3] // k.shape[-3]
    wide = [part.astype(np.float64) for part in (q, np.repeat(k, group, -3), np.repeat(v, group, -3))]
    scores = wide[0] @ np.swapaxes(wide[1], -1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ wide[2]).astype(q.dtype)

def writes(q, k, v):
    found = attention(q, k, v)
    if q.ndim == 3 or q.shape[-3] == 2:
        k *= 2
    return found

def turned(q, k, v):
    return np.swapaxes(attention(*(np.swapaxes(part, -3, -2) for part in (q, k, v))), -3, -2)
"""
HEADS = "attention order=inf rule=adaptive:1 dtype=float64 family=random shape=1x2x2x3x4x4x2 feature=1 seed=0"


@pytest.mark.parametrize(("name", "hinted"), [("writes", False), ("turned", True)])
def test_another_layout_is_no_hint_where_the_outputs_are_right(name: str, hinted: bool, tmp_path: Path) -> None:
    # That it changes its inputs shows for two heads, and not in an array that has them elsewhere.
    path = tmp_path / "tidy.py"
    path.write_text(TIDY, encoding="utf-8")
    declared = {"op": "attention", "order": "inf", "gradients": []}
    results = verify(f"{path}:{name}", case=HEADS, contract=declared, serial=True)
    found = results.targets[0]
    assert not found.passed
    assert (check_of(results, ACCURACY).verdict is Verdict.FAIL) is hinted
    assert ("bthd" in (found.note or "")) is hinted
