"""Calls reach a host bit for bit and layout for layout; of what a host writes, only numbers and texts are taken."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.layout import same_layout
from kernelproof.verify.hosts.messages import Packer, calls_of, modes_of, outcome_of, packed_calls, packed_outcome
from kernelproof.verify.hosts.wire import Reader, WireError, framed
from kernelproof.verify.process.environment import modes
from kernelproof.verify.records import Call, Inputs, Outcome

CASE = Case.parse("entmax order=3/2 rule=adaptive:1 dtype=float64 family=ties shape=2x4 feature=3 seed=7")


def crossed(case: Case, *calls: Call) -> tuple[Case, list[Call]]:
    packer = Packer()
    text = packed_calls(case, calls, packer)
    reader = Reader()
    for piece in framed(text, packer.parts):
        reader.take(piece)
    (frame,) = reader.frames()
    return calls_of(frame.text, frame.content)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("kind", ["plain", "transposed", "reversed", "broadcast", "readonly", "empty", "big"])
def test_an_array_keeps_its_bits_and_its_layout(dtype: str, kind: str) -> None:
    numbers = np.arange(12.0).reshape(3, 4).astype(FORMATS[dtype].dtype)
    array = {
        "plain": numbers,
        "transposed": same_layout(numbers.T),
        "reversed": same_layout(numbers[:, ::-1]),
        "broadcast": np.broadcast_to(numbers[0], (3, 4)),
        "readonly": numbers.copy(),
        "empty": numbers[:, :0],
        "big": np.tile(numbers, (100, 100)),
    }[kind]
    if kind == "readonly":
        array.flags.writeable = False
    _, (call,) = crossed(CASE, Call(Inputs({"z": array})))
    came = call.inputs.arrays["z"]
    assert (came.dtype, came.shape) == (array.dtype, array.shape)
    assert came.tobytes() == array.tobytes()
    assert came.flags.writeable == array.flags.writeable
    if kind != "broadcast" and array.size:
        assert came.strides == array.strides


def test_one_array_of_two_names_stays_one() -> None:
    one, other = np.ones((1, 2, 1)), np.ones((1, 2, 1))
    _, calls = crossed(
        CASE, Call(Inputs({"q": one, "k": one, "v": other})), Call(Inputs({"q": one, "k": other, "v": other}))
    )
    first, second = (call.inputs.arrays for call in calls)
    assert first["q"] is first["k"]
    assert first["v"] is not first["q"]
    assert second["k"] is second["v"]


def test_numbers_for_each_row_come_with_their_call() -> None:
    orders = np.array([[1.0], [np.inf], [-2.0]], dtype=np.float32)
    _, (plain, each) = crossed(
        CASE, Call(Inputs({"z": np.ones((3, 2))})), Call(Inputs({"z": np.ones((3, 2))}), per_row={"order": orders})
    )
    assert plain.per_row == {}
    assert list(each.per_row) == ["order"]
    came = each.per_row["order"]
    assert (came.dtype, came.shape, came.tobytes()) == (orders.dtype, orders.shape, orders.tobytes())


@pytest.mark.parametrize(
    "value", [True, None, 0.1, "zeros", Fraction(1, 3), np.float64(0.5), np.array([True, False]), np.array([2, 1])]
)
def test_an_option_keeps_its_type(value: Any) -> None:
    _, (call,) = crossed(CASE, Call(Inputs({"z": np.ones(2)}, {"x": value}), "vjp", "1/2", 0))
    came = call.inputs.options["x"]
    if isinstance(value, np.ndarray):
        assert came.dtype == value.dtype
        assert came.tolist() == value.tolist()
    else:
        assert came == value
        assert isinstance(came, type(value) if not isinstance(value, np.generic) else float)
    assert (call.mode, call.order, call.axis) == ("vjp", "1/2", 0)


def test_a_host_is_not_told_what_is_planted() -> None:
    packer = Packer()
    text = str(packed_calls(CASE, [Call(inputs_of(CASE))], packer))
    assert "ties" not in text
    assert "seed=7" not in text
    case, _ = crossed(CASE, Call(inputs_of(CASE)))
    assert (case.op, case.order, case.rule, case.dtype) == (CASE.op, CASE.order, CASE.rule, CASE.dtype)


def told(**changes: Any) -> dict[str, Any]:
    """An answer of one array of 2 float64 at 0, with some of its words replaced."""
    array = {"at": 0, "dtype": "<f8", "shape": [2], **changes.pop("array", {})}
    return {
        "arrays": {"output": array},
        "error": None,
        "crash": None,
        "modified": [],
        "changed": [],
        "replaced": [],
        **changes,
    }


CONTENT = memoryview(np.array([1.0, 2.0]).tobytes())


def test_an_outcome_crosses() -> None:
    outcome = Outcome(
        {"output": np.array([1.0, np.nan]), "z": np.zeros((2, 0))},
        "ValueError: \udc80",
        None,
        ("z",),
        ("x",),
        ("y",),
        ("output",),
    )
    packer = Packer()
    text = packed_outcome(outcome, packer)
    came = outcome_of(
        dict(text, modified=["z"], changed=["x"], replaced=["y"], overwritten=["output"])
        | {"arrays": {name: {**each, "shape": list(each["shape"])} for name, each in text["arrays"].items()}},
        memoryview(b"".join(packer.parts)),
    )
    assert came.arrays["output"].tobytes() == outcome.arrays["output"].tobytes()
    assert came.arrays["z"].shape == (2, 0)
    assert (came.error, came.modified, came.changed, came.replaced) == ("ValueError: \udc80", ("z",), ("x",), ("y",))
    assert came.overwritten == ("output",)


def test_that_nothing_was_kept_crosses_too() -> None:
    text = packed_outcome(Outcome(), Packer()) | {"modified": [], "changed": [], "replaced": []}
    assert outcome_of(text, CONTENT) == Outcome(overwritten=None)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"arrays": None},
        told(array={"dtype": "O"}),
        told(array={"dtype": "|O8"}),
        told(array={"dtype": "<U4"}),
        told(array={"dtype": "<c16"}),
        told(array={"dtype": "<f3"}),
        told(array={"dtype": {"f": 1}}),
        told(array={"shape": [3]}),
        told(array={"shape": [-1]}),
        told(array={"shape": [1 << 60, 1 << 60]}),
        told(array={"shape": [0, 1 << 47, 1 << 47]}),
        told(array={"shape": [True]}),
        told(array={"shape": [1] * 65}),
        told(array={"shape": "22"}),
        told(array={"at": 8}),
        told(array={"at": -8}),
        told(array={"at": 0.5}),
        told(error=["x"]),
        told(modified="z"),
        told(modified=[1]),
        told(changed=["x"] * 1000),
        told(overwritten="output"),
        told(overwritten=[1]),
    ],
)
def test_what_is_no_outcome_is_refused(said: object) -> None:
    with pytest.raises(WireError):
        outcome_of(said, CONTENT)


def test_the_answer_that_the_refused_ones_change_is_taken() -> None:
    assert outcome_of(told(), CONTENT).arrays["output"].tolist() == [1.0, 2.0]


def test_modes_of_arithmetic_cross() -> None:
    told = json.loads(json.dumps(modes()))
    assert modes_of(told) == modes()


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {"a": []},
        {"a": {"b": {"c": {"d": True}}}},
        {"a": float("nan")},
        {"a": None},
        {"a": "\x1b[31m"},
        {"\ud800": True},
        {"a": "x" * 1000},
        {str(each): True for each in range(1000)},
    ],
)
def test_what_are_no_modes_of_arithmetic_is_refused(told: object) -> None:
    with pytest.raises(WireError):
        modes_of(told)
