"""Case families: exact in their dtype, the same bytes again, and with the feature that they plant really there."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from kernelproof import reference
from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases import inputs, layout, numbers
from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.coverage import pointless
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.families.kink import DISTANCES, threshold_gap
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.plan import plan
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.records import OPS, Truth
from kernelproof.verify.truth.truth import truth_of

DTYPES = ("float64", "float32", "bfloat16", "float8_e4m3fn")
EXPECTED = {
    "batches", "composition", "huge_gaps", "kink", "layouts", "lengths", "long_rows", "masks", "near_ties", "offsets",
    "one_hot", "padding", "pairs", "planted_support", "random", "scales", "special", "subnormals", "tensors", "ties",
    "two_keys",
}  # fmt: skip
LARGE = {"large"}
"""Families of the suite of large batches alone."""


def make(family: str, shape: tuple[int, ...], feature: str, **more: str) -> Case:
    fields = {"op": "entmax", "order": "2", "rule": "adaptive:1", "dtype": "float64", **more}
    return Case(alpha=None, family=family, shape=shape, feature=feature, seed=3, **fields)


def every_recipe(family: str) -> Iterator[Case]:
    if family == PAIRS:
        # These have no recipes: the plan makes them.
        yield from (case for case in plan(Selection("quick", orders=("2",))) if case.family == PAIRS)
    for op in OPS:
        for at, (shape, feature) in enumerate(families()[family].recipes("quick", op)):
            for dtype in (DTYPES[at % len(DTYPES)], DTYPES[(at + 1) % len(DTYPES)]):
                rules = ("adaptive:1",) if op == "entmax" else ("fixed:3", "nearest:3:anchored:2")
                for rule in rules:
                    if pointless(op, family, "2", dtype):
                        continue
                    yield make(family, shape, feature, op=op, dtype=dtype, rule=rule)


def scores(case: Case) -> NDArray[np.float64]:
    return next(iter(inputs_of(case).arrays.values())).astype(np.float64)


def truth(case: Case) -> Truth:
    found = truth_of(case, inputs_of(case))
    assert found is not None
    return found


def test_the_families_are_these() -> None:
    assert set(families()) == EXPECTED | LARGE


@pytest.mark.parametrize("family", sorted(EXPECTED))
def test_every_recipe_is_reproducible_and_in_its_dtype(family: str) -> None:
    cases = list(every_recipe(family))
    assert cases
    for case in cases:
        first, second = inputs_of(case), inputs_of(Case.parse(case.text))
        assert first.arrays.keys() == second.arrays.keys()
        for name, array in first.arrays.items():
            assert array.dtype == FORMATS[case.dtype].dtype, case.text
            assert array.tobytes() == second.arrays[name].tobytes(), case.text
            if family != "special":
                assert not np.isnan(array.astype(np.float64)).any(), case.text
                assert not np.isposinf(array.astype(np.float64)).any(), case.text
        if first.cotangent is not None:
            assert first.cotangent.dtype == FORMATS[case.dtype].dtype
            assert first.cotangent.shape == inputs.output_shape(case, first)


def test_every_op_has_the_families_it_needs() -> None:
    for op in OPS:
        held = {name for name, family in families().items() if next(iter(family.recipes("quick", op)), None)}
        assert {"random", "ties", "masks", "lengths", "tensors"} <= held, op


def test_another_seed_is_another_input() -> None:
    case = make("random", (3, 8), "1")
    other = Case.parse(case.text.replace("seed=3", "seed=4"))
    assert not np.array_equal(scores(case), scores(other))


def test_normals_are_normal() -> None:
    draw = numbers.normals(make("random", (3, 8), "1").generator(), (20_000,))
    # Standard errors of mean and variance at 20000 draws are 0.007 and 0.010; four of them are allowed.
    assert abs(draw.mean()) < 0.028
    assert abs(draw.var() - 1) < 0.04


def test_step_moves_by_ulps() -> None:
    for dtype in DTYPES:
        ulp = 2.0 ** (1 - FORMATS[dtype].precision)
        assert numbers.step(np.array([1.0, -1.0, 0.0]), 1, dtype).tolist() == [
            1.0 + ulp,
            -1.0 + ulp / 2,
            float(FORMATS[dtype].smallest),
        ]
        assert numbers.step(numbers.step(np.array([0.5]), 5, dtype), -5, dtype).tolist() == [0.5]


@pytest.mark.parametrize("order", ["1/16", "1/2", "1", "2", "8", "64", "10000"])
@pytest.mark.parametrize("size", ["1", "2", "6", "12"])
def test_planted_support_has_its_size(order: str, size: str) -> None:
    found = truth(make("planted_support", (2, 12), size, order=order))
    assert found.support.sum(axis=1).tolist() == [int(size)] * 2


@pytest.mark.parametrize("rule", ["fixed:3", "anchored:2"])
def test_planted_support_under_constant_bandwidths(rule: str) -> None:
    found = truth(make("planted_support", (2, 12), "6", op="weights", rule=rule))
    assert found.support.sum(axis=1).tolist() == [6, 6]


@pytest.mark.parametrize("order", ["1/16", "1/2", "1", "3/2", "2", "8", "10000"])
def test_kink_is_exact_with_one_key_above_it(order: str) -> None:
    found = truth(make("kink", (4, 8), "0", order=order))
    assert found.boundary[::2, -1].all()
    assert not found.support[::2, -1].any()


def test_kink_is_exact_at_order_1_with_several_keys() -> None:
    found = truth(make("kink", (4, 8), "0", order="1", dtype="float32"))
    assert found.boundary[:, -1].all()
    assert (found.support.sum(axis=1) >= [1, 2, 1, 2]).all()


@pytest.mark.parametrize("rule", ["fixed:3", "anchored:2"])
def test_kink_under_constant_bandwidths(rule: str) -> None:
    assert truth(make("kink", (4, 8), "0", op="weights", rule=rule)).boundary[:, -1].all()


@pytest.mark.parametrize("order", ["1/2", "1", "3/2", "2", "64"])
def test_kink_distance_decides_the_side(order: str) -> None:
    base = scores(make("kink", (4, 8), "0", order=order))
    for distance in DISTANCES:
        case = make("kink", (4, 8), distance, order=order)
        assert np.array_equal(scores(case)[::2, -1], numbers.step(base[::2, -1], int(distance), "float64"))
        inside = truth(case).support[::2, -1]
        assert inside.tolist() == [int(distance) > 0] * 2


def test_solved_threshold_is_within_rounding_of_the_kink() -> None:
    gaps = np.array([0.0, 0.1, 0.3])
    edge = threshold_gap(gaps, 2.0)
    inside = reference.weights(np.array([*-gaps, -edge * (1 - 1e-14)]), reference.Kernel(2), reference.Adaptive())
    outside = reference.weights(np.array([*-gaps, -edge * (1 + 1e-14)]), reference.Kernel(2), reference.Adaptive())
    assert inside.support[-1]
    assert not outside.support[-1]


def test_ties_and_near_ties() -> None:
    assert len(np.unique(scores(make("ties", (3, 16), "3")))) == 3
    assert len(np.unique(scores(make("ties", (2, 7), "1")))) == 1
    near = scores(make("near_ties", (2, 12), "16", dtype="float32"))[:, ::2]
    assert ((near.max(axis=1, keepdims=True) - near) <= 16 * 2.0**-24).all()
    assert len(np.unique(near)) > 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", ["2", "-3", "30"])
def test_offsets_are_exact_and_large(dtype: str, power: str) -> None:
    rows = scores(make("offsets", (2, 12), power, dtype=dtype))
    size = min(10.0 ** abs(int(power)), FORMATS[dtype].largest / 8)
    assert (np.abs(rows) > size / 2).all()
    gaps = rows.max(axis=1, keepdims=True) - rows
    assert np.array_equal(FORMATS[dtype].round_floats(gaps), gaps)
    assert len(np.unique(gaps)) > 2


def test_queries_far_from_all_keys_are_tried_in_every_dtype_at_order_infinity() -> None:
    cases = [case for case in plan(Selection("standard", ops=("regression",))) if case.feature == "far"]
    assert {case.dtype for case in cases if case.order == "inf"} == set(FORMATS)
    for case in cases:
        q, k = (inputs_of(case).arrays[name].astype(np.float64) for name in "qk")
        scores = -((q[:, None] - k) ** 2).sum(axis=-1) / 18
        # Gaussian weights of bandwidth 3 that are not shifted are 0, and the shifted ones are of many keys.
        assert (np.exp(scores[0]) == 0).all()
        assert (np.exp(scores - scores.max(axis=-1, keepdims=True)) > 0.1).sum() > 24


def test_scales_and_one_hot() -> None:
    assert np.abs(scores(make("scales", (2, 12), "30"))).max() > 1e29
    assert np.abs(scores(make("scales", (2, 12), "-30"))).max() < 1e-28
    assert truth(make("one_hot", (3, 9), "1e30")).support.sum(axis=1).tolist() == [1, 1, 1]


def test_masks() -> None:
    for feature, count in (("one", 1), ("but_one", 9)):
        assert np.isneginf(scores(make("masks", (3, 10), feature))).sum(axis=1).tolist() == [count] * 3
    some = np.isneginf(scores(make("masks", (3, 10), "some"))).sum(axis=1)
    assert ((some > 0) & (some < 10)).all()
    assert truth(make("masks", (3, 10), "all")).empty.tolist() == [True, False, False]
    ball = make("masks", (3, 10), "empty_ball", op="weights", rule="fixed:3")
    assert truth(ball).empty.tolist() == [True, False, False]
    query = make("masks", (2, 8, 3, 2), "empty_ball", op="regression", rule="fixed:3")
    assert truth(query).empty[0]


@pytest.mark.parametrize("family", ["masks", "padding"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float8_e4m3fn"])
def test_an_additive_mask_has_the_dtype_of_the_queries(family: str, dtype: str) -> None:
    inputs = inputs_of(make(family, (2, 1, 3, 8, 4, 2), "bias", op="attention", dtype=dtype))
    mask = inputs.options["mask"]
    # float8_e4m3fn has no −∞, which a mask needs.
    assert mask.dtype.name == ("float32" if dtype == "float8_e4m3fn" else dtype)
    assert np.isneginf(mask.astype(np.float64)).any()
    assert np.isfinite(mask.astype(np.float64)).any()


@pytest.mark.parametrize("feature", ["causal", "mask", "lengths", "bias", "all", "mixed"])
def test_attention_masks(feature: str) -> None:
    shape = (2, 2, 1, 3, 8, 4, 2) if feature == "lengths" else (2, 1, 3, 8, 4, 2)
    case = make("masks", shape, feature, op="attention")
    assert inputs_of(case).options
    found = truth(case)
    assert np.isneginf(found.margin).any()
    if feature != "mixed":  # a length, a mask and the diagonal together may leave a row nothing
        assert found.empty.any() == (feature == "all")


def test_lengths_cover_none_one_and_powers_of_two() -> None:
    sizes = {
        shape[-1] for shape, feature in families()["lengths"].recipes("exhaustive", "entmax") if feature == "length"
    }
    assert {0, 1, 2, 31, 32, 33, 1025, 100_000} <= sizes
    rows = inputs_of(make("lengths", (300, 20), "block")).rows
    assert rows is not None
    assert {0, 299, 15, 16} <= set(rows.tolist())
    assert inputs_of(make("lengths", (2, 0), "length")).arrays["z"].shape == (2, 0)


def test_gradients_are_asked_of_rows_up_to_those_of_the_real_tensors() -> None:
    for op, shape in (("regression", (2, 128, 32, 32)), ("attention", (2, 2, 1, 128, 32, 32)), ("entmax", (3, 128))):
        assert inputs_of(make("tensors", shape, "layer0.head1", op=op, dtype="float32")).cotangent is not None
    assert inputs_of(make("long_rows", (1, 257), "1/4")).cotangent is None


def test_special_rows_have_no_truth() -> None:
    for feature in ("nan", "inf", "nan_masked", "all_nan"):
        case = make("special", (4, 7), feature)
        assert truth_of(case, inputs_of(case)) is None
        rows = scores(case)
        assert np.isfinite(rows[1::2]).all()
        assert inputs_of(case).cotangent is None


def test_tensors_are_the_real_ones() -> None:
    case = make("tensors", (2, 128, 32, 32), "layer2.head5", op="regression", dtype="float32")
    arrays = inputs_of(case).arrays
    from kernelproof.verify.cases.families.tensors import tensors

    assert np.array_equal(arrays["v"], tensors()["layer2_v"][5])
    assert 1 < truth(make("tensors", (3, 128), "layer0.head1", dtype="float32")).support.sum(axis=1).mean() < 128


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("feature", "shape", "strides"),
    [
        ("transposed", (5, 12), (1, 5)),
        ("transposed", (2, 3, 4, 5), (1, 2, 6, 24)),
        ("swapped", (2, 4, 9), (9, 18, 1)),
        ("strided", (4, 11), (22, 2)),
        ("offset", (4, 9), (15, 1)),
        ("broadcast", (6, 9), (0, 1)),
        ("reversed", (3, 8), (8, -1)),
        ("readonly", (3, 10), (10, 1)),
    ],
)
def test_layouts_are_there_and_copies_keep_them(
    feature: str, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str
) -> None:
    inputs = inputs_of(make("layouts", shape, feature, dtype=dtype))
    cotangent = inputs.cotangent
    assert cotangent is not None
    for array in (inputs.arrays["z"], cotangent):
        copy = layout.same_layout(array)
        assert not np.shares_memory(copy, array)
        assert copy.tobytes() == array.tobytes()
        for each in (array, copy):
            assert each.shape == shape
            assert tuple(stride // each.itemsize for stride in each.strides) == strides
            assert each.flags.writeable == (feature not in {"broadcast", "readonly"})
            owner = each.base
            assert owner is not None
            assert (each.ctypes.data > owner.ctypes.data) == (feature in {"offset", "reversed"})
        assert len(np.unique(array.astype(np.float64))) > 3


def test_memory_beside_a_view_holds_no_numbers() -> None:
    for feature, shape in (("strided", (4, 11)), ("offset", (4, 9))):
        memory = layout.layout_of(inputs_of(make("layouts", shape, feature)).arrays["z"]).memory
        assert np.isnan(memory).sum() == memory.size - shape[0] * shape[1]


def test_layouts_of_other_arrays_are_plain_copies() -> None:
    for array in (
        np.arange(6.0)[::2].copy(),
        np.arange(4).view(np.float64),
        np.empty((2, 0)),
        np.asarray(3.0),
    ):
        found = layout.layout_of(array)
        assert found.memory.dtype == array.dtype
        assert found.strides == layout.packed(array.shape)
        assert found.view(array.shape).tobytes() == array.tobytes()
        assert not np.shares_memory(found.memory, array)


def test_every_row_of_a_batch_is_checked() -> None:
    recipes = list(families()["batches"].recipes("quick", "entmax"))
    assert {9, 33, 129, 151, 257} == {shape[0] for shape, _ in recipes}
    inputs = inputs_of(make("batches", *recipes[-1]))
    assert inputs.rows is None
    assert len(np.unique(inputs.arrays["z"], axis=0)) == recipes[-1][0][0]


@pytest.mark.parametrize(
    ("op", "family", "shape", "feature"),
    [
        ("entmax", "masks", (3, 10), "foo"),
        ("entmax", "masks", (3, 10), "empty_ball"),
        ("attention", "masks", (2, 1, 3, 8, 4, 2), "one"),
        ("entmax", "special", (4, 7), "foo"),
        ("regression", "special", (4, 7, 3, 2), "inf"),
        ("entmax", "ties", (3, 16), "-2"),
        ("entmax", "ties", (3, 16), "0"),
        ("entmax", "ties", (3, 16), "²"),
        ("entmax", "kink", (4, 8), "x"),
        ("entmax", "near_ties", (2, 12), "-1"),
        ("entmax", "offsets", (2, 12), "400"),
        ("entmax", "scales", (2, 12), "1.5"),
        ("entmax", "planted_support", (2, 12), "0"),
        ("entmax", "one_hot", (3, 9), "nan"),
        ("entmax", "lengths", (2, 3), "foo"),
        ("entmax", "long_rows", (1, 257), "3"),
        ("entmax", "layouts", (3, 8), "foo"),
        ("entmax", "batches", (9, 3), "foo"),
    ],
)
def test_a_feature_that_a_family_has_not_is_refused(op: str, family: str, shape: tuple[int, ...], feature: str) -> None:
    with pytest.raises(DomainError, match=family) as caught:
        inputs_of(make(family, shape, feature, op=op))
    assert repr(feature) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("heads", [(3, 2), (2, 0), (1, 2)])
def test_heads_that_no_group_shares_are_refused(heads: tuple[int, int]) -> None:
    with pytest.raises(DomainError, match="multiple of Hk"):
        inputs_of(make("masks", (*heads, 3, 8, 4, 2), "causal", op="attention", rule="fixed:2"))


def test_large_batches_are_the_same_bytes_twice_and_nearly_normal() -> None:
    case = make("large", (1500, 700), "2", dtype="float32")
    first, second = inputs_of(case), inputs_of(Case.parse(case.text))
    z = first.arrays["z"]
    assert z.dtype == np.float32
    assert z.tobytes() == second.arrays["z"].tobytes()
    # A million draws: the mean is within five standard errors of 0, the deviation of 2.
    assert abs(z.mean(dtype=np.float64)) < 5 * 2e-3
    assert abs(z.std(dtype=np.float64) - 2) < 5 * 2e-3
    assert np.unique(z).size > 0.9 * z.size
    assert first.cotangent is None
    assert first.rows is not None
    assert 256 <= len(first.rows) <= 256 + 16
    assert {0, 15, 16, 1023, 1024, 1499} <= set(first.rows.tolist())


def test_long_rows_of_large_batches_have_fewer_truths() -> None:
    rows = inputs_of(make("large", (70, 32768), "2")).rows
    assert rows is not None
    assert 32 <= len(rows) <= 32 + 16


@pytest.mark.parametrize("h", ["1/8", "1", "3"])
def test_the_best_key_of_a_small_ball_lies_within_it(h: str) -> None:
    case = make("random", (3, 8), "1", op="weights", rule=f"fixed:{h}")
    best = scores(case).max(axis=1)
    radius = float(Fraction(h))
    # Two differences of scores of size 8 at most.
    np.testing.assert_allclose(-2 * best, min(1.0, radius**2 / 2), rtol=0, atol=2 * 8 * np.finfo(np.float64).eps)
    assert not truth(case).empty.any()
