"""One case on one target: a check that the target gives nothing to decide is unsupported, and is not undecided."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.record.schema import Verdict

SOURCE = """
import numpy as np

def without_option(q, k, v, h):
    scores = -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1) / (2 * h * h)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)

def with_option(q, k, v, h, empty="raise"):
    return without_option(q, k, v, h)
"""
LINE = "regression order=inf rule=fixed:3 dtype=float64 family=masks shape=2x8x3x2 feature=empty_ball seed=0"


@pytest.mark.parametrize(
    ("name", "verdict"), [("without_option", Verdict.UNSUPPORTED), ("with_option", Verdict.UNDECIDED)]
)
def test_empty_rows_of_the_gaussian_are_unsupported_without_the_option(
    name: str, verdict: Verdict, tmp_path: Path
) -> None:
    # The Gaussian has no edge, so that no row of this case is empty, and the plain call decides nothing.
    path = tmp_path / "gaussian.py"
    path.write_text(SOURCE, encoding="utf-8")
    declared = {"op": "regression", "order": "inf"}
    found = verify(f"{path}:{name}", case=LINE, contract=declared, serial=True).targets[0]
    assert {check.id: check.verdict for check in found.checks}["empty_rows"] is verdict
    assert found.passed
