"""Kept: what a call returned is compared with a copy after each later call of its mode, and let go after the last."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.caller import Caller
from kernelproof.verify.targets.kept import Kept
from kernelproof.verify.targets.target import describe, find

CASE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=3x8 feature=1 seed=0")


def kept(array: Array) -> Kept:
    found = Kept("numpy")
    found.keep("forward", {"output": array}, {"output": array.copy()})
    return found


def test_what_holds_its_numbers_is_not_overwritten() -> None:
    found = kept(np.array([1.0, np.nan]))
    assert found.overwritten("forward") == ()
    assert found.overwritten("vjp") is None


def test_what_was_overwritten_once_stays_so() -> None:
    array = np.zeros(2)
    found = kept(array)
    array[0] = 1
    assert found.overwritten("forward") == ("output",)
    array[0] = 0
    assert found.overwritten("forward") == ("output",)


def test_the_first_is_kept_so_that_several_buffers_in_turn_are_seen() -> None:
    buffers = [np.zeros(2), np.zeros(2)]
    found = Kept("numpy")
    for turn in range(3):
        place = buffers[turn % 2]
        place[:] = turn
        found.keep("forward", {"output": place}, {"output": place.copy()})
    assert found.overwritten("forward") == ("output",)


def test_an_array_that_cannot_be_read_any_more_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Array:
        msg = "deleted"
        raise TargetError(msg)

    found = kept(np.zeros(2))
    monkeypatch.setattr("kernelproof.verify.targets.kept.take", fails)
    assert found.overwritten("forward") == ("output",)


SOURCE = """
import weakref
import numpy as np

RETURNED = []

def itself(z):
    RETURNED.append(weakref.ref(z))
    return z

def written(z):
    z -= 1
    return z[:]

PLACE = np.empty((3, 8))

def reused(z):
    np.exp(z, out=PLACE)
    return PLACE

for each in (itself, written, reused):
    each.KERNELPROOF = {"order": "2", "op": "entmax", "array_library": "numpy"}
"""


@pytest.mark.parametrize(("name", "wanted"), [("itself", ()), ("written", ()), ("reused", ("output",))])
def test_an_input_that_is_returned_is_no_buffer_and_is_let_go(
    tmp_path: Path, name: str, wanted: tuple[str, ...]
) -> None:
    file = tmp_path / f"kept_{name}.py"
    file.write_text(SOURCE, encoding="utf-8")
    found = describe(find(f"{file}:{name}"), probe=False)
    assert not isinstance(found, str)
    (target,) = found
    caller, inputs = Caller(target), inputs_of(CASE)
    other = replace(inputs, arrays={"z": inputs.arrays["z"][::-1].copy()})
    assert caller(CASE, Call(inputs)).overwritten is None
    caller.keep(together=True)
    outcomes = [caller(CASE, Call(each)) for each in (inputs, other)]
    assert [each.overwritten for each in outcomes] == [(), wanted]
    if name == "itself":
        returned = caller.found.__globals__["RETURNED"]
        assert returned[-2]() is not None
        caller.keep(together=False)
        gc.collect()
        assert returned[-2]() is None
