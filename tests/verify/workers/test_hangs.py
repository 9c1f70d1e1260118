"""Targets that give no answer: each time costs the whole limit, so that after a few they are asked no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kernelproof.verify.workers.runner as runner_module
from kernelproof.api import verify
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record.schema import Verdict


def test_a_target_that_hangs_is_asked_no_more(tmp_path: Path) -> None:
    path = tmp_path / "hangs.py"
    path.write_text(
        "import time\nimport numpy as np\n\ndef f(z, order=None):\n    if z.shape[-1] > 1:\n        time.sleep(1000)\n"
        "    return np.ones_like(z)\n",
        "utf-8",
    )
    limits = Limits(seconds=0.5, patience=20.0)
    target = verify(f"{path}:f", suite="quick", op="entmax", order=1, timeout=limits).targets[0]
    hangs = sum(int(check.statistics.get("crashes", 0)) for check in target.checks)
    # Two workers: one may be in a call while the other gives up.
    assert runner_module.HANGS <= hangs < runner_module.HANGS + runner_module.MOST_WORKERS
    assert not target.passed
    assert re.search(r"\d+ cases were not asked: 5 cases before had no answer in 0.5 s each", target.note)
    cells = [cell for cell in target.coverage if cell.not_tried and "not asked" in cell.not_tried]
    assert cells
    assert not any(cell.decided for cell in cells)


def test_expected_hangs_are_given_up_too_and_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANGS", 1)
    path, known = tmp_path / "hangs.py", tmp_path / "known.toml"
    path.write_text("import time\n\ndef f(z, order=None):\n    time.sleep(1000)\n", "utf-8")
    known.write_text('[[xfail]]\ncheck = "accuracy"\nreason = "it hangs"\n', "utf-8")
    limits = Limits(seconds=0.5, patience=20.0)
    found = verify(f"{path}:f", suite="quick", op="entmax", order=1, dtype="float32", timeout=limits, xfail=known)
    target = found.targets[0]
    assert {check.verdict for check in target.checks} <= {Verdict.XFAIL, Verdict.UNSUPPORTED}
    assert "not asked" in target.note
    assert target.verdict is Verdict.UNDECIDED
    assert not found.passed


def test_a_target_that_ends_its_process_is_asked_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "DEATHS", 3)
    path = tmp_path / "dies.py"
    path.write_text("import os\n\ndef f(z, order=None):\n    os._exit(3)\n", "utf-8")
    target = verify(f"{path}:f", suite="quick", op="entmax", order=1).targets[0]
    assert target.verdict is Verdict.CRASH
    deaths = sum(int(check.statistics.get("crashes", 0)) for check in target.checks)
    assert 3 <= deaths < 3 + runner_module.MOST_WORKERS
    assert "not asked: 3 calls before ended the process" in target.note
