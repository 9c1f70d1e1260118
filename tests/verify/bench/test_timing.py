"""Turns and their ratios, with a clock that the test turns."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from kernelproof.verify.bench.timing import SHORTEST, Effort, in_turns, ratios, spread


class Clock:
    """A clock that moves only when something is called, and what was called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that takes these seconds in turn, and the last of them from then on."""
        left = list(seconds)

        def run() -> None:
            assert not gc.isenabled()
            self.called.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_long_calls_take_turns_and_the_first_round_counts() -> None:
    clock = Clock()
    found = in_turns([clock.call("a", 1.0, 3.0), clock.call("b", 2.0)], Effort(9.0, 2, 21), clock)
    assert clock.called == ["a", "b", "b", "a", "a", "b"]
    assert found == [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]


def test_short_calls_are_repeated_within_a_sample() -> None:
    clock = Clock()
    once = SHORTEST / 4
    found = in_turns([clock.call("a", once), clock.call("b", 2 * SHORTEST)], Effort(0.0, 3, 21), clock)
    assert [len(side) for side in found] == [3, 3]
    assert clock.called.count("a") == 1 + 3 * 4
    assert found[0] == pytest.approx([once] * 3)


def test_the_collector_is_on_again_whatever_happens() -> None:
    def fails() -> None:
        msg = "no"
        raise RuntimeError(msg)

    assert gc.isenabled()
    with pytest.raises(RuntimeError):
        in_turns([fails], Effort())
    assert gc.isenabled()


@pytest.mark.parametrize(("once", "rounds"), [(1e-9, 21), (0.1, 10), (4.0, 3), (5.0, 2), (60.0, 1), (0.0, 21)])
def test_rounds_fit_the_effort(once: float, rounds: int) -> None:
    assert Effort(1.0, 3, 21).rounds(once) == rounds


def test_a_spread_is_the_quantiles() -> None:
    found = spread([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (found.least, found.lower, found.median, found.upper, found.most) == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_ratios_go_round_by_round_so_that_a_slow_moment_hurts_both() -> None:
    # The machine was ten times slower in the second round: the ratio does not see it.
    assert ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == [0.5, 0.5, 0.5]
