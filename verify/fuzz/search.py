"""Search for the worst error at every place: the required work of each place first, then shares of the time left.

First, one block of rows is measured at each place, so that a short run leaves no gap in the tables. Next come the
exhaustive searches, where they are feasible. Then every place climbs, with an equal share of the time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kernelproof.verify.cases.case import Case
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.hill_climb import Climber
from kernelproof.verify.fuzz.worst_case_record import WorstCaseRow
from kernelproof.verify.process.interruption import Interrupted


def searched(
    judge: Judge,
    cases: Sequence[Case],
    seed: int,
    *,
    seconds: float | None = None,
    blocks: int | None = None,
    tell: Callable[[int], None] | None = None,
    stopped: list[Interrupted] | None = None,
) -> list[WorstCaseRow]:
    """Search at each of `cases` and return the lines of the tables.

    Args:
        judge: measures the errors.
        cases: the places.
        seed: seeds everything that is drawn.
        seconds: seconds for all places together; None: no limit.
        blocks: the most blocks to measure at each place.
        tell: called after each turn with the number of places that are finished.
        stopped: takes an interruption, after which the lines so far are returned; None: it is raised.
    """
    told = tell or (lambda _: None)
    begun = time.monotonic()
    ends = None if seconds is None else begun + seconds
    climbers = [Climber(judge, case, seed) for case in cases]
    try:
        _climb(climbers, ends, blocks, told)
    except Interrupted as error:
        judge.fresh()
        if stopped is None:
            raise
        stopped.append(error)
    return [climber.row() for climber in climbers]


def _climb(climbers: Sequence[Climber], ends: float | None, blocks: int | None, told: Callable[[int], None]) -> None:
    if ends is not None:
        firsts = [(climber, 1) for climber in climbers] + [(climber, climber.due) for climber in climbers]
        for climber, due in firsts:
            climber.run(_clock(ends), due if blocks is None else min(due, blocks))
            told(0)
    for at, climber in enumerate(climbers):
        now = time.monotonic()
        # Each place may take its share of the time that is left.
        climber.run(_clock(None if ends is None else now + (ends - now) / (len(climbers) - at)), blocks)
        told(at + 1)


def _clock(ends: float | None) -> Callable[[], bool]:
    return lambda: ends is not None and time.monotonic() >= ends
