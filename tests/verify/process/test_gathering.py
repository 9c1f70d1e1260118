"""Gathering: work whose process was ended from outside is done again, and what came before is kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.verify.process import working

from kernelproof.reference.errors import ResourceError
from kernelproof.verify.process.gathering import SPARE, gather
from kernelproof.verify.process.pool import Pool
from kernelproof.verify.process.service import Work, call


def answers(name: str) -> str:
    return name.upper()


def ends_at_first(name: str, folder: str) -> str:
    """End the process as from outside the first time."""
    mark = Path(folder) / name
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGTERM)
    return name


def always_ends(name: str) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return name


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    held = Pool(1, Work(working.nothing))
    yield held
    held.stop()


def start(pool: Pool, function: Any, **arguments: Any) -> Any:
    return partial(pool.submit, Work(call, (function, arguments), 60.0))


def test_a_lost_process_costs_nothing_but_time(pool: Pool, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    done: list[str] = []
    starts = {
        "lost": start(pool, ends_at_first, name="lost", folder=str(tmp_path)),
        "kept": start(pool, answers, name="kept"),
    }
    gather(starts, found, done.append)
    assert found == {"lost": "lost", "kept": "KEPT"}
    assert sorted(done) == ["kept", "lost"]


def test_processes_that_end_again_and_again_are_one_clear_error(pool: Pool) -> None:
    found: dict[str, Any] = {}
    starts = {"kept": start(pool, answers, name="kept"), "lost": start(pool, always_ends, name="lost")}
    with pytest.raises(ResourceError, match=f"^{SPARE + 1} processes of ours ended .* killed by SIGTERM"):
        gather(starts, found, lambda _: None)
    assert found == {"kept": "KEPT"}
