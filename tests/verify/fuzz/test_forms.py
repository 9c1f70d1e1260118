"""A row of numbers is a witness and back, in every shape that a target takes."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.fuzz.forms import SIZES, forms_of, kept_options
from kernelproof.verify.records import RANKS, Contract
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.shapes import refused_shape, shapes_of
from kernelproof.verify.truth.truth import truth_of

OPS = list(RANKS)
LIMITS = [
    Shapes(),
    Shapes(least_rank=3),
    Shapes(most_rank=3),
    Shapes(most_rank=2),
    Shapes(square=True, equal_widths=True),
    Shapes(head_sizes=(16, 32), least_keys=5, most_keys=9),
    Shapes(head_multiple=8, length_multiple=4),
    Shapes(most_rows=1, most_keys=1),
]


def case_of(op: str) -> Case:
    return Case(op, "1", None, "adaptive:1", "float64", "random", (1,) * RANKS[op], "1")


def test_without_limits_the_forms_are_the_sizes() -> None:
    assert [form.core for form in forms_of(case_of("entmax"), Scope("entmax"))] == [(keys,) for keys, _, _ in SIZES]
    assert [form.core for form in forms_of(case_of("attention"), Scope("attention"))] == [
        (1, *sizes) for sizes in SIZES
    ]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("limits", LIMITS)
def test_rows_are_the_arrays_of_shapes_that_a_target_takes(op: str, limits: Shapes) -> None:
    case = case_of(op)
    forms = forms_of(case, Scope(op, shapes=limits))
    # Attention has heads in any shape of its cases.
    assert len(forms) == (0 if op == "attention" and limits.most_rank == 2 else len(SIZES))
    for form in forms:
        rows = normals(case.generator(), (form.block, len(form.spans[0])))
        subject = form.subject(case, rows)
        assert subject.inputs is not None
        shapes = {name: array.shape for name, array in subject.inputs.arrays.items()}
        assert shapes == shapes_of(subject.case)
        assert refused_shape(limits, shapes) is None
        np.testing.assert_array_equal(form.rows(subject.inputs.arrays), rows)


@pytest.mark.parametrize("op", OPS)
def test_witnesses_of_one_call_know_nothing_of_each_other(op: str) -> None:
    case = case_of(op)
    for limits in (Shapes(), Shapes(most_rank=3)):
        form = forms_of(case, Scope(op, shapes=limits))[1]
        rows = normals(case.generator(), (3, len(form.spans[0])))
        whole, *alone = (form.subject(case, part) for part in (rows, rows[:1], rows[1:2], rows[2:]))
        heads = []
        for subject in (whole, *alone):
            assert subject.inputs is not None
            truth = truth_of(subject.case, subject.built(Contract()))
            assert truth is not None
            heads.append(truth.output.head)
        np.testing.assert_array_equal(heads[0], np.concatenate(heads[1:]))


@pytest.mark.parametrize("op", OPS)
def test_pairs_make_the_first_weight_the_output(op: str) -> None:
    case = case_of(op)
    form = forms_of(case, Scope(op))[0]
    subject = form.subject(case, form.pairs(np.array([[0.25, 0.0]])))
    assert subject.inputs is not None
    truth = truth_of(subject.case, subject.built(Contract()))
    assert truth is not None
    # Sparsemax of two keys is 1/2 and half of the difference of their scores.
    gap = -(0.25**2) / 2 if op == "regression" else 0.25
    assert truth.output.head[0, 0] == (1 + gap) / 2


def test_options_that_depend_on_the_shape_or_that_nobody_takes_are_left_out() -> None:
    given = {"mask": np.ones(3, bool), "key_norm_term": True}
    assert kept_options(given, Scope("attention")) == (("key_norm_term", True),)
    assert kept_options(given, Scope("attention", options=("mask",))) == ()


@pytest.mark.parametrize("requires", [("mask",), ("causal",), ("lengths",), ("scale", "key_norm_term"), ("empty",)])
@pytest.mark.parametrize("lead", [Shapes(), Shapes(most_rank=3)])
def test_options_that_a_target_requires_change_no_truth(requires: tuple[str, ...], lead: Shapes) -> None:
    case = case_of("attention")
    (free, held) = (forms_of(case, Scope("attention", shapes=lead, requires=each))[4] for each in ((), requires))
    rows = normals(case.generator(), (3, len(free.spans[0])))
    truths = []
    for form in (free, held):
        subject = form.subject(case, rows)
        assert subject.inputs is not None
        assert tuple(subject.inputs.options) == (requires if form is held else ())
        truth = truth_of(subject.case, subject.built(Contract()))
        assert truth is not None
        truths.append(truth.output.head)
    assert subject.inputs is not None
    # 1/√d as an option is the nearest float64: that moves a score by u of |q||k|, and m weights by twice that each.
    sizes = {name: float(np.abs(array).max()) for name, array in subject.inputs.arrays.items()}
    count, width = subject.case.shape[-3:-1]
    moved = 2.0**-53 * width * sizes["q"] * sizes["k"]
    np.testing.assert_allclose(
        truths[1], truths[0], rtol=0, atol=2 * count * (moved + 2.0**-53) * sizes["v"] if "scale" in requires else 0
    )


def test_a_required_option_that_a_family_gives_is_that_of_the_family() -> None:
    case = case_of("attention")
    form = forms_of(case, Scope("attention", requires=("key_norm_term",)))[0]
    rows = normals(case.generator(), (2, len(form.spans[0])))
    for options, told_ in (((), False), ((("key_norm_term", True),), True)):
        inputs = form.subject(case, rows, options).inputs
        assert inputs is not None
        assert inputs.options == {"key_norm_term": told_}
