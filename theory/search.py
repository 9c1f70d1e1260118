"""Search for a row that makes a number large: Hypothesis steers, floats refine, and the caller certifies.

The result is a proposal, which counts only once an enclosure at exact rationals confirms it.

Source: MacIver & Donaldson, Test-case reduction and targeted property-based testing, https://hypothesis.works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, strategies
from numpy.typing import NDArray

from kernelproof.theory.claim import Settings

Row = NDArray[np.float64]
Objective = Callable[[Row], float]
REACH = 16.0
"""Logits are drawn from [−REACH, REACH]."""


def propose(objective: Objective, size: int, seconds: float, settings: Settings) -> Row:
    """The row of `size` logits with the largest objective found in about `seconds`.

    Args:
        objective: row -> a number, finite.
        size: entries of a row.
        seconds: duration of the search; at least one round is run.
        settings: examples per round, and the seed of the first.
    """
    end = monotonic() + seconds
    best, round_ = np.zeros(size), 0
    while True:
        found = refine(objective, _steered(objective, size, settings.examples, settings.seed + round_), settings.seed)
        if objective(found) > objective(best):
            best = found
        round_ += 1
        if monotonic() >= end:
            return best


def refine(objective: Objective, row: Row, seed: int, *, rounds: int = 60) -> Row:
    """A row near `row` whose objective is no smaller, by random steps that shrink while they do not help."""
    generator = np.random.default_rng(seed)
    best, value, step = row, objective(row), 1.0
    for _ in range(rounds):
        steps = best + step * generator.standard_normal((8, len(row)))
        # Also moves of one entry: often only the largest logit matters.
        steps[0] = best
        steps[0, generator.integers(len(row))] += step * generator.standard_normal()
        values = [objective(each) for each in steps]
        at = int(np.argmax(values))
        if values[at] > value:
            best, value, step = steps[at], values[at], step * 1.5
        else:
            step *= 0.8
    return best


def _steered(objective: Objective, size: int, examples: int, seed: int) -> Row:
    best: list[Row] = [np.zeros(size)]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @hypothesis.given(strategies.lists(strategies.floats(-REACH, REACH), min_size=size, max_size=size))
    def run(logits: Sequence[float]) -> None:
        row = np.array(logits)
        value = objective(row)
        hypothesis.target(value)
        if value > objective(best[0]):
            best[0] = row

    run()
    return best[0]
