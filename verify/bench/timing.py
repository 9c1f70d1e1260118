"""Turns: ours and the rival's one after the other, so that what else the machine does hurts both alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelproof.verify.bench.bench_record import Spread

SHORTEST = 2e-4
"""Seconds of one sample at least: shorter calls are repeated in it. Not more: one interruption spoils a sample."""

Call = Callable[[], Any]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: of all rounds of a figure, after the first calls.
        least: rounds at least, while they fit into `patience`.
        most: rounds at most.
        patience: seconds that the least rounds may take; beyond it there are fewer, and one at least.
    """

    seconds: float = 1.0
    least: int = 3
    most: int = 31
    patience: float = 12.0

    def rounds(self, once: float) -> int:
        """The rounds that fit if one takes `once` seconds.

        >>> Effort(1.0, 3, 21).rounds(0.1), Effort(1.0, 3, 21).rounds(3.0), Effort(1.0, 3, 21).rounds(20.0)
        (10, 3, 1)
        """
        if once <= 0:
            return self.most
        least = max(1, min(self.least, int(self.patience / once)))
        return int(min(max(self.seconds / once, least), self.most))


def spread(values: Sequence[float]) -> Spread:
    """Quantiles of `values`, at least one.

    >>> spread([3.0, 1.0, 2.0]).median
    2.0
    """
    least, lower, median, upper, most = (float(x) for x in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    return Spread(least=least, lower=lower, median=median, upper=upper, most=most)


def in_turns(calls: Sequence[Call], effort: Effort, clock: Clock = time.perf_counter) -> list[list[float]]:
    """Seconds of one call of each of `calls`, one list a call; in every round all are called, in alternating order.

    Each was called before, so that nothing is compiled or allocated for the first time in a sample. Calls that are
    too short to time are repeated within a sample.
    """
    with _uncollected():
        first = [_sample(call, 1, clock) for call in calls]
        repeats = [1 if once >= SHORTEST else math.ceil(SHORTEST / max(once, 1e-7)) for once in first]
        rounds = effort.rounds(sum(once * count for once, count in zip(first, repeats, strict=True)))
        # A first round of long calls is as good as any other, and costs as much.
        long = max(repeats, default=1) == 1
        seconds: list[list[float]] = [[once] if long else [] for once in first]
        for turn in range(1 if long else 0, rounds):
            order = range(len(calls)) if turn % 2 == 0 else reversed(range(len(calls)))
            for at in order:
                seconds[at].append(_sample(calls[at], repeats[at], clock))
    return seconds


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round.

    >>> ratios([2.0, 3.0], [1.0, 2.0])
    [2.0, 1.5]
    """
    return [a / b for a, b in zip(over, under, strict=True)]


def _sample(call: Call, count: int, clock: Clock) -> float:
    started = clock()
    for _ in range(count):
        call()
    return (clock() - started) / count


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, whose turn would fall to whoever is measured then."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
