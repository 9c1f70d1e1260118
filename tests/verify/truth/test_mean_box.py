"""A mean is called wrong only where errors of the inputs that a grade allows do not account for it."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.records import Contract, Inputs
from kernelproof.verify.truth.mean_box import hidden
from kernelproof.verify.truth.truth import truth_of

A = Contract(grade="A", scores="differences")
PLACES = [("1", "anchored:2"), ("3/2", "adaptive:2"), ("3", "adaptive:2"), ("inf", "adaptive:1"), ("8", "anchored:2")]


def said(order: str, rule: str, q: list[float], k: list[list[float]], got: float) -> tuple[float, bool]:
    """The exact mean of the values 1, 2 and 3, and whether `got` is hidden if its κ is beyond any grade."""
    case = Case("regression", order, None, rule, "float64", "random", (1, len(k), len(q), 1), "1")
    inputs = Inputs({"q": np.array([q]), "k": np.array(k), "v": np.array([[1.0], [2.0], [3.0]])})
    truth = truth_of(case, inputs)
    assert truth is not None
    raw = np.array([[got]])
    (((found,),),) = (hidden(case, inputs, truth, raw, np.full((1, 1), 1e15), A),)
    return float(truth.output.head[0, 0]), bool(found)


@pytest.mark.parametrize(("order", "rule"), PLACES)
def test_far_from_the_keys_rounding_exchanges_them(order: str, rule: str) -> None:
    # The squares are 1e34, a rounding of them 1e18, and what they differ by is 1e17.
    keys = [[0.25, 0.0], [0.5, 0.0], [0.75, 0.0]]
    exact, found = said(order, rule, [1e17, 0.0], keys, 1.0)
    assert exact == 3.0
    assert found
    # But a mean lies among the values.
    assert not said(order, rule, [1e17, 0.0], keys, 4.0)[1]


@pytest.mark.parametrize(("order", "rule"), [*PLACES, ("inf", "anchored:1"), ("inf", "fixed:2"), ("1", "fixed:2")])
def test_near_the_keys_nothing_is_hidden(order: str, rule: str) -> None:
    keys = [[0.25, 0.0], [0.5, 0.0], [0.75, 0.0]]
    exact, _ = said(order, rule, [1.0, 0.0], keys, 1.0)
    for off in (1e-9, 0.1, 1.0):
        assert not said(order, rule, [1.0, 0.0], keys, exact - off)[1]


def test_argmax_is_hidden_where_rounding_chooses_the_key_and_nowhere_else() -> None:
    keys = [[0.25, 0.0], [0.5, 0.0], [0.75, 0.0]]
    exact, found = said("inf", "anchored:1", [1e17, 0.0], keys, 2.0)
    assert exact == 3.0
    assert found
    for got in (0.0, 2.0, 3.003):
        assert not said("inf", "anchored:1", [1.0, 0.0], keys, got)[1]
