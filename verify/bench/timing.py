"""Time calls in turns, ours and the rival's, so that other work on the machine affects both alike."""

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
"""The least seconds of one sample; shorter calls are repeated in it. It is small, because a long sample is more
likely to be interrupted."""

Call = Callable[[], Any]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: seconds of all rounds of a figure, after the first calls.
        least: the least number of rounds, if they fit into `patience`.
        most: the most rounds.
        patience: seconds that `least` rounds may take; if they take longer there are fewer, but at least one.
    """

    seconds: float = 1.0
    least: int = 3
    most: int = 31
    patience: float = 12.0

    def rounds(self, once: float) -> int:
        """The number of rounds if one takes `once` seconds.

        >>> Effort(1.0, 3, 21).rounds(0.1), Effort(1.0, 3, 21).rounds(3.0), Effort(1.0, 3, 21).rounds(20.0)
        (10, 3, 1)
        """
        if once <= 0:
            return self.most
        least = max(1, min(self.least, int(self.patience / once)))
        return int(min(max(self.seconds / once, least), self.most))


def spread(values: Sequence[float]) -> Spread:
    """Minimum, quartiles and maximum of `values`, which must not be empty.

    >>> spread([3.0, 1.0, 2.0]).median
    2.0
    """
    least, lower, median, upper, most = (float(x) for x in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    return Spread(least=least, lower=lower, median=median, upper=upper, most=most)


def in_turns(calls: Sequence[Call], effort: Effort, clock: Clock = time.perf_counter) -> list[list[float]]:
    """Time each of `calls`, and return one list of seconds per call; every round times all calls, in alternating order.

    The caller must have called each once, so that no sample includes compiling or a first allocation. Calls that are
    too short to time are repeated within a sample.
    """
    with _uncollected():
        first = [_sample(call, 1, clock) for call in calls]
        repeats = [1 if once >= SHORTEST else math.ceil(SHORTEST / max(once, 1e-7)) for once in first]
        rounds = effort.rounds(sum(once * count for once, count in zip(first, repeats, strict=True)))
        # The first round of long calls is as good as any other, and costs as much, so it counts.
        long = max(repeats, default=1) == 1
        seconds: list[list[float]] = [[once] if long else [] for once in first]
        for turn in range(1 if long else 0, rounds):
            order = range(len(calls)) if turn % 2 == 0 else reversed(range(len(calls)))
            for at in order:
                seconds[at].append(_sample(calls[at], repeats[at], clock))
    return seconds


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Quotients, round by round.

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
    """Disable the garbage collector, whose work would count for the call that happens to be measured."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
