"""Goals, and the record as JSON."""

from __future__ import annotations

import math

import pytest

from kernelproof.verify.bench.bench_record import Goal


@pytest.mark.parametrize(
    ("kind", "value", "measured", "holds", "distance"),
    [
        ("times", 1.5, 1.5, True, 1.0),
        ("times", 1.5, 3.0, False, 2.0),
        ("faster", 30.0, 30.0, True, 1.0),
        ("faster", 30.0, 15.0, False, 2.0),
        ("rate", 3e6, 6e6, True, 0.5),
        ("rate", 3e6, 1e6, False, 3.0),
    ],
)
def test_a_goal(kind: str, value: float, measured: float, holds: bool, distance: float) -> None:
    goal = Goal.model_validate({"kind": kind, "value": value})
    assert goal.holds(measured) is holds
    assert goal.distance(measured) == pytest.approx(distance)
    assert (goal.distance(measured) <= 1) is holds


@pytest.mark.parametrize("kind", ["times", "faster", "rate"])
def test_nan_meets_no_goal(kind: str) -> None:
    assert Goal.model_validate({"kind": kind, "value": 1.0}).holds(math.nan) is False
