"""Fuzzing finds small faults of accuracy within 30 s in nine of ten seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernelproof

FAULTY = Path(__file__).with_name("faulty.py")
ACCURACY = ("single", "ties", "size_seven", "coarse", "strict_threshold", "order_two", "no_shift")
SECONDS = 30.0


def found_after(name: str, seed: int) -> float | None:
    """Seconds until the first finding; None if there is none in time."""
    found = kernelproof.fuzz(f"{FAULTY}:{name}", seconds=SECONDS, seed=seed, most=1)
    return min((each.seconds for each in found.findings), default=None)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ACCURACY)
def test_each_fault_is_found_in_nine_of_ten_seeds(name: str) -> None:
    after = [found_after(name, seed) for seed in range(10)]
    assert sum(each is not None for each in after) >= 9, after
