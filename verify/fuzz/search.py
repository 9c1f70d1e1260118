"""A search for the worst error at every place: what no place may lack comes first, then the time is shared.

Each place has one block of rows in its turn, so that a short time leaves no hole in the tables; then what is tried
without exception where that is feasible; then all climb, each with its share of the time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kernelproof.verify.cases.case import Case
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.hill_climb import Climber
from kernelproof.verify.fuzz.worst_record import WorstRow


def searched(
    judge: Judge,
    cases: Sequence[Case],
    seed: int,
    *,
    seconds: float | None = None,
    blocks: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> list[WorstRow]:
    """What was found at each of `cases`.

    Args:
        judge: who measures.
        cases: the places.
        seed: of everything drawn.
        seconds: for all of them together; None: no limit.
        blocks: at most so many for each.
        tell: is told after each turn how many places have had their last one.
    """
    told = tell or (lambda _: None)
    begun = time.monotonic()
    ends = None if seconds is None else begun + seconds
    climbers = [Climber(judge, case, seed) for case in cases]
    if seconds is not None:
        firsts = [(climber, 1) for climber in climbers] + [(climber, climber.due) for climber in climbers]
        for climber, due in firsts:
            climber.run(_clock(ends), due if blocks is None else min(due, blocks))
            told(0)
    for at, climber in enumerate(climbers):
        now = time.monotonic()
        # Each may take its share of what is left.
        climber.run(_clock(None if ends is None else now + (ends - now) / (len(climbers) - at)), blocks)
        told(at + 1)
    return [climber.row() for climber in climbers]


def _clock(ends: float | None) -> Callable[[], bool]:
    return lambda: ends is not None and time.monotonic() >= ends
