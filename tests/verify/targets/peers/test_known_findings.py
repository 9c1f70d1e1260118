"""What is known to be wrong in released code comes out as a finding, by the check that says what it is.

Each case runs the real package, or the definition, through `kernelproof.verify` in this process; beside the finding
stands what is right nearby and must not be called wrong.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernelproof
from kernelproof import api
from kernelproof.verify.record.schema import Check, Results, Verdict
from kernelproof.verify.targets.peers.mosaics import norm_relu

UNSCALED = """
KERNELPROOF = {"op": "weights", "array_library": "torch", "order": 1, "rule": "fixed:h", "gradients": ["scores"]}

def norm_relu(scores, h):
    weights = ((1 + scores) / (h**2 / 2) + (1 - 2 / h**2)).relu()
    return weights / weights.sum(-1, keepdim=True)
"""
"""The definition of norm_relu with the cosines of unit keys, 1 + s, in the place of those of keys scaled by β."""

torch_here = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed; pip install torch")
entmax_here = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("entmax") is None,
    reason="entmax is not installed; pip install entmax torch",
)


def run(target: str, case: str) -> Results:
    return api.verify(target, case=case, serial=True)


def check(results: Results, name: str) -> Check:
    return next(each for each in results.targets[0].checks if each.id == name)


def failed(results: Results) -> set[str]:
    return {each.id for each in results.targets[0].checks if each.verdict != Verdict.PASS}


def torch_scores() -> Any:
    import torch

    # On unit keys s = c − 1 with c a cosine; some of them near.
    return torch.tensor([[-0.05, -0.2, -0.7, -1.0, -0.1], [-0.02, -0.3, -1.9, -0.4, -0.5]], dtype=torch.float64)


def entmax_case(family: str, shape: str, feature: str, *, number: str = "order=1", dtype: str = "float32") -> str:
    return f"entmax {number} rule=adaptive:1 dtype={dtype} family={family} shape={shape} feature={feature} seed=0"


@entmax_here
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bisection_at_alpha_1_is_uniform(dtype: str) -> None:
    found = run("entmax.entmax_bisect", entmax_case("random", "3x8", "1", number="order=inf", dtype=dtype))
    worst = check(found, "accuracy").worst
    assert check(found, "accuracy").verdict == Verdict.FAIL
    assert worst is not None and worst.got is not None
    assert float(worst.got) == pytest.approx(1 / 8, rel=8 * float(np.finfo(dtype).eps))  # a sum of 8, and a quotient
    assert check(found, "simplex").verdict == Verdict.PASS  # it is silent: the weights look like weights


@entmax_here
def test_bisection_at_alpha_10_is_jagged() -> None:
    found = run("entmax.entmax_bisect", entmax_case("two_keys", "65x2", "wide", number="alpha=10"))
    worst = check(found, "accuracy").worst
    assert worst is not None and worst.absolute is not None
    assert 0.1 < worst.absolute < 0.15
    assert check(found, "curve").verdict == Verdict.FAIL
    fall = check(found, "curve").worst
    assert fall is not None
    assert fall.message.startswith("the weight of the first key falls from")


@entmax_here
@pytest.mark.parametrize("alpha", ["3/2", "4/3", "2"])
def test_bisection_is_right_where_it_is_meant_to_be_used(alpha: str) -> None:
    for family, shape, feature in (("two_keys", "65x2", "wide"), ("random", "3x8", "1"), ("masks", "3x10", "some")):
        for dtype in ("float32", "float64"):
            found = run(
                "entmax.entmax_bisect",
                entmax_case(family, shape, feature, number=f"alpha={alpha}", dtype=dtype),
            )
            assert failed(found) == set(), (family, dtype)


@entmax_here
@pytest.mark.parametrize(("alpha", "least"), [("1.001", 1e-3), ("1.0001", 0.5)])
def test_the_gradient_in_alpha_is_lost_near_1(alpha: str, least: float) -> None:
    found = run("entmax.entmax_bisect", entmax_case("random", "3x8", "1", number=f"alpha={alpha}"))
    worst = check(found, "gradients").worst
    assert check(found, "gradients").verdict == Verdict.FAIL
    assert worst is not None and worst.absolute is not None
    assert worst.message.startswith("d/dalpha")
    assert worst.absolute > least


@entmax_here
def test_the_gradient_in_alpha_is_right_away_from_1() -> None:
    found = run("entmax.entmax_bisect", entmax_case("random", "3x8", "1", number="alpha=1.5"))
    assert check(found, "gradients").verdict == Verdict.PASS
    assert check(found, "gradients").decided == 3 * 8 + 1


@entmax_here
@pytest.mark.parametrize("target", ["entmax.sparsemax", "entmax.entmax15"])
@pytest.mark.parametrize("feature", ["nan", "inf"])
def test_sorting_raises_on_a_row_with_nan_or_infinity(target: str, feature: str) -> None:
    order = "order=1" if target.endswith("sparsemax") else "order=2"
    found = run(target, entmax_case("special", "4x7", feature, number=order))
    worst = check(found, "special_values").worst
    assert check(found, "special_values").verdict == Verdict.FAIL
    assert worst is not None
    assert "RuntimeError: index -1 is out of bounds" in worst.message


@entmax_here
@pytest.mark.parametrize("target", ["entmax.sparsemax", "entmax.entmax15"])
def test_sorting_raises_on_an_empty_row(target: str) -> None:
    order = "order=1" if target.endswith("sparsemax") else "order=2"
    found = run(target, entmax_case("masks", "3x10", "all", number=order))
    worst = check(found, "empty_rows").worst
    assert check(found, "empty_rows").verdict == Verdict.FAIL
    assert worst is not None
    assert "RuntimeError: index -1 is out of bounds" in worst.message


@entmax_here
@pytest.mark.parametrize("target", ["entmax.sparsemax", "entmax.entmax15"])
def test_sorting_is_right_elsewhere(target: str) -> None:
    order = "order=1" if target.endswith("sparsemax") else "order=2"
    cases = (
        ("random", "3x8", "1"), ("random", "2x2x16", "4"), ("offsets", "2x12", "5"), ("kink", "4x8", "0"),
        ("ties", "3x16", "3"), ("masks", "3x10", "some"), ("scales", "2x12", "30"), ("two_keys", "65x2", "edge"),
    )  # fmt: skip
    for family, shape, feature in cases:
        for dtype in ("float32", "float64"):
            found = run(target, entmax_case(family, shape, feature, number=order, dtype=dtype))
            assert failed(found) == set(), (family, dtype)


@entmax_here
@pytest.mark.parametrize("target", ["entmax.sparsemax_k2", "entmax.entmax15_k2"])
def test_a_partial_sort_along_a_negative_axis_raises(target: str) -> None:
    order = "order=1" if "sparsemax" in target else "order=2"
    found = run(target, entmax_case("random", "2x2x16", "4", number=order))
    worst = check(found, "axis").worst
    assert failed(found) == {"axis"}
    assert worst is not None
    assert "along axis -2: the call gave no output: RuntimeError: permute" in worst.message


@entmax_here
@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.01), ("float16", 0.001)])
def test_half_precision_rows_do_not_sum_to_one(dtype: str, least: float) -> None:
    found = run("entmax.entmax15", entmax_case("random", "64x64", "1", number="order=2", dtype=dtype))
    worst = check(found, "simplex").worst
    assert check(found, "simplex").verdict == Verdict.FAIL
    assert worst is not None
    total = float(worst.message.partition("sum to ")[2].partition(";")[0])
    assert abs(total - 1) > least


@torch_here
@pytest.mark.parametrize("h", ["1/4", "1/2", "3/4"])
def test_norm_relu_has_not_the_bandwidth_it_claims(h: str) -> None:
    case = f"weights order=1 rule=fixed:{h} dtype=float64 family=random shape=3x8 feature=1 seed=0"
    found = run("mosaics.norm_relu", case)
    assert check(found, "accuracy").verdict == Verdict.FAIL
    # Its ball has h² = 1 + (1 − h²)², never below 1: keys far outside of the ball of h have weight.
    worst = check(found, "support").worst
    assert check(found, "support").verdict == Verdict.FAIL
    assert worst is not None
    assert worst.message.endswith("but the key is not in the support")


@torch_here
def test_norm_relu_is_epanechnikov_of_the_bandwidth_that_c2_gives() -> None:
    claimed = 0.5
    scores = torch_scores()
    found = norm_relu(scores, claimed).numpy()
    right = kernelproof.reference.weights(
        scores.numpy(), kernelproof.Kernel(1), kernelproof.Fixed((1 + (1 - claimed**2) ** 2) ** 0.5)
    )
    assert abs(found - right.weights.round("float64")).max() < 1e-14  # 64 roundings of sums of a few terms below 10


@torch_here
def test_on_unscaled_unit_keys_the_same_parameters_are_right(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.py"
    fixed.write_text(UNSCALED)
    for h in ("1/2", "3/4", "3"):
        case = f"weights order=1 rule=fixed:{h} dtype=float64 family=random shape=3x8 feature=1 seed=0"
        assert failed(run(f"{fixed}:norm_relu", case)) == set()


@torch_here
@pytest.mark.parametrize("h", ["2", "3"])
def test_norm_relu_gives_masked_keys_weight_at_bandwidths_above_root_2(h: str) -> None:
    case = f"weights order=1 rule=fixed:{h} dtype=float64 family=masks shape=3x10 feature=some seed=0"
    worst = check(run("mosaics.norm_relu", case), "monotone").worst
    assert worst is not None
    assert "≥ -inf of keys" in worst.message


@torch_here
def test_relumax_has_the_reach_it_claims() -> None:
    for family, shape, feature in (("random", "3x8", "1"), ("masks", "3x10", "some"), ("two_keys", "65x2", "wide")):
        for dtype in ("float32", "float64"):
            case = f"weights order=1 rule=anchored:1/2 dtype={dtype} family={family} shape={shape}"
            case += f" feature={feature} seed=0"
            assert failed(run("mosaics.relumax", case)) == set(), (family, dtype)
