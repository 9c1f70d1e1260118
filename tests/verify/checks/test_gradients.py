"""The gradient check on hard rows: what a backward of stored weights can know, and rows with nothing to attend to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, in_gradient, parameters

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks.gradients import CHECK
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Array, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.roundings import with_roundings
from kernelproof.verify.truth.truth import truth_of

HOT = Case.parse("entmax order=inf rule=adaptive:1 dtype=float32 family=one_hot shape=3x9 feature=30 seed=0")
EMPTY = Case.parse("entmax order=inf rule=adaptive:1 dtype=float32 family=masks shape=3x10 feature=all seed=0")
MIXED = Case.parse("attention order=2 rule=adaptive:1 dtype=float64 family=masks shape=2x1x3x8x4x2 feature=all seed=0")


def prepared(case: Case, keep: tuple[str, ...] = ()) -> tuple[Inputs, Truth, dict[str, Array]]:
    """Inputs, truth and its gradients, rounded to the dtype of the case; only those in `keep`, if any."""
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    held = {name: values for name, values in truth.gradients.items() if name in keep or not keep}
    return inputs, replace(truth, gradients=held), {name: v.head.astype(case.dtype) for name, v in held.items()}


def judge(case: Case, found: dict[str, Any], keep: tuple[str, ...], *, empty_row: str = "any") -> Judgement:
    inputs, truth, _ = prepared(case, keep)
    return CHECK.judge(case, inputs, truth, {"vjp": Outcome(found)}, Contract("A", empty_row=empty_row))


def pulled(case: Case) -> Array:
    """The gradient of softmax as autograd has it: from the weights rounded to float32, in float32."""
    inputs = inputs_of(case)
    z, g = inputs.arrays["z"], np.asarray(inputs.cotangent)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return np.asarray(p * (g - (p * g).sum(axis=-1, keepdims=True)))


def test_a_backward_need_not_know_how_far_a_stored_weight_is_from_one() -> None:
    found = pulled(HOT)
    said = judge(HOT, {"z": found}, ("z",))
    assert (said.failed, said.undecided) == (0, 0)
    _, _, right = prepared(HOT, ("z",))
    # The weight is 1 − 1.9e-12 and its gradient of that size: not one digit of it is in what was stored.
    assert np.abs(found - right["z"]).max() > 0.5 * np.abs(right["z"]).max()


@pytest.mark.parametrize("share", [2.0**-10, 1.0])
def test_a_wrong_gradient_of_a_one_hot_row_is_seen(share: float) -> None:
    found = pulled(HOT)
    hot = np.argmax(np.abs(found), axis=-1, keepdims=True)
    small = np.argsort(np.abs(found), axis=-1)[:, -2:-1]
    g = np.asarray(inputs_of(HOT).cotangent)
    # A key of weight 1 moved by 2^-10 of its cotangent; a light key moved by a part of its own gradient.
    heavy, light = found.copy(), found.copy()
    np.put_along_axis(heavy, hot, share * np.take_along_axis(g, hot, -1), -1)
    np.put_along_axis(light, small, (1 + share) * np.take_along_axis(found, small, -1), -1)
    assert judge(HOT, {"z": heavy}, ("z",)).failed > 0
    assert judge(HOT, {"z": light}, ("z",)).failed > 0


@pytest.mark.parametrize(("policy", "fails"), [("any", False), ("nan", False), ("zeros", True), ("raise", True)])
def test_a_nan_gradient_of_an_empty_row_is_what_the_contract_says(policy: str, fails: bool) -> None:
    _, truth, right = prepared(EMPTY, ("z",))
    assert truth.empty.tolist() == [True, False, False]
    assert judge(EMPTY, right, ("z",), empty_row=policy).failed == 0
    nan = right["z"].copy()
    nan[0] = np.nan
    assert (judge(EMPTY, {"z": nan}, ("z",), empty_row=policy).failed > 0) == fails
    assert judge(EMPTY, {"z": nan}, ("z",), empty_row=policy).decided >= 20
    nan[1, 3] = np.nan
    assert judge(EMPTY, {"z": nan}, ("z",), empty_row=policy).failed > 0


def test_a_number_where_the_contract_says_nan_is_judged() -> None:
    _, _, right = prepared(EMPTY, ("z",))
    right["z"][0, 0] = 1.0
    assert judge(EMPTY, right, ("z",), empty_row="nan").failed == 1
    assert judge(EMPTY, right, ("z",), empty_row="any").failed == 0


@pytest.mark.parametrize("name", ["k", "v", "q"])
def test_an_empty_query_leaves_the_gradients_of_the_others_finite(name: str) -> None:
    mixed = replace(MIXED, shape=(2, 2, 3, 8, 4, 2))
    _, truth, right = prepared(mixed)
    empty = truth.empty.reshape(2, 3)
    assert empty.any(axis=1).sum() == 1
    spoiled = int(empty.any(axis=1).argmax())
    found = {key: array.copy() for key, array in right.items()}
    found["q"][empty] = np.nan
    assert judge(mixed, found, (), empty_row="nan").failed == 0
    if name != "q":
        # Where the row is NaN, so is what it adds to the keys and values of its head, which it shares with others.
        found[name][spoiled, 0] = np.nan
        said = judge(mixed, found, (), empty_row="nan")
        assert (said.failed, said.undecided > 1) == (0, True)
        assert judge(mixed, found, (), empty_row="zeros").failed > 0
    place = tuple(np.argwhere(~empty)[0]) if name == "q" else (1 - spoiled, 0)
    found[name][place] = np.nan
    assert judge(mixed, found, (), empty_row="nan").failed > 0


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_gaps_off_by_two_roundings_are_right_next_to_a_kink_of_order_2(name: str, sign: int) -> None:
    # Exact weights of gaps scaled by 1 ± 2u: keys next to the threshold change sides, and w = √p with them.
    unit = precision_of(name, Contract()).unit
    case = Case("entmax", "2", None, "adaptive:1", name, "kink", (4, 8), str(sign), 0)
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    z = np.asarray(inputs.arrays["z"]).astype(np.float64)
    moved = z.max(-1, keepdims=True) - (z.max(-1, keepdims=True) - z) * (1 + sign * 2 * unit)
    found = reference.entmax_vjp(moved, np.asarray(inputs.cotangent).astype(np.float64), order=2)
    outcome = Outcome({key: value.round(name) for key, value in found.items()})
    assert CHECK.judge(case, inputs, truth, {"vjp": outcome}, Contract("A")).failed == 0
    wrong = Outcome({key: value * 2 for key, value in outcome.arrays.items()})
    assert CHECK.judge(case, inputs, truth, {"vjp": wrong}, Contract("A")).failed > 0


@pytest.mark.parametrize("order", ["1", "3/2", "2", "inf"])
def test_a_kink_that_only_stored_scores_reach_leaves_nothing_open(order: str) -> None:
    """R holds the exact weights of the box of stored scores, kinks included: what is beyond it is wrong."""
    generator, kind = np.random.default_rng(0), FORMATS["bfloat16"].dtype
    arrays = {name: generator.normal(size=(1, 10, 8)).astype(kind) for name in "qkv"}
    inputs = Inputs(arrays, {"scale": 8**-0.5}, generator.normal(size=(1, 10, 8)).astype(kind))
    case = Case("attention", order, None, "adaptive:1", "bfloat16", "random", (1, 1, 10, 10, 8, 8), "1", 0)
    truth = truth_of(case, inputs)
    assert truth is not None
    truth = with_roundings(case, inputs, truth, Contract())
    assert truth.gradients is not None
    inside, edge = truth.margin[truth.support].min(), truth.margin[~truth.support].max(initial=-np.inf)
    # Stored scores are off by up to 2^-8 of about 1 each, of which the nearest threshold is no further away.
    assert order == "inf" or min(inside, -edge) < 2.0**-5
    for factor, failed in ((1.0, 0), (1.5, 150), (-1.0, 150)):
        found = {
            name: (factor * each.head).astype(kind if name in "qkv" else np.float64)
            for name, each in truth.gradients.items()
        }
        said = CHECK.judge(case, inputs, truth, {"vjp": Outcome(found)}, Contract())
        assert said.undecided == 0
        assert said.failed >= failed if failed else said.failed == 0
        assert said.vacuous <= 32


FAULTS = (
    Fault("gradients", "factor", in_gradient("found = found * 1.5"), RANDOM),
    Fault("gradients", "none", in_gradient("return {}"), RANDOM),
    Fault("gradients", "nothing", in_gradient("found = None"), RANDOM),
    Fault("gradients", "short", in_gradient("found = found[..., :3]"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


KINK = Case.parse("entmax order=1 rule=adaptive:1 dtype=float64 family=kink shape=4x8 feature=0 seed=0")


def test_the_derivative_of_clamp_at_a_kink_is_named() -> None:
    """As autograd has it: a key at the threshold has derivative 1 without a part in the mean of the support."""
    inputs, truth, right = prepared(KINK, ("z",))
    g = np.asarray(inputs.cotangent)
    through = np.where(truth.support | truth.boundary, g, 0)
    mean = through.sum(axis=-1, keepdims=True) / truth.support.sum(axis=-1, keepdims=True)
    clamped = judge(KINK, {"z": through - np.where(truth.support, mean, 0)}, ("z",))
    assert clamped.failed
    assert "torch's clamp were differentiated, which has derivative 1 at 0" in clamped.failures[0].message
    other = judge(KINK, {"z": 1.5 * right["z"]}, ("z",))
    assert "at a kink: a key of its row lies exactly at the threshold" in other.failures[0].message
    assert "clamp" not in other.failures[0].message


def test_the_gradient_in_a_number_may_be_nan_beside_an_empty_row_and_nowhere_else() -> None:
    empty = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=masks shape=3x10 feature=all seed=0")
    full = Case.parse(empty.text.replace("feature=all", "feature=some"))
    for word in ("any", "nan"):
        said = judge(empty, {"order": np.float64(np.nan)}, ("order",), empty_row=word)
        assert (said.failed, said.decided) == (0, 0)
        right = prepared(empty, ("order",))[2]["order"]
        assert judge(empty, {"order": 1.5 * right}, ("order",), empty_row=word).failed
        assert judge(full, {"order": np.float64(np.nan)}, ("order",), empty_row=word).failed
    assert judge(empty, {"order": np.float64(np.nan)}, ("order",), empty_row="zeros").failed
