"""Declarations: read from dicts, decorators and files; what is not known is one line that says what is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kernelproof
from kernelproof.reference.errors import TargetError
from kernelproof.verify.records import CONTRACT_WORDS, Contract
from kernelproof.verify.targets.declaration import CONTRACT, FIELDS, Declaration, Shapes, declared, read, read_file


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"garde": "A"}, ["'garde'", "grade", "least_rank"]),
        ({"grade": "Z"}, ["grade", "'Z'", "A, B"]),
        ({"grade": 3}, ["grade", "3"]),
        ({"flush_to_zero": "yes"}, ["flush_to_zero", "bool", "'yes'"]),
        ({"op": "conv"}, ["op", "'conv'", "attention"]),
        ({"order": "-inf"}, ["order", "-inf", "(-inf, inf]"]),
        ({"order": "many"}, ["order", "'many'"]),
        ({"order": True}, ["order", "True"]),
        ({"alpha": "-1/2"}, ["alpha", "'-1/2'", "(0, inf]"]),
        ({"order": 1, "alpha": 2}, ["order and alpha"]),
        ({"orders": "3..1"}, ["orders", "'3..1'"]),
        ({"orders": "1.."}, ["orders", "'1..'"]),
        ({"rule": "adaptive:"}, ["rule", "'adaptive:'", "anchored:GAMMA"]),
        ({"rule": "nearest:k"}, ["rule", "'nearest:k'"]),
        ({"rule": "adaptive:-1"}, ["rule", "'adaptive:-1'"]),
        ({"rule": 3}, ["rule", "3"]),
        ({"dtypes": ["float64", "int8"]}, ["dtypes", "'int8'", "bfloat16"]),
        ({"dtypes": [3]}, ["dtypes", "3"]),
        ({"array_library": "tpu"}, ["array_library", "'tpu'", "jax"]),
        ({"devices": "gpu"}, ["devices", "'gpu'", "cuda"]),
        ({"call": ""}, ["call", "''"]),
        ({"output": 1.5}, ["output", "1.5"]),
        ({"output": True}, ["output", "True"]),
        ({"gradients": "w"}, ["gradients", "'w'", "alpha"]),
        ({"options": ["dropout"]}, ["options", "'dropout'", "causal"]),
        ({"square": 1}, ["square", "1"]),
        ({"least_rank": -1}, ["least_rank", "-1"]),
        ({"head_sizes": ["64"]}, ["head_sizes", "'64'"]),
        ({"most_keys": 0}, ["most_keys", "0"]),
        ("grade A", ["dict", "'grade A'"]),
        (["grade"], ["dict", "['grade']"]),
    ],
)
def test_what_is_not_known_is_one_line(given: Any, words: list[str]) -> None:
    with pytest.raises(TargetError) as caught:
        read(given, "it")
    said = str(caught.value)
    assert said.startswith("it")
    assert "\n" not in said
    assert all(word in said for word in words)


def test_every_field_is_read() -> None:
    given: dict[str, Any] = {
        "op": "attention",
        "alpha": 1.5,
        "orders": ["1", "2..inf"],
        "rule": ["nearest:k:adaptive:1", "fixed"],
        "dtypes": "float32, float16",
        "array_library": "jax",
        "devices": ["cuda"],
        "call": "f(q, k, v)",
        "output": "1",
        "gradients": [],
        "options": ["mask", "causal"],
        "head_sizes": [64, 128],
        "square": True,
        "most_rows": 8,
        "grade": "B",
        "empty_row": "zeros",
    }
    found = read(given, "it")
    assert (found.op, found.alpha, found.order) == (("attention",), "3/2", None)
    assert found.orders == ("1", "2..inf")
    assert found.rules == ("nearest:k:adaptive:1", "fixed")
    assert found.dtypes == ("float32", "float16")
    assert (found.array_library, found.devices, found.call, found.output) == ("jax", ("cuda",), "f(q, k, v)", 1)
    assert (found.gradients, found.options) == ((), ("mask", "causal"))
    assert found.limits == Shapes(head_sizes=(64, 128), square=True, most_rows=8)
    assert found.promise(Contract()) == Contract(grade="B", empty_row="zeros")
    assert read({}, "it") == Declaration()


def test_every_word_of_a_contract_is_known() -> None:
    words = {name for name in CONTRACT if isinstance(getattr(Contract(), name), str)}
    assert words == set(CONTRACT_WORDS)
    assert all(getattr(Contract(), name) in CONTRACT_WORDS[name] for name in words)
    assert set(CONTRACT) < set(FIELDS)


def test_the_nearest_declaration_wins_field_by_field() -> None:
    near = read({"grade": "A", "alpha": 2, "square": True}, "near")
    far = read({"grade": "C", "nan": "any", "order": 3, "op": "entmax", "most_keys": 4}, "far")
    found = near.over(far)
    assert (found.order, found.alpha, found.op) == (None, "2", ("entmax",))
    assert found.promise(Contract()) == Contract(grade="A", nan="any")
    assert found.limits == Shapes(square=True, most_keys=4)
    assert Declaration().over(far) == far


def test_a_decorator_and_an_attribute_declare() -> None:
    @kernelproof.declare(order="inf", nan="any")
    def function(z: Any) -> Any: ...

    class Holder:
        KERNELPROOF = Contract(grade="A")

        @kernelproof.declare(op="entmax")
        def entmax(self, z: Any) -> Any: ...

    assert declared(function, "f").order == "inf"
    assert declared(Holder(), "h").promise(Contract()).grade == "A"
    assert declared(Holder().entmax, "h").op == ("entmax",)
    assert declared(lambda z: z, "f") == Declaration()
    assert declared(pytest, "module") == Declaration()


def test_an_object_that_answers_to_every_name_declares_nothing() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return {"garde": "A"}

    assert declared(Anything(), "it") == Declaration()


def test_a_bad_decoration_is_refused_where_it_stands() -> None:
    with pytest.raises(TargetError, match="garde"):
        kernelproof.declare(garde="A")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "it.toml"
    path.write_text('order = "1/2"\ngrade = "B"\ndtypes = ["float32"]\n', encoding="utf-8")
    assert read_file(str(path)).order == "1/2"
    path.write_text("grade = B", encoding="utf-8")
    with pytest.raises(TargetError, match=r"it\.toml") as caught:
        read_file(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match=r"none\.toml"):
        read_file(str(tmp_path / "none.toml"))
