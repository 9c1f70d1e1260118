"""How a process of ours ended is in the words."""

from __future__ import annotations

import pytest

from kernelproof.verify.process.blame import Doing, Step, blame
from kernelproof.verify.process.endings import LOST_CONTEXT, how_ended


@pytest.mark.parametrize(
    ("code", "timed_out", "reason"),
    [
        (1, True, "no answer in 0.5 s"),
        (None, True, "no answer in 0.5 s"),
        (1, False, "the process ended: exit code 1"),
        (0, False, "the process ended: exit code 0"),
        (-9, False, "the process ended: killed by SIGKILL"),
    ],
)
def test_the_reason_is_the_time_or_the_exit(code: int | None, timed_out: bool, reason: str) -> None:
    assert blame(Step(Doing.OWN), code, timed_out=timed_out, seconds=0.5).reason == reason


def test_without_a_limit_no_time_is_named() -> None:
    end = blame(Step(Doing.OWN), None, timed_out=True, seconds=None)
    assert end.reason == "the process ended: it did not end by itself"


def test_a_lost_context_is_named() -> None:
    assert "CUDA context is lost" in how_ended(LOST_CONTEXT)
    assert how_ended(-64) == "killed by SIGRTMAX"
    assert how_ended(-99) == "killed by signal 99"
