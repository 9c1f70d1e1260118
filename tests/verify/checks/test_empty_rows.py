"""Empty rows: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.witness.planted_faults import POLICY, Fault, Shown, entmax_case, parameters, weighed

from kernelproof.api import verify

FAULTS = (
    Fault(
        "empty_rows",
        "spread",
        weighed("return p * np.where(np.isnan(p).any(), np.nan, 1)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "zeros",
        weighed("return np.nan_to_num(p)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "returns",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('raise', 'nan'))",
        POLICY,
        "Weights",
    ),
    Fault(
        "empty_rows",
        "zeros for all",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('nan', 'zeros'))",
        POLICY,
        "Weights",
    ),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


GAUSSIAN = """
import numpy as np

def fn(q, k, v, h):
    squares = ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1)
    s = -squares / (2 * h * h)
    w = np.exp(s - s.max(-1, keepdims=True))
    return (w @ v) / w.sum(-1, keepdims=True)
"""
BALL = "regression order=inf rule=fixed:3 dtype=float64 family=masks shape=2x8x3x2 feature=empty_ball seed=0"


def test_a_gaussian_has_no_empty_ball_and_passes_without_one(tmp_path: Path) -> None:
    file = tmp_path / "gaussian.py"
    file.write_text(GAUSSIAN, encoding="utf-8")
    results = verify(f"{file}:fn", case=BALL, serial=True)
    assert results.passed
    assert "empty_rows" not in {check.id for check in results.targets[0].checks}
