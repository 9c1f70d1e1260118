"""Targets: found by their text, bound by parameter names, called with copies, whatever they raise."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.backends import backend_names
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.records import Call, Contract
from kernelproof.verify.targets.arrays import give, take
from kernelproof.verify.targets.binding import bind
from kernelproof.verify.targets.caller import Caller
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import Target, describe, find

CASE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float32 family=ties shape=3x8 feature=3 seed=0")
SOURCE = """
import numpy as np

def by_order(z, n=None, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def by_alpha(x, alpha=1.5, dim=-1, rounds=50):
    return x * alpha

def softmax(z):
    return by_order(z)

def needs(z, sharpness):
    return z

def nothing():
    return 0

def changes(z, order):
    z += 1
    return z, "more"

def fails(z, order):
    raise ValueError("no such luck\\nat all")

def leaves(z, order):
    raise SystemExit(3)

def hungry(z, order):
    raise MemoryError("much")

def text(z, order):
    return "weights"

class Object:
    dtypes = ("float32",)

    def entmax(self, z, *, order=None, alpha=None, dim=-1):
        return by_order(z)

    def weights(self, scores, kernel, rule, *, empty="nan"):
        return by_order(scores)

    def vjp(self, op, cotangent, *args, **kwargs):
        return {"z": cotangent, "order": np.float64(0.5)}

thing = Object()
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def target(file: Path, name: str) -> Target:
    found = describe(find(f"{file}:{name}"))
    assert not isinstance(found, str)
    return found[0]


def scope(found: Target, op: str = "entmax") -> Scope:
    held = found.scope(op)
    assert held is not None
    return held


def test_built_in_backends_are_found_without_importing_them() -> None:
    for name in backend_names():
        assert find(name).object == "BACKEND"


@pytest.mark.parametrize("text", ["nope", "missing.py:f", ":f", "a b:f", "1x:f", "module:"])
def test_unknown_targets_say_what_is_allowed(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        find(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["no_such_module:f", "json:no_such_object", "kernelproof.verify.cases.case:OPS"])
def test_targets_that_cannot_be_loaded(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        describe(find(text))
    assert "\n" not in str(caught.value)


def test_import_errors_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(TargetError, match="SyntaxError"):
        describe(find(f"{path}:f"))
    assert str(path) not in sys.modules


@pytest.mark.parametrize(
    ("name", "keywords"),
    [("by_order", {"n": 2, "axis": -1}), ("by_alpha", {"alpha": 1.5, "dim": -1}), ("softmax", {})],
)
def test_functions_are_bound_by_name(file: Path, name: str, keywords: dict[str, float]) -> None:
    found = target(file, name)
    assert found.ops == ("entmax",)
    assert found.array_library == "numpy"
    assert found.dtypes == ("float64", "float32")
    assert found.contract == Contract()
    assert scope(found).gradients == ()
    binding = Caller(found).bound["entmax"][1]
    assert binding.keywords(CASE) == keywords


def test_a_function_of_one_order_refuses_the_others(file: Path) -> None:
    found = target(file, "softmax")
    assert found.order_unknown
    assert found.with_order("inf", None).refuses(CASE) == "the target computes another order"
    assert found.with_order("2", None).refuses(CASE) is None
    assert found.with_order(None, "3/2").refuses(CASE) is None


def test_alpha_gets_only_orders_that_it_can_express(file: Path) -> None:
    found = target(file, "by_alpha")
    assert scope(found).takes == ("alpha",)
    assert found.refuses(CASE) is None
    inexact = Case.parse(CASE.text.replace("order=2", "order=3"))
    assert "order 3" in str(found.refuses(inexact))
    assert found.refuses(Case.parse(CASE.text.replace("order=2", "alpha=4/3"))) is None
    assert "float16" in str(found.refuses(Case.parse(CASE.text.replace("float32", "float16"))))


@pytest.mark.parametrize(("name", "word"), [("needs", "sharpness"), ("nothing", "positional"), ("number", "function")])
def test_what_cannot_be_bound(file: Path, name: str, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        target(file, name)


class Calls:
    """Ways in which an object of the world is called."""

    def bound(self, z: Any, **kw: Any) -> Any: ...

    def named(self, z: Any, /, *, axis: int, n: float, **kw: Any) -> Any: ...

    def anything(self, *args: Any, **kwargs: Any) -> Any: ...

    def __call__(self, z: Any, dim: int = -1, **kw: Any) -> Any: ...


class Layer:
    """As torch.nn.Module: called through a wrapper that names nothing."""

    def forward(self, z: Any, alpha: float = 1.5, dim: int = 0) -> Any: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Bare:
    """The same without `forward`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (Calls().bound, {}),
        (Calls().named, {"n": 2, "axis": -1}),
        (Calls().anything, {}),
        (Calls(), {"dim": -1}),
        (Layer(), {"alpha": 1.5, "dim": -1}),
        (Bare(), {}),
        (partial(Calls().named, n=2), {"n": 2, "axis": -1}),
    ],
)
def test_methods_and_callable_objects_are_bound(function: Any, keywords: dict[str, float]) -> None:
    assert bind(function, "it").keywords(CASE) == keywords


@pytest.mark.parametrize("function", [lambda **kw: kw, lambda *, z: z])
def test_logits_need_a_place(function: Any) -> None:
    with pytest.raises(TargetError, match="positional"):
        bind(function, "it")


TORCHED = """
import numpy as np
import torch

def on_numpy(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def back_to_numpy(z):
    return on_numpy(np.asarray(z))

def on_torch(z, dim=-1):
    return torch.softmax(z, dim)

def fails(z):
    raise TypeError("not mine")

def refuses(z):
    raise ValueError("too short")

def numbers(z):
    return on_numpy(z).tolist()

def numbers_of_any(z):
    return on_numpy(np.asarray(z)).tolist()

def numbers_of_tensors(z):
    return torch.softmax(z, -1).tolist()
"""


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "array", "word"),
    [
        ("on_numpy", "numpy", "for with the others: "),
        ("back_to_numpy", "numpy", "must return a torch array"),
        ("on_torch", "torch", "given torch arrays"),
        ("fails", "torch", "given torch arrays"),
        ("refuses", "torch", "given torch arrays"),
        ("numbers", "numpy", "; with torch arrays: TypeError"),
        ("numbers", "numpy", "the target must return a numpy array; got builtins.list, given numpy arrays"),
        ("numbers_of_any", "torch", "the target must return a torch array; got builtins.list, given torch arrays"),
        ("numbers_of_any", "torch", "the target must return a numpy array; got builtins.list, given numpy arrays"),
        ("numbers_of_tensors", "torch", "the target must return a torch array; got builtins.list, given torch arrays"),
        ("numbers_of_tensors", "torch", "; with numpy arrays: TypeError"),
    ],
)
def test_what_a_function_computes_on_is_tried(tmp_path: Path, name: str, array: str, word: str) -> None:
    path = tmp_path / f"torched_{name}.py"
    path.write_text(TORCHED, encoding="utf-8")
    found = target(path, name)
    assert found.array_library == array
    assert word in found.note
    assert f"given {array} arrays" in found.note
    if name == "numbers":
        # What comes of a call is told of the arrays that it was meant for.
        error = Caller(found)(CASE, Call(inputs_of(CASE))).error
        assert error == f"TargetError: {word}" or not word.startswith("the target")
    assert ("bfloat16" in found.dtypes) == (scope(found).gradients == ("z",)) == (array == "torch")


@pytest.mark.torch
def test_a_function_of_tensors_need_not_import_torch(tmp_path: Path) -> None:
    path = tmp_path / "no_import.py"
    path.write_text("def f(z, dim=-1):\n    return z.softmax(dim)\n", encoding="utf-8")
    assert target(path, "f").array_library == "torch"


def test_a_declared_kind_of_array_is_not_tried(tmp_path: Path) -> None:
    path = tmp_path / "declared.py"
    body = "class C:\n    def entmax(self, z):\n        seen.append(z)\n\nseen, c = [], C()\n"
    path.write_text(body + "c.array_library = 'numpy'\n", encoding="utf-8")
    assert target(path, "c").array_library == "numpy"
    assert sys.modules[str(path)].seen == []


def test_without_a_signature() -> None:
    with pytest.raises(TargetError, match="--call"):
        bind(type("C", (), {"__signature__": 1})(), "C")


def test_an_object_with_ops(file: Path) -> None:
    found = target(file, "thing")
    assert found.ops == ("entmax", "weights")
    assert found.dtypes == ("float32",)
    assert scope(found).gradients is None
    outcome = Caller(found)(CASE, Call(inputs_of(CASE), "vjp"))
    assert outcome.arrays["order"].shape == ()
    assert outcome.arrays["z"].dtype == np.float32
    assert (
        found.refuses(
            Case.parse("attention order=2 rule=fixed:2 dtype=float32 family=random shape=2x1x2x12x4x3 feature=1 seed=0")
        )
        == "the target has no op attention"
    )


def test_calls_see_copies_and_changes_are_reported(file: Path) -> None:
    inputs = inputs_of(CASE)
    before = inputs.arrays["z"].tobytes()
    outcome = Caller(target(file, "changes"))(CASE, Call(inputs))
    assert outcome.modified == ("z",)
    assert inputs.arrays["z"].tobytes() == before
    assert outcome.arrays["output"].shape == (3, 8)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("fails", "ValueError: no such luck"),
        ("leaves", "SystemExit: 3"),
        ("text", "TargetError: the target must return"),
    ],
)
def test_errors_are_outcomes(file: Path, name: str, error: str) -> None:
    outcome = Caller(target(file, name))(CASE, Call(inputs_of(CASE)))
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert not outcome.arrays


def test_out_of_memory_is_a_crash(file: Path) -> None:
    outcome = Caller(target(file, "hungry"))(CASE, Call(inputs_of(CASE)))
    assert outcome.crash is not None
    assert "memory" in outcome.crash


@pytest.mark.torch
@pytest.mark.parametrize("dtype", list(FORMATS))
def test_torch_keeps_every_bit(dtype: str) -> None:
    size = FORMATS[dtype].dtype.itemsize
    raw = np.arange(256, dtype=np.uint8).repeat(size)[: 64 * size]
    array = raw.view(FORMATS[dtype].dtype)
    back = take(give(array, "torch", "cpu"), "torch")
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert take(give(np.zeros((), ml_dtypes.bfloat16), "torch", "cpu"), "torch").shape == ()


@pytest.mark.torch
def test_a_torch_function_gives_the_gradient_of_autograd(tmp_path: Path) -> None:
    path = tmp_path / "with_torch.py"
    path.write_text("import torch\ndef softmax(z, dim=-1):\n    return torch.softmax(z, dim)\n", encoding="utf-8")
    found = target(path, "softmax")
    assert found.array_library == "torch"
    assert scope(found).gradients == ("z",)
    assert "bfloat16" in found.dtypes
    inputs = inputs_of(CASE)
    p = Caller(found)(CASE, Call(inputs)).arrays["output"].astype(np.float64)
    g = np.asarray(inputs.cotangent, np.float64)
    expected = p * (g - (p * g).sum(axis=-1, keepdims=True))
    got = Caller(found)(CASE, Call(inputs, "vjp")).arrays["z"]
    # Sums of 8 float32 terms of size 1, each off by half an ulp.
    assert np.abs(got - expected).max() <= 8 * 2.0**-24


@pytest.mark.torch
def test_the_torch_backend_computes_on_tensors() -> None:
    found = describe(find("torch"))
    assert not isinstance(found, str)
    assert found[0].array_library == "torch"
    assert found[0].contract.grade == "A"
