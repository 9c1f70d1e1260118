"""Shrinking finds the least witness where the least witness is known."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Here
from kernelproof.verify.fuzz.shrinker import Shrinker, Shrunk, _parts, _simpler
from kernelproof.verify.fuzz.subject import complexity
from kernelproof.verify.records import Failure
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.truth import truth_of

Loaded = Callable[[str], Target]


def shrunk(target: Target, text: str, check: str, most: int = 400) -> Shrunk:
    judge, subject = Here(target), Subject(Case.parse(text))
    failure = judge.ask(Question(subject)).failures[check]
    return Shrinker(judge, check, most=most).shrink(subject, failure)


def scores(found: Shrunk) -> list[float]:
    assert found.complete
    assert found.subject.inputs is not None
    return list(next(iter(found.subject.inputs.arrays.values())).astype(float))


def case(order: str, dtype: str, family: str, shape: str, feature: str) -> str:
    return f"entmax order={order} rule=adaptive:1 dtype={dtype} family={family} shape={shape} feature={feature} seed=3"


@pytest.mark.parametrize("check", ["accuracy", "kkt", "monotone", "support"])
def test_wrong_at_ties_shrinks_to_two_equal_keys(faulty: Loaded, check: str) -> None:
    found = shrunk(faulty("ties"), case("3/2", "float64", "ties", "3x16", "3"), check)
    assert scores(found) == [0.0, 0.0]
    assert found.subject.case.order == "1"


@pytest.mark.parametrize("check", ["accuracy", "simplex"])
def test_wrong_from_three_keys_on_shrinks_to_three(faulty: Loaded, check: str) -> None:
    found = shrunk(faulty("support3"), case("3", "float32", "random", "32x64", "1"), check)
    assert scores(found) == [0.0, 0.0, 0.0]
    assert found.subject.case.order == "1"


def test_wrong_at_seven_keys_shrinks_to_seven(faulty: Loaded) -> None:
    found = shrunk(faulty("size_seven"), case("8", "float32", "planted_support", "4x12", "7"), "accuracy")
    assert scores(found) == [0.0] * 7


def test_a_lost_maximum_shift_shrinks_to_one_power_of_two(faulty: Loaded) -> None:
    found = shrunk(faulty("no_shift"), case("inf", "float32", "offsets", "2x12", "5"), "accuracy")
    (score,) = scores(found)
    # exp overflows float32 above 88.7; the least power of two beyond is 128, and every step down to it is tried.
    assert score >= 128
    assert np.log2(score) % 1 == 0
    assert found.subject.case.order == "inf"


def test_the_order_that_is_wrong_stays(faulty: Loaded) -> None:
    found = shrunk(faulty("order_two"), case("2", "float64", "random", "3x8", "1"), "accuracy")
    assert found.subject.case.order == "2"
    assert len(scores(found)) == 2
    assert all(score in {-1.0, 0.0, 1.0} for score in scores(found))


def test_nan_shrinks_to_nan_alone(faulty: Loaded) -> None:
    found = shrunk(faulty("nan_to_zero"), case("2", "float32", "special", "4x7", "nan_masked"), "special_values")
    (score,) = scores(found)
    assert np.isnan(score)


def test_a_gradient_shrinks_with_its_cotangent(faulty: Loaded) -> None:
    found = shrunk(faulty("ops"), case("2", "float64", "random", "3x8", "1"), "gradients")
    assert scores(found) == [0.0, 0.0]
    assert found.subject.inputs is not None
    assert found.subject.inputs.cotangent is not None
    assert sorted(found.subject.inputs.cotangent.tolist()) == [0.0, 1.0]


def test_attention_shrinks_to_one_key_and_the_option_that_matters(faulty: Loaded) -> None:
    text = "attention order=2 rule=fixed:3 dtype=float32 family=masks shape=4x2x3x8x4x2 feature=mixed seed=0"
    found = shrunk(faulty("ops"), text, "accuracy")
    assert found.subject.case.shape == (1, 1, 1, 1, 1, 1)
    assert found.subject.inputs is not None
    assert found.subject.inputs.options == {"causal": True}
    assert all(not array.any() for array in found.subject.inputs.arrays.values())


def test_an_exception_does_not_turn_into_a_wrong_number(faulty: Loaded) -> None:
    found = shrunk(faulty("raises_on_ties"), case("2", "float64", "ties", "3x16", "3"), "accuracy")
    assert scores(found) == [0.0, 0.0]
    assert "two equal scores" in found.failure.message


def test_a_spent_budget_keeps_the_best_so_far(faulty: Loaded) -> None:
    found = shrunk(faulty("support3"), case("3", "float32", "random", "32x64", "1"), "accuracy", most=4)
    assert not found.complete
    assert found.tried == 4
    assert found.subject.elements < 32 * 64


def test_what_is_right_is_no_witness(faulty: Loaded) -> None:
    judge = Here(faulty("right"))
    answer = judge.ask(Question(Subject(Case.parse(case("3", "float32", "random", "32x64", "1")))))
    assert answer.failures == {}
    assert answer.decided > 32 * 64


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_largest_number_has_simpler_ones_and_no_infinity(dtype: str, sign: int) -> None:
    # Its mantissa rounds up to a power of two beyond the format, for which math.ldexp raises OverflowError.
    value = sign * FORMATS[dtype].largest
    found = list(_simpler(value, dtype))
    assert found
    assert all(np.isfinite(number) and complexity(number) < complexity(value) for number in found)


def test_heads_of_keys_keep_as_many_heads_of_queries_each() -> None:
    case = Case("attention", "1", None, "adaptive:1", "float64", "random", (6, 3, 2, 3, 2, 2), "1")
    whole = Subject(case, inputs_of(case))
    found = {each.case.shape[:2] for each in _parts(whole, Failure(message=""))}
    assert (1, 1) in found
    assert all(heads % groups == 0 for heads, groups in found)
    for each in _parts(whole, Failure(message="")):
        assert truth_of(each.case, each.inputs) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["shrinker", "scripts", "cuts"])
def test_no_clock_is_read(module: str) -> None:
    tree = ast.parse((Path(__file__).parents[3] / "verify" / "fuzz" / f"{module}.py").read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported
    assert not imported & {"time", "datetime"}
