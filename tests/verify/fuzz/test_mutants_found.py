"""Fuzzing finds each mutant whose weights are wrong within 30 s in nine of ten seeds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kernelproof

HERE = Path(__file__).parent
FAULTY = HERE / "faulty.py"
MUTANTS = HERE.parents[1] / "meta" / "mutants" / "mutants_forward.py"
OWN = ("single", "ties", "size_seven", "coarse", "strict_threshold", "order_two", "no_shift")
SECONDS = 30.0
SEEDS = 10
"""Nine of them have to find it."""


def marked(path: Path) -> list[str]:
    """The functions of a module that are marked as mutants."""
    functions = [each for each in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(each, ast.FunctionDef)]
    return [each.name for each in functions if any("mutant" in ast.unparse(mark) for mark in each.decorator_list)]


TARGETS = [f"{FAULTY}:{name}" for name in OWN] + [f"{MUTANTS}:{name}" for name in marked(MUTANTS)]


def found_after(target: str, seed: int) -> float | None:
    """Seconds until the first finding; None if there is none in time."""
    found = kernelproof.fuzz(target, seconds=SECONDS, seed=seed, most=1)
    return min((each.seconds for each in found.findings), default=None)


def test_all_mutants_whose_weights_are_wrong_are_tried() -> None:
    assert len(TARGETS) == len(set(TARGETS)) >= 38


@pytest.mark.nightly
@pytest.mark.parametrize("target", TARGETS, ids=lambda each: each.rpartition(":")[2])
def test_each_fault_is_found_in_nine_of_ten_seeds(target: str) -> None:
    after = [found_after(target, seed) for seed in range(SEEDS)]
    assert sum(each is not None for each in after) >= SEEDS - 1, after
