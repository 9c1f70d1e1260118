"""The mutants of pairs of levels: each is wrong on an input at both levels, and every pair that is listed has one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernelproof

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent / "mutants"))
import axes  # noqa: E402 (the folder is no package)
import score  # noqa: E402 (the folder is no package)

MARKED = [(text, name, mark) for text, name, mark in score.implementations() if mark.at]
KERNEL, RULE = kernelproof.Kernel("inf"), kernelproof.Adaptive(1)
GRADIENTS = ("q", "k", "v")


def answered(function: Any, arrays: dict[str, Any], options: dict[str, Any], *, half: bool) -> dict[str, Any]:
    """The output, and the gradients if it has any, as float64; the function is called with arrays that it takes."""
    if function.KERNELPROOF.options is None:
        arrays = {name: array.astype(np.float16) if half else array for name, array in arrays.items()}
        with np.errstate(all="ignore"):
            return {"output": function(**arrays, kernel=KERNEL, rule=RULE, **options).astype(np.float64)}
    return differentiated(lambda **given: function(**given, kernel=KERNEL, rule=RULE), arrays, options, half=half)


def differentiated(function: Any, arrays: dict[str, Any], options: dict[str, Any], *, half: bool) -> dict[str, Any]:
    """The output of a function of tensors, and its gradients for an upstream gradient that is no constant."""
    dtype = torch.float16 if half else torch.float64
    given = {name: torch.from_numpy(array).to(dtype) for name, array in arrays.items()}
    told = {name: torch.from_numpy(value) if hasattr(value, "dtype") else value for name, value in options.items()}
    for array in given.values():
        array.requires_grad_(True)
    y = function(**given, **told)
    found = {"output": y.detach().double().numpy()}
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=dtype).reshape(y.shape))
    return found | {name: array.grad.double().numpy() for name, array in given.items() if array.grad is not None}


def largest_error(function: Any, at: tuple[str, ...]) -> float:
    """The largest difference from the right answer at these levels, over the largest right number."""
    # Imported by name: what these files hold is what users write, without types.
    attend = importlib.import_module("mutant_parts_torch").attend
    arrays, options = axes.example(*at)
    half = "half precision" in at
    if half:
        arrays = {name: array.astype(np.float16).astype(np.float64) for name, array in arrays.items()}
    right = differentiated(attend, arrays, options, half=False)
    found = answered(function, arrays, options, half=half)
    names = found if "gradient" in at else ("output",)
    # A row without keys is 0 in one of them, and NaN in the other: a causal mask of more queries than keys has some.
    errors = []
    for name in names:
        lost = np.isnan(found[name]) & (right[name] == 0)
        errors.append(np.nan_to_num(np.abs(np.where(lost, 0, found[name] - right[name])), nan=np.inf).max())
    return float(max(errors))


@pytest.mark.parametrize(("text", "name", "mark"), MARKED, ids=[name for _, name, _ in MARKED])
def test_a_mutant_of_a_pair_is_wrong_there_and_right_elsewhere(text: str, name: str, mark: Any) -> None:
    function = getattr(importlib.import_module(Path(text.rpartition(":")[0]).stem), name)
    pair = axes.levels(mark.at)
    # The right answers are within a few roundings of float64, or of float16, of numbers of magnitude 4.
    half = "half precision" in pair
    allowed = 2.0**-8 if half else 1e-9
    assert largest_error(function, pair) > 2 * allowed
    alone = () if half else tuple(level for level in pair if level == "gradient")
    assert largest_error(function, alone) < allowed


def test_every_level_of_a_pair_is_on_an_axis_and_every_level_has_a_mutant() -> None:
    told = {level for _, _, mark in MARKED for level in axes.levels(mark.at)}
    assert told == {level for held in axes.AXES.values() for level in held}
    assert all(len({axes.axis_of(level) for level in axes.levels(mark.at)}) == 2 for _, _, mark in MARKED)


def test_every_pair_that_users_meet_has_a_mutant() -> None:
    assert {frozenset(axes.levels(mark.at)) for _, _, mark in MARKED} == {frozenset(pair) for pair in axes.PAIRS}
