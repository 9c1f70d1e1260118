"""Only an end in a call is the target's; how it came is in the words."""

from __future__ import annotations

import pytest

from kernelproof.verify.process.blame import Doing, Step, blame
from kernelproof.verify.process.spawning import LOST_CONTEXT, how_ended


@pytest.mark.parametrize("doing", list(Doing))
def test_only_an_end_in_a_call_is_the_target_s(doing: Doing) -> None:
    end = blame(Step(doing, call="forward"), 7, timed_out=False, seconds=60.0)
    assert end.in_call == (doing is Doing.CALLING)
    assert end.reason == "the process ended: exit code 7"
    assert end.message == ("the forward call: " if end.in_call else "") + end.reason


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
    assert blame(Step(Doing.CALLING), code, timed_out=timed_out, seconds=0.5).reason == reason


def test_without_a_limit_no_time_is_named() -> None:
    end = blame(Step(Doing.OWN), None, timed_out=True, seconds=None)
    assert end.reason == "the process ended: it did not end by itself"


def test_a_lost_context_is_named() -> None:
    assert "CUDA context is lost" in how_ended(LOST_CONTEXT)
    assert how_ended(-64) == "killed by SIGRTMAX"
    assert how_ended(-99) == "killed by signal 99"
