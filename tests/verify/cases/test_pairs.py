"""The axes of combinations: the plan covers every pair that can occur, in inputs that show a fault of two levels."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.axes import AXES, EXCLUSIONS, HIDDEN, PAIRS, SIZES, levels_of, worded, words_of
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.combined import Taken, case_with, counted, covering, space_of
from kernelproof.verify.cases.covering import Space
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.plan import plan, union
from kernelproof.verify.cases.sizes import differentiable, shape_of
from kernelproof.verify.cases.subject import Subject, explicit
from kernelproof.verify.cases.suites import SUITES, Selection
from kernelproof.verify.records import OPS, RANKS, Contract, Inputs
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.shapes import Fitting
from kernelproof.verify.targets.target import Target, find
from kernelproof.verify.truth.truth import truth_of


def place(op: str, rule: str = "adaptive:1") -> Case:
    return Case(op, "2", None, rule, "float64", "random", (1,) * RANKS[op], "1")


def paired(suite: str = "standard", **restrictions: Any) -> list[Case]:
    return [case for case in plan(Selection(suite=suite, **restrictions)) if case.family == PAIRS]


def made(line: str) -> Inputs:
    return inputs_of(Case.parse(f"attention order=inf rule=adaptive:1 family={PAIRS} seed=0 {line}"))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("gradients", [False, True])
def test_every_row_has_a_case_whose_levels_are_those_of_the_row(op: str, gradients: bool) -> None:
    for row in covering(op, Taken(), 2, gradients=gradients).rows:
        case = case_with(row, place(op), gradients=gradients)
        assert levels_of(case) == row
        assert Case.parse(case.text) == case
        assert differentiable(op, case.shape) or not gradients
        if gradients:
            assert inputs_of(case).cotangent is not None, case.text


@pytest.mark.parametrize("op", OPS)
def test_levels_have_names_of_their_own_and_exclusions_name_levels_and_reasons(op: str) -> None:
    names = [level for axis in AXES[op] for level in axis.levels[axis.name not in {*SIZES[op], "dtype"} :]]
    assert len(set(names)) == len(names)
    known = {axis.name: axis.levels for axis in AXES[op]}
    for each in EXCLUSIONS[op]:
        assert each.reason
        assert all(set(levels) <= set(known[axis]) for axis, levels in each.levels.items())


@pytest.mark.parametrize("op", OPS)
def test_each_exclusion_takes_combinations_away(op: str) -> None:
    axes = tuple(replace(axis, weak=frozenset()) for axis in AXES[op])
    for at, each in enumerate(EXCLUSIONS[op]):
        others = Space(axes, (*EXCLUSIONS[op][:at], *EXCLUSIONS[op][at + 1 :]))
        held = [dict(zip(each.levels, levels, strict=True)) for levels in product(*each.levels.values())]
        assert any(map(others.fits, held)), each.reason
        assert not any(map(Space(axes, (each,)).fits, held))


@pytest.mark.parametrize("op", OPS)
def test_what_is_not_excluded_has_a_shape(op: str) -> None:
    space, _ = space_of(op)
    sizes = Space(tuple(axis for axis in space.axes if axis.name in SIZES[op]), space.exclusions)
    for pair in covering(op, Taken(), 2).possible:
        held = dict(pair)
        if held.keys() <= set(SIZES[op]):
            assert any(shape_of(op, row) for row in covering_rows(sizes, held)), held


def covering_rows(space: Space, held: dict[str, str]) -> list[dict[str, str]]:
    rows = [dict(held)]
    for axis in space.axes:
        if axis.name not in held:
            rows = [{**row, axis.name: level} for row in rows for level in axis.levels]
    return [row for row in rows if space.holds(row)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtypes", [(), ("float32",), ("bfloat16", "float64")])
def test_the_standard_suite_covers_every_pair(op: str, dtypes: tuple[str, ...]) -> None:
    cases = paired(ops=(op,), dtypes=dtypes)
    taken = Taken(dtypes=dtypes) if dtypes else Taken()
    for gradients in (False, True):
        tried = [case for case in cases if not gradients or differentiable(op, case.shape)]
        found = counted(op, taken, tried, gradients=gradients)
        assert found.covered == found.possible > 100
        assert not found.missing
        fewer = counted(op, taken, tried[1:], gradients=gradients)
        assert fewer.covered <= found.covered
    assert {case.dtype for case in cases} == set(dtypes or SUITES["standard"].dtypes)


@pytest.mark.parametrize("op", ["entmax", "regression"])
def test_the_exhaustive_suite_covers_every_triple(op: str) -> None:
    found = counted(op, Taken(), paired("exhaustive", ops=(op,), orders=("2",), rules=("adaptive",)), strength=3)
    assert found.covered == found.possible > 3000


def test_missing_pairs_are_named() -> None:
    cases = [case for case in paired(ops=("attention",)) if levels_of(case)["causal"] == "no-causal"]  # type: ignore[index]
    found = counted("attention", Taken(), cases)
    assert found.covered < found.possible
    assert any("causal" in each.split(" with ") for each in found.missing)


def test_what_a_target_refuses_is_out_of_the_count_with_its_reason() -> None:
    taken = Taken(options=("mask", "causal"), masks=("boolean",), exclusive=("mask", "causal"), requires=("causal",))
    space, left_out = space_of("attention", taken)
    levels = {axis.name: axis.levels for axis in space.axes}
    assert levels["scale"] == ("usual-scale",)
    assert levels["causal"] == ("causal",)
    assert levels["mask"] == ("no-mask", "boolean", "boolean-wide", "boolean-keys")
    said = " ".join(left_out)
    for part in ("no parameter for scale", "no additive masks", "mask and causal together", "with causal only"):
        assert part in said
    # The two exclude each other, so that no mask is left, and nothing hides chosen keys.
    held = {level for row in covering("attention", taken, 2).rows for level in row.values()}
    assert not held & {"boolean", "hide-first", "scale", "lengths", "key-norm"}


def test_shapes_that_a_target_refuses_are_not_planned() -> None:
    limits = Shapes(square=True, length_multiple=64, head_sizes=(32, 64), grouped_heads=False, most_keys=512)
    taken = Taken(fits=Fitting(limits))
    rows = covering("attention", taken, 2).rows
    assert {row["queries"] for row in rows} == {"as-many"}
    assert {row["width"] for row in rows} == {"width-32", "width-64"}
    assert {row["keys"] for row in rows} == {"keys≤64", "keys≤512"}
    assert {row["heads"] for row in rows} == {"one-head", "own-key-heads"}
    assert all(taken.fits("attention", case_with(row, place("attention"), taken).shape) for row in rows)
    assert "shapes" in " ".join(space_of("attention", taken)[1])


def test_targets_of_one_run_share_cases() -> None:
    wide = Selection(ops=("attention",), taken=Taken())
    few = ("float64", "float32", "float16", "bfloat16", "float8_e5m2")
    narrow = Selection(ops=("attention",), dtypes=few, taken=Taken(dtypes=few))
    both = [case for case in union([wide, narrow]) if case.family == PAIRS]
    alone = [len(paired(ops=("attention",))), len([case for case in plan(narrow) if case.family == PAIRS])]
    assert len(both) < sum(alone)
    for taken in (wide.taken, narrow.taken):
        assert taken is not None
        found = counted("attention", taken, both)
        assert found.covered == found.possible


ORDERS_TAKEN = Scope("entmax", orders=("1..64",), dtypes=("float64",))
ALPHAS_TAKEN = Scope("entmax", takes=("alpha",), dtypes=("float64",))


@pytest.mark.parametrize("scope", [ORDERS_TAKEN, ALPHAS_TAKEN], ids=["orders", "alphas"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_pairs_are_planned_at_orders_that_the_target_takes(scope: Scope, beside: bool) -> None:
    every = Scope("entmax", dtypes=("float64",))
    targets = [Target(find("numpy"), "cpu", "numpy", (each,)) for each in ([every, scope] if beside else [scope])]
    cases = union(each for target in targets for each in target.selections(Selection()))
    asked = [case for case in cases if targets[-1].refuses(case) is None]
    count = counted("entmax", scope.taken(()), asked)
    assert (count.covered, count.missing) == (count.possible, ())


def test_the_quick_suite_has_half_types_and_few_cases() -> None:
    for op in OPS:
        cases = paired("quick", ops=(op,))
        assert {case.dtype for case in cases} == {"float64", "float32", "float16", "bfloat16"}
        assert len(cases) == SUITES["quick"].rows


@pytest.mark.parametrize("feature", ["mask", "boolean+additive", "plain+causal", "", "grouped-heads"])
def test_a_feature_is_levels_of_different_axes(feature: str) -> None:
    with pytest.raises(DomainError, match="levels"):
        worded("attention", feature)


def test_words_are_read_back() -> None:
    held = worded("attention", "boolean-wide+causal+hide-last+swapped+q-is-k")
    assert words_of("attention", held) == "boolean-wide+causal+hide-last+swapped+q-is-k"
    assert words_of("regression", worded("regression", "plain")) == "plain"


@pytest.mark.parametrize("op", ["regression", "attention"])
def test_some_keys_are_wider_than_a_tile_of_128_columns(op: str) -> None:
    rows = covering(op, Taken(), 2).rows
    shapes = [case_with(row, place(op)).shape for row in rows]
    assert any(width > 128 for *_, width, _ in shapes)
    assert any(out > 128 for *_, out in shapes)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("words", ["broad", "hide-some+broad"])
def test_most_keys_of_broad_rows_are_in_the_support(words: str, dtype: str) -> None:
    line = f"entmax order=1 rule=adaptive:1 dtype={dtype} family={PAIRS} shape=3x4100 feature={words} seed=0"
    z = inputs_of(Case.parse(line)).arrays["z"].astype(np.float64)
    ordered = -np.sort(-z, axis=-1)
    sums = np.cumsum(np.where(np.isneginf(ordered), 0, ordered), axis=-1)
    count = (ordered * np.arange(1, 4101) > sums - 1).sum(axis=-1)
    assert (count > 4100 * 0.4).all()
    assert (count < 4100 * 0.8).all()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("words", ["broad", "key-norm+broad", "scale+broad"])
def test_most_keys_of_broad_queries_are_in_the_support(words: str, dtype: str) -> None:
    line = f"attention order=1 rule=adaptive:1 dtype={dtype} family={PAIRS} shape=1x1x3x4100x8x4 feature={words} seed=0"
    case = Case.parse(line)
    truth = truth_of(case, inputs_of(case))
    assert truth is not None
    counts = truth.support.sum(axis=-1)
    assert (counts > 4100 * 0.4).all(), counts
    assert (counts < 4100).all(), counts


@pytest.mark.parametrize(("feature", "shows"), [("plain", False), ("broad", True)])
def test_a_support_that_is_cut_at_1024_keys_shows_in_broad_queries_alone(feature: str, shows: bool) -> None:
    line = (
        f"attention order=1 rule=adaptive:1 dtype=float64 family={PAIRS} shape=1x1x3x4100x8x4 feature={feature} seed=0"
    )
    inputs = inputs_of(Case.parse(line))
    truth = truth_of(Case.parse(line), inputs)
    assert truth is not None
    cut = np.where(truth.weights >= np.sort(truth.weights, axis=-1)[:, [-1024]], truth.weights, 0.0)
    found = cut / cut.sum(axis=-1, keepdims=True) @ inputs.arrays["v"][0]
    assert bool((np.abs(found - truth.output.head) > 1e-3).any()) is shows


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("more", ["", "+causal", "+lengths", "+causal+lengths"])
@pytest.mark.parametrize("kind", ["boolean", "boolean-wide", "additive", "boolean-keys", "additive-heads"])
def test_masks_hide_what_they_say_and_leave_every_query_a_key(hidden: str, more: str, kind: str) -> None:
    word = "" if hidden == "hide-some" else f"+{hidden}"
    inputs = made(f"dtype=float32 shape=2x2x1x7x130x8x4 feature={'+'.join(sorted_words(kind, more, word))}")
    mask = inputs.options["mask"]
    allowed = mask if mask.dtype == bool else ~np.isneginf(mask)
    shapes = {"boolean-wide": (7, 130), "boolean-keys": (2, 1, 1, 130), "additive-heads": (1, 2, 7, 130)}
    assert allowed.shape == shapes.get(kind, (2, 2, 7, 130))
    seen = np.broadcast_to(allowed, (2, 2, 7, 130)).copy()
    if (causal := inputs.causal_keys) is not None:
        seen &= causal
    if "lengths" in inputs.options:
        assert (inputs.options["lengths"] < 130).all()
        seen &= np.arange(130) < inputs.options["lengths"][:, None, None, None]
    assert seen.any(axis=-1).all()
    if hidden == "hide-but-one":
        assert (allowed.sum(axis=-1) == 1).all()
    elif hidden == "hide-last":
        assert not allowed[..., -1].any()
    elif hidden == "hide-first":
        first = allowed[..., :64].any(axis=-1)
        # A mask of all queries hides the block from all of them.
        assert (kind == "boolean-keys") or first.any()
        assert not first.all()
        assert not allowed[~first][..., :64].any()
    else:
        assert 0.2 < 1 - allowed.mean() < 0.6


def sorted_words(kind: str, more: str, hidden: str) -> list[str]:
    return [word for word in (kind, *more.split("+"), *hidden.split("+")) if word]


def test_q_is_k_is_one_array_in_every_layout_and_stays_one() -> None:
    for layout in ("", "+swapped", "+strided"):
        line = f"dtype=float32 shape=2x2x9x9x8x4 feature={'swapped+q-is-k' if layout == '+swapped' else 'q-is-k'}"
        inputs = made(line if layout != "+strided" else line.replace("q-is-k", "strided+q-is-k"))
        assert inputs.arrays["q"] is inputs.arrays["k"]
        assert inputs.arrays["v"] is not inputs.arrays["q"]
    case = Case.parse(f"attention order=inf rule=adaptive:1 family={PAIRS} seed=0 {line}".replace("+strided", ""))
    again = explicit(Subject(case)).built(Contract())
    assert again.arrays["q"] is again.arrays["k"]


def test_the_last_row_of_a_long_case_has_a_truth() -> None:
    rows = made("dtype=float64 shape=1x1x520x520x12x3 feature=causal").rows
    assert rows is not None
    assert rows[-1] == 519
    assert len(set(rows.tolist())) == len(rows) == 6


def test_a_single_query_has_a_level_of_its_own() -> None:
    cases = [case for case in paired(ops=("attention",)) if case.shape[-4] == 1]
    assert {"causal", "grouped-heads"} <= {level for case in cases for level in (levels_of(case) or {}).values()}


def test_products_beyond_the_range_come_with_the_usual_scale_where_their_weights_can_be_told() -> None:
    rows = [row for row in covering("attention", Taken(), 2).rows if row["magnitude"] == "beyond-unscaled"]
    assert {row["scale"] for row in rows} == {"usual-scale"}
    assert {row["dtype"] for row in rows} == {"float64"}
    assert {row["causal"] for row in rows} == {"no-causal", "causal"}


def test_products_beyond_float16_and_one_hot_values() -> None:
    inputs = made("dtype=float16 shape=2x2x3x9x8x4 feature=beyond-65504+one-hot-values")
    q, k, v = (inputs.arrays[name].astype(np.float64) for name in "qkv")
    assert (q @ k.swapaxes(-1, -2) > 65504).all()
    assert (v.sum(axis=-1) == 1).all()
    assert v.sum(axis=-2).min() == 2


def test_other_layouts_hold_the_same_numbers_of_heads_and_tokens() -> None:
    inputs = made("dtype=float64 shape=2x3x3x5x9x8x4 feature=swapped")
    q = inputs.arrays["q"]
    assert q.shape == (2, 3, 5, 8)
    assert q.swapaxes(-3, -2).flags.c_contiguous
    assert not q.flags.c_contiguous
    assert inputs.cotangent is not None
    assert inputs.cotangent.swapaxes(-3, -2).flags.c_contiguous
    assert not made("dtype=float64 shape=2x2x5x9x8x4 feature=readonly").arrays["k"].flags.writeable


@pytest.mark.parametrize("kind", ["boolean", "boolean-wide", "additive", "additive-wide"])
def test_a_mask_lies_in_memory_as_the_other_arrays_do(kind: str) -> None:
    held = {
        layout: made(f"dtype=float64 shape=2x3x3x5x9x8x4 feature={kind}+hide-last{layout}").options["mask"]
        for layout in ("", "+swapped", "+strided", "+readonly")
    }
    assert len({mask.shape for mask in held.values()}) == 1
    assert [mask.flags.c_contiguous for mask in held.values()] == [True, False, False, True]
    assert not held["+readonly"].flags.writeable


def attention(inputs: Inputs, fault: str = "") -> Any:
    """Softmax attention in float64, with a fault that shows only where two levels meet."""
    options = dict(inputs.options)
    q, k, v = (inputs.arrays[name].astype(np.float64) for name in "qkv")
    repeat = q.shape[-3] // k.shape[-3]
    k, v = (np.repeat(each, repeat, axis=-3) for each in (k, v))
    count, size, width = q.shape[-2], k.shape[-2], q.shape[-1]
    mask, lengths = options.get("mask"), options.get("lengths")
    causal = inputs.causal_keys
    scale = options.get("scale", width**-0.5)
    if fault == "a mask drops causality" and mask is not None:
        causal = None
    if fault == "a scale is forgotten beside a mask" and mask is not None:
        scale = width**-0.5
    if fault == "an odd width loses a column where heads are shared" and repeat > 1 and width == 12:
        q = np.where(np.arange(width) < width - 1, q, 0.0)
    scores = scale * (q @ k.swapaxes(-1, -2))
    if options.get("key_norm_term"):
        scores = scores - scale * ((q**2).sum(-1)[..., None] + (k**2).sum(-1)[..., None, :]) / 2
    if mask is not None:
        scores = scores + (np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask.astype(np.float64))
    if causal is not None:
        scores = np.where(causal, scores, -np.inf)
    if lengths is not None:
        scores = np.where(np.arange(size) < lengths[..., None, None, None], scores, -np.inf)
    if fault == "keys from 512 on are dropped if causal" and causal is not None:
        scores = np.where(np.arange(size) < 512, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(axis=-1, keepdims=True)
    if fault == "values beyond 32 columns are lost in batches" and v.shape[-1] > 32 and q.ndim > 3:
        v = np.where(np.arange(v.shape[-1]) < 32, v, 0.0)
    assert scores.shape[-2:] == (count, size)
    return weights / np.where(total == 0, 1.0, total) @ v


@pytest.mark.parametrize(
    "fault",
    [
        "a mask drops causality",
        "a scale is forgotten beside a mask",
        "keys from 512 on are dropped if causal",
        "an odd width loses a column where heads are shared",
        "values beyond 32 columns are lost in batches",
    ],
)
def test_a_fault_in_two_levels_shows_in_the_numbers(fault: str) -> None:
    def differs(case: Case) -> bool:
        inputs = inputs_of(case)
        rows = slice(None) if inputs.rows is None else inputs.rows
        right, wrong = (attention(inputs, each) for each in ("", fault))
        error = np.abs(right - wrong).reshape(-1, right.shape[-1])[rows]
        return bool(error.max(initial=0.0) > 1e-2)

    # The largest cases are left out, to save time.
    cases = [case for case in plan(Selection("standard", ops=("attention",), orders=("inf",))) if small(case)]
    assert any(differs(case) for case in cases if case.family == PAIRS), fault
    assert not any(differs(case) for case in cases if case.family == "random")


def small(case: Case) -> bool:
    *batch, heads, _, queries, keys, width, out = case.shape
    return int(np.prod(batch)) * heads * queries * keys * (width + out) < 10**6
