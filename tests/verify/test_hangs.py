"""Targets that give no answer: each time costs the whole limit, so that after a few they are asked no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kernelproof.verify.runner as runner_module
from kernelproof.api import verify
from kernelproof.verify.worker import Limits


def test_a_target_that_hangs_is_asked_no_more(tmp_path: Path) -> None:
    path = tmp_path / "hangs.py"
    path.write_text(
        "import time\nimport numpy as np\n\ndef f(z, order=None):\n    if z.shape[-1] > 1:\n        time.sleep(1000)\n"
        "    return np.ones_like(z)\n",
        "utf-8",
    )
    limits = Limits(seconds=0.5, patience=20.0)
    target = verify(f"{path}:f", suite="quick", op="entmax", order=1, limits=limits).targets[0]
    hangs = sum(int(check.statistics.get("crashes", 0)) for check in target.checks)
    # Two workers: one may be in a call while the other gives up.
    assert runner_module.HANGS <= hangs < runner_module.HANGS + runner_module.MOST_WORKERS
    assert not target.passed
    assert re.search(r"\d+ cases were not asked: 5 calls before gave no answer in 0.5 s each", target.note)
    cells = [cell for cell in target.coverage if cell.not_tried and "not asked" in cell.not_tried]
    assert cells
    assert not any(cell.decided for cell in cells)


def test_hangs_that_are_expected_are_all_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANGS", 1)
    path, known = tmp_path / "hangs.py", tmp_path / "known.toml"
    path.write_text(
        "import time\nimport numpy as np\n\ndef f(z, order=None):\n    if z.shape[-1] in {20, 31, 33}:\n"
        "        time.sleep(1000)\n    return np.ones_like(z)\n",
        "utf-8",
    )
    known.write_text('[[xfail]]\ncheck = "accuracy"\nreason = "it hangs"\n', "utf-8")
    limits = Limits(seconds=0.5, patience=20.0)
    first, second = (
        verify(f"{path}:f", suite="quick", op="entmax", order=1, dtype="float32", limits=limits, xfail=each).targets[0]
        for each in (None, known)
    )
    assert "not asked" in first.note
    assert "not asked" not in second.note
    assert sum(cell.cases for cell in first.coverage) < sum(cell.cases for cell in second.coverage)
