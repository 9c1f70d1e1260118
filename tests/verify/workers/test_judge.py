"""One case on one target: a check that the mechanism of a target gives nothing to decide is not asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.checks.empty_rows import CHECK

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
