"""The second opinion agrees with the certified way on every rule and at every kink, and shares no step with it."""

from __future__ import annotations

import ast
from fractions import Fraction as F
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, Fixed, Kernel, Nearest, second_opinion, weighting

RULES = (Fixed(2), Anchored(F(3, 2)), Adaptive(1), Adaptive(F(3, 4)), Nearest(2, Adaptive(1)), Nearest(3, Fixed(2)))
ORDERS = (F(1, 2), F(1), F(3, 2), F(2), F(5), inf)
ROW = (-0.25, -1.5, -0.375, -0.75, -1.25)
G = (1.0, -2.0, 0.5, 3.0, -0.25)
KINKS: dict[str, tuple[list[float], Any, Any]] = {
    "order 1, a key at the threshold": ([0.5, 0.25, -0.125], F(1), Adaptive(1)),
    "order 1, two of them": ([0.5, 0.0, 0.125, -0.125, -0.125], F(1), Adaptive(1)),
    "order 2, Pythagoras": ([1.75 * 2, 1.4375 * 2, 0.0], F(2), Adaptive(1)),
    "order 2, 3/5 and 4/5": ([6.0, 8.0, 0.0], F(2), Adaptive(F(1, 5))),
    "order 1/2, a key at the threshold": ([0.0, 0.5], F(1, 2), Adaptive(1)),
    "order 3/2, one key": ([0.0, 1.5], F(3, 2), Adaptive(1)),
    "almost": ([0.0, 1.5 - 2.0**-40], F(3, 2), Adaptive(1)),
    "almost, from beyond": ([0.0, 1.5 + 2.0**-40], F(3, 2), Adaptive(1)),
    "a ball that touches a key": ([-0.5, -2.0, -0.25], F(1), Fixed(2)),
    "a ball that touches the nearest key": ([-2.0, -2.0, -3.0], F(2), Fixed(2)),
    "an empty ball": ([-3.0, -4.0], F(2), Fixed(2)),
    "order 0 on the sphere": ([-0.5, -2.0, -3.0], F(0), Fixed(2)),
    "the reach ends at a key": ([0.0, -1.0, -0.5], F(1), Anchored(1)),
    "tied maxima": ([0.0, 0.0, -0.5], F(2), Anchored(1)),
    "tied at the k-th": ([0.0, -1.0, -1.0, -2.0], inf, Nearest(2, Adaptive(1))),
    "tied at the k-th, at the threshold": ([0.0, -1.0, -1.0], F(1), Nearest(2, Adaptive(1))),
    "argmax": ([0.0, 0.0, -0.5], inf, Anchored(1)),
}


def close(left: Any, right: Any) -> None:
    for a, b in zip(np.ravel(left.values()), np.ravel(right.values()), strict=True):
        assert abs(float(a) - float(b)) <= 1e-13 * (1 + abs(float(a)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_weights_and_gradients_agree(rule: Any, order: Any) -> None:
    both = [
        reference.weights_vjp(list(ROW), list(G), Kernel(order), rule, arithmetic=name) for name in ("arb", "mpmath")
    ]
    assert both[0].keys() == both[1].keys()
    for key in both[0]:
        close(both[0][key], both[1][key])
    found = [reference.weights(list(ROW), Kernel(order), rule, arithmetic=name).weights for name in ("arb", "mpmath")]
    close(*found)


@pytest.mark.parametrize("order", [F(1, 2), F(1), F(7, 3), F(64), inf], ids=str)
def test_the_derivative_by_alpha_agrees(order: Any) -> None:
    alpha = 1 + 1 / order if order != inf else 1
    both = [reference.entmax_vjp(list(ROW), list(G), alpha=alpha, arithmetic=name) for name in ("arb", "mpmath")]
    close(both[0]["alpha"], both[1]["alpha"])


@pytest.mark.parametrize("case", KINKS.values(), ids=KINKS)
def test_kinks_are_decided_exactly(case: tuple[list[float], Any, Any]) -> None:
    z, order, rule = case
    first, second = (reference.weights(z, Kernel(order), rule, arithmetic=name) for name in ("arb", "mpmath"))
    for name in ("support", "boundary", "empty", "unsure", "kink"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    if not first.empty:
        close(first.weights, second.weights)
        gradients = [
            reference.weights_vjp(z, [1.0] * len(z), Kernel(order), rule, arithmetic=a) for a in ("arb", "mpmath")
        ]
        close(gradients[0]["scores"], gradients[1]["scores"])


def test_it_calls_neither_the_weights_nor_the_gradient_of_the_certified_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any, **__: Any) -> Any:
        msg = "the certified way was called"
        raise AssertionError(msg)

    for name in ("weigh", "vjp"):
        monkeypatch.setattr(f"kernelproof.reference.solver.{name}", fault)
        monkeypatch.setattr(weighting, name, fault)
    reference.weights(list(ROW), Kernel(2), Adaptive(1), arithmetic="mpmath")
    reference.weights_vjp(list(ROW), list(G), Kernel(2), Adaptive(1), arithmetic="mpmath")
    with pytest.raises(AssertionError, match="certified way"):
        reference.weights([*ROW, 0.125], Kernel(F(7, 2)), Anchored(1)).weights.values()


def test_it_imports_only_records_from_the_certified_way() -> None:
    tree = ast.parse(Path(second_opinion.__file__).read_text())
    taken = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "kernelproof.reference.weighting"
        for alias in node.names
    }
    assert taken == {"RowTruth", "RowVjp"}
