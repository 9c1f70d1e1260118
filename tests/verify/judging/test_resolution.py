"""Power: what passes although it is 0 or twice the value is vacuous; and how small an error would have been seen."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.judging.allowance import Allowance, allowance_of
from kernelproof.verify.judging.errors import errors_of, powerless, verdict
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.resolution import HIGHEST, LOWEST, STEPS, counts_of, quantile
from kernelproof.verify.records import Contract, Floats, Judgement, Values


def test_quantiles_are_rounded_up_by_at_most_a_bin() -> None:
    generator = np.random.default_rng(1)
    sizes = np.exp2(generator.uniform(-30, 2, 1000))
    counts = counts_of(sizes)
    for share in (0.05, 0.5, 0.95, 1.0):
        exact = float(np.sort(sizes)[int(np.ceil(share * 1000)) - 1])
        found = quantile(counts, share)
        assert found is not None
        # A bin is an eighth of a power of two; the exact quantile of 1000 is known to one of them.
        assert exact <= found * (1 + 2.0**-40)
        assert found <= exact * 2 ** (1 / STEPS) * (1 + 2.0**-40)


def test_counts_add_up_and_have_ends() -> None:
    one, two = np.array([2.0**-200, 0.0, 0.5]), np.array([1e30, np.inf, 0.25])
    np.testing.assert_array_equal(counts_of(one) + counts_of(two), counts_of(np.concatenate([one, two])))
    assert quantile(counts_of(np.array([0.0])), 0.5) == 2.0**LOWEST
    assert quantile(counts_of(np.array([np.inf])), 0.5) == np.inf
    assert quantile(counts_of(np.array([2.1 * 2.0**HIGHEST])), 0.5) == np.inf
    # A row of zeros has no relative error: it is in no quantile.
    assert quantile(counts_of(np.array([np.nan])), 0.5) is None
    assert quantile(counts_of(np.zeros(0)), 0.5) is None


@pytest.mark.parametrize("size", [0.0, 1.0, 2.0**-8, 2.0**8])
def test_exact_powers_are_their_own_bin(size: float) -> None:
    assert quantile(counts_of(np.full(3, size)), 0.95) == (size or 2.0**LOWEST)


def judged(raw: Floats, head: Floats, allowance: Allowance, dtype: str, grade: str = "A") -> Judgement:
    zero = np.zeros_like(head)
    truth = Values(head, zero, zero, zero)
    errors = errors_of(raw, truth, allowance, FORMATS[dtype])
    decided = np.ones(raw.shape, dtype=bool)
    return verdict(raw, head, errors, errors.kappa, decided, Contract(grade=grade), "output", allowance)


def allowing(head: Floats, allowed: float, dtype: str = "float32") -> Allowance:
    full = np.full(head.shape, allowed)
    return Allowance(full / 4, full / 2, full / 8, FORMATS[dtype].emin)


@pytest.mark.parametrize("share", [0.25, 0.99, 1.0, 4.0])
@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0])
def test_a_comparison_is_vacuous_if_zero_would_pass(share: float, factor: float) -> None:
    """A row of one number: fixed 1/2 and four times 1/8 for grade A are `share` of the truth."""
    head = np.array([[3.0]])
    allowance = allowing(head, share * 3.0)
    right = judged(head.copy(), head, allowance, "float32")
    wrong = judged(factor * head, head, allowance, "float32")
    passes = abs(factor - 1) * 3.0 <= share * 3.0
    assert (right.failed, right.decided, right.vacuous) == (0, int(share < 1), int(share >= 1))
    # What fails is decided, whatever else would have passed.
    assert (wrong.failed, wrong.vacuous) == (int(not passes), int(passes))
    assert wrong.decided == int(not passes)


def test_small_numbers_are_measured_by_their_row() -> None:
    """The allowance of a tiny weight may exceed it, if it is small beside the root mean square of its row."""
    head = np.array([[1e-9, 1.0, 0.0, 0.0], [1e-9, 1e-9, 1e-9, 1e-9]])
    allowance = allowing(head, 1e-8)
    vacuous, resolution, forced = powerless(head, allowance, "A")
    assert vacuous.tolist() == [[False] * 4, [True] * 4]
    root = 0.5
    # Of sums, squares, a root and a quotient in float64: no more than 16 roundings.
    few = 16 * 2.0**-53
    np.testing.assert_allclose(resolution[0], [1e-8 / root, 1e-8, 1e-8 / root, 1e-8 / root], rtol=few)
    np.testing.assert_allclose(resolution[1], 10.0, rtol=few)
    np.testing.assert_allclose(forced, resolution / 4)


def test_a_row_of_zeros_has_power_up_to_the_smallest_normal_number() -> None:
    head, normal = np.zeros((1, 3)), 2.0**-126
    for allowed, expected in ((normal / 2, False), (normal, False), (normal * 1.5, True), (1e-9, True)):
        vacuous, resolution, _ = powerless(head, allowing(head, allowed), "A")
        assert vacuous.tolist() == [[expected] * 3]
        assert np.isnan(resolution).all()


def test_rows_at_the_ends_of_float64_have_a_size() -> None:
    head = np.array([[1e-310, 2e-310], [1e300, 1e305]])
    vacuous, resolution, _ = powerless(head, allowing(head, 1e-311), "A")
    assert not vacuous.any()
    assert np.isfinite(resolution).all()
    assert powerless(head, allowing(head, np.inf), "A")[0].all()


def test_the_promised_grade_sets_the_power() -> None:
    """bfloat16 arithmetic at grade C: 10³ roundings of 2^-8 are all of a weight. E is judged as D."""
    head = np.array([[0.5, 0.25, 0.25]])
    truth = Values(head, 0 * head, 0 * head, head)
    allowance = allowance_of(truth, precision_of("bfloat16", Contract(compute="bfloat16")))
    assert [bool(powerless(head, allowance, grade)[0].all()) for grade in "ABCDE"] == [False, False, True, True, True]
    assert not powerless(head, allowance, "B")[0].any()
    wide = allowance_of(truth, precision_of("bfloat16", Contract()))
    assert not any(powerless(head, wide, grade)[0].any() for grade in "ABCDE")


@pytest.mark.parametrize(("dtype", "half"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8), ("float8_e4m3fn", 2.0**-4)])
def test_what_half_an_ulp_forces(dtype: str, half: float) -> None:
    """Half an ulp of a number between 1/2 and 1 is u/2, over the number or the root mean square of its row."""
    head = np.array([[0.5, 0.75, 0.999]])
    truth = Values(head, 0 * head, 0 * head, 0 * head)
    _, resolution, forced = powerless(head, allowance_of(truth, precision_of(dtype, Contract())), "A")
    root = float(np.sqrt((head**2).mean()))
    np.testing.assert_allclose(forced[0], half / 2 / np.maximum(head[0], root))
    assert (resolution >= forced).all()
    assert (resolution <= forced * (1 + 2.0**-16)).all()


def test_counts_of_a_judgement() -> None:
    head = np.array([[1.0, 1.0], [1e-9, 1e-9]])
    allowance = allowing(head, 1e-6)
    said = judged(np.array([[1.0, 1.1], [0.0, 1.0]]), head, allowance, "float32")
    assert (said.decided, said.failed, said.vacuous, said.undecided) == (3, 2, 1, 0)
    errors = said.errors["output"]
    assert errors.vacuous.tolist() == [False, False, True, False]
    assert len(errors.resolution) == len(errors.forced) == 4
