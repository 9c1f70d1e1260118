"""Binding: which parameter takes what, in every op; and calls that a user writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.cases.case import Case
from kernelproof.verify.targets.binding import Binding, bind
from kernelproof.verify.targets.declaration import read

ENTMAX = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=2x3 feature=1 seed=0")


def weights(rule: str, order: str = "1") -> Case:
    return Case.parse(f"weights order={order} rule={rule} dtype=float64 family=random shape=2x3 feature=1 seed=0")


def called(function: Callable[..., Any], case: Case, options: dict[str, Any] | None = None, **said: Any) -> Any:
    """What the op's arrays, named after themselves, and the numbers of `case` become."""
    binding = bind(function, "f", read(said, "it") if said else None)
    assert binding.op == case.op
    names = {"entmax": "z", "weights": "scores"}.get(case.op)
    arrays = {name: name for name in ([names] if names else ["q", "k", "v"])}
    found = binding.call(case, arrays, options or {})
    assert found is not None
    return found


def mixed(op: str, rule: str = "adaptive:1") -> Case:
    shape = "2x1x2x5x4x3" if op == "attention" else "2x5x4x3"
    return Case.parse(f"{op} order=1 rule={rule} dtype=float64 family=random shape={shape} feature=1 seed=0")


@pytest.mark.parametrize("name", ["z", "x", "X", "input", "logits", "anything"])
def test_the_first_parameter_takes_the_logits(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def f({name}, order, dim=0): ...", space)  # noqa: S102 (a function with a parameter of this name)
    assert called(space["f"], ENTMAX) == (["z"], {"order": 2, "dim": -1})


def test_scores_are_weights() -> None:
    def by_scores(scores: Any, n: float, gamma: float) -> Any: ...

    def by_s(s: Any, alpha: float, beta: float = 1) -> Any: ...

    def by_h(s: Any, order: float, bandwidth: float, axis: int = 0) -> Any: ...

    def topk(s: Any, n: float, topk: int) -> Any: ...

    assert called(by_scores, weights("anchored:1/2")) == (["scores"], {"n": 1, "gamma": 0.5})
    assert called(by_s, weights("adaptive:2")) == (["scores"], {"alpha": 2.0, "beta": 2})
    assert called(by_h, weights("fixed:3")) == (["scores"], {"order": 1, "bandwidth": 3, "axis": -1})
    assert called(topk, weights("nearest:5:adaptive:1")) == (["scores"], {"n": 1, "topk": 5})
    assert bind(by_scores, "f").rules == ("anchored",)
    assert bind(topk, "f").rules == ("nearest:*:adaptive:1",)


def test_gamma_and_b_are_those_of_normalized_relu() -> None:
    def relu(s: Any, n: float, gamma: float, b: float) -> Any: ...

    assert bind(relu, "f").rules == ("fixed",)
    # [1 + 2s/h²]: γ = h²/2 = 9/2 and b = 1.
    assert called(relu, weights("fixed:3")) == (["scores"], {"n": 1, "gamma": 4.5, "b": 1})


def test_k_is_a_number_only_where_a_rule_says_so() -> None:
    def sparsemax(z: Any, k: int | None = None) -> Any: ...

    def topk_softmax(z: Any, k: int) -> Any: ...

    assert called(sparsemax, ENTMAX) == (["z"], {})
    with pytest.raises(TargetError, match="'k'"):
        bind(topk_softmax, "f")
    said: dict[str, Any] = {"op": "weights", "rule": "nearest:k:adaptive:1"}
    assert called(topk_softmax, weights("nearest:5:adaptive:1"), **said) == (["scores"], {"k": 5})
    with pytest.raises(TargetError, match="'count'"):
        bind(topk_softmax, "f", read({"op": "weights", "rule": "nearest:count:adaptive:1"}, "it"))


def test_queries_keys_and_values_are_attention_or_what_is_declared() -> None:
    def short(q: Any, k: Any, v: Any, n: float, mask: Any = None, is_causal: bool = False) -> Any: ...

    def turned(value: Any, key: Any, query: Any) -> Any: ...

    def ball(q: Any, k: Any, v: Any, h: float) -> Any: ...

    given = {"mask": "M", "causal": True}
    assert called(short, mixed("attention"), given) == (["q", "k", "v"], {"n": 1, "mask": "M", "is_causal": True})
    assert bind(short, "f").options == ("mask", "causal")
    assert called(turned, mixed("attention"))[0] == ["v", "k", "q"]
    assert called(ball, mixed("regression", "fixed:2"), op="regression") == (["q", "k", "v"], {"h": 2})
    with pytest.raises(TargetError, match="bandwidth"):
        bind(turned, "f", read({"op": "regression"}, "it"))


def test_a_required_option_gets_what_its_absence_means() -> None:
    def strict(q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float) -> Any: ...

    found = bind(strict, "f").call(mixed("attention"), {name: np.zeros((2, 4)) for name in "qkv"}, {})
    assert found is not None
    assert found[1] == {"mask": None, "causal": False, "scale": 0.5}


def test_kernel_and_rule_come_as_objects() -> None:
    def op(scores: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Any: ...

    def open_(q: Any, k: Any, v: Any, kernel: Any, rule: Any, **options: Any) -> Any: ...

    found = called(op, weights("adaptive:2"), {"empty": "zeros"})
    assert found == (["scores"], {"kernel": Kernel(1), "rule": Adaptive(2), "empty": "zeros"})
    assert bind(op, "f").rules == ()
    assert bind(open_, "f").options is None
    assert called(open_, mixed("attention"), {"causal": True})[1]["causal"] is True


def written(call: str, **said: Any) -> Binding:
    return bind(print, "f", read({"call": call, **said}, "it"))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("f(z, dim=-1)", (["z"], {"dim": -1})),
        ("torch.softmax(x, -1)", (["z", -1], {})),
        (
            "f(x, axis, n, flag=True, name='a', pair=(1, 2))",
            (["z", -1, 2], {"flag": True, "name": "a", "pair": (1, 2)}),
        ),
        ("f(a=alpha, b=z)", ([], {"a": 1.5, "b": "z"})),
    ],
)
def test_a_call_may_be_written(call: str, expected: Any) -> None:
    assert written(call).call(ENTMAX, {"z": "z"}, {}) == expected


@pytest.mark.parametrize(
    "call",
    [
        "f",
        "f(z",
        "f(z); g(z)",
        "f(z)(z)",
        "f(*z)",
        "f(**z)",
        "f(z, __import__('os'))",
        "f(z.T)",
        "f(z + 1)",
        "f([x for x in z])",
        "f(lambda: z)",
        "f(z, unknown)",
        "f(dim=-1)",
        "f(z, " + "(" * 500 + ")" * 500 + ")",
    ],
)
def test_a_call_is_names_and_literals(call: str) -> None:
    with pytest.raises(TargetError) as caught:
        written(call)
    assert "\n" not in str(caught.value)


def test_a_call_of_attention_passes_all_of_it() -> None:
    found = written("f(q, k, v, mask=mask)")
    assert (found.op, found.options) == ("attention", ("mask",))
    with pytest.raises(TargetError, match="lacks v"):
        written("f(q, k)", op="attention")
