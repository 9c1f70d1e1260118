"""Claims of gradients at kinks: a right gradient fulfils all of them, and one that the check calls wrong does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks.gradients import CHECK
from kernelproof.verify.judging.claims import Claim, Seen, elements, rounded
from kernelproof.verify.records import Array, Call, Contract, Inputs, Outcome, Truth, Values
from kernelproof.verify.truth.kink_hull import corners_of
from kernelproof.verify.truth.lookup import truth_for

pytestmark = pytest.mark.shrinks

LINE = "entmax order={order} rule=adaptive:1 dtype=float64 family=kink shape=4x8 feature=0 seed={seed}"


def of(order: str, seed: int) -> tuple[Case, Inputs, Truth]:
    case = Case.parse(LINE.format(order=order, seed=seed))
    inputs = inputs_of(case)
    truth = truth_for(case, inputs, Contract())[0]
    assert truth is not None
    assert truth.gradients is not None
    return case, inputs, replace(truth, gradients={"z": truth.gradients["z"]})


def said(case: Case, inputs: Inputs, truth: Truth, gradient: Array, contract: Contract) -> tuple[list[Claim], bool]:
    """The claims, and whether the check calls the gradient wrong."""
    outcome = Outcome(arrays={"z": gradient})
    claims = list(CHECK.claims(case, {"vjp": Seen("gradient", Call(inputs, "vjp"), outcome, truth)}, contract))
    return claims, CHECK.judge(case, inputs, truth, {"vjp": outcome}, contract).failed > 0


@pytest.mark.parametrize("seed", range(6))
def test_claims_at_a_kink_of_order_1_are_those_of_the_check(seed: int) -> None:
    case, inputs, truth = of("1", seed)
    assert truth.boundary.any()
    generator, upstream = np.random.default_rng(seed), np.asarray(inputs.cotangent).reshape(-1, 8)
    wrong = 0
    for turn in range(40):
        gradient = np.empty((len(upstream), 8))
        for r in range(len(upstream)):
            corners = corners_of(upstream[r], truth.support[r], truth.boundary[r], 1.0)
            gradient[r] = generator.dirichlet(np.full(len(corners), 0.5)) @ corners
        if turn % 2:
            gradient[0] += generator.normal(size=8) * truth.boundary[0] * 10.0 ** -generator.integers(0, 4)
        claims, failed = said(case, inputs, truth, gradient.reshape(4, 8), Contract(grade="A"))
        assert failed == any(not claim.met for claim in claims), turn
        assert turn % 2 or not failed
        wrong += failed
    assert wrong


@pytest.mark.parametrize(("order", "shift"), [("3/2", 0.1), ("3/2", -1e-5), ("2", 0.1), ("1/2", np.inf)])
def test_claims_at_other_kinks_are_fulfilled_by_the_exact_gradient(order: str, shift: float) -> None:
    case, inputs, truth = of(order, 0)
    assert truth.gradients is not None
    exact = truth.gradients["z"].head
    claims, failed = said(case, inputs, truth, np.where(np.isfinite(exact), exact, 0.0), Contract())
    assert not failed
    assert all(claim.met for claim in claims)
    claims, failed = said(case, inputs, truth, np.where(truth.boundary, exact + shift, exact), Contract())
    assert failed == any(not claim.met for claim in claims)
    assert failed == (order != "1/2")


@pytest.mark.parametrize(("policy", "came", "fails"), [("nan", np.nan, False), ("nan", 1.0, True), ("any", 1.0, False)])
def test_gradients_of_empty_rows_are_claimed_as_the_contract_has_them(policy: str, came: float, fails: bool) -> None:
    case = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=masks shape=3x10 feature=all seed=0")
    inputs = inputs_of(case)
    inputs = replace(inputs, cotangent=np.ones((3, 10)))
    truth = truth_for(case, inputs, Contract())[0]
    assert truth is not None
    assert truth.gradients is not None
    assert truth.empty.any()
    truth = replace(truth, gradients={"z": truth.gradients["z"]})
    assert truth.gradients is not None
    gradient = np.where(truth.empty[:, None], came, truth.gradients["z"].head)
    claims, failed = said(case, inputs, truth, gradient, Contract(empty_row=policy))
    assert failed == fails
    assert failed == any(not claim.met for claim in claims)


def test_what_only_a_sum_shows_is_claimed_of_the_sum() -> None:
    case = Case.parse(LINE.format(order="1", seed=0))
    inputs = Inputs({"z": np.array([[0.0, -1.0]])}, {}, cotangent=np.array([[0.0, 1.0]]))
    truth = truth_for(case, inputs, Contract())[0]
    assert truth is not None
    assert truth.gradients is not None
    truth = replace(truth, gradients={"z": truth.gradients["z"]})
    # The limits are (0, 0) and (−1/2, 1/2).
    claims, failed = said(case, inputs, truth, np.array([[0.0, 0.5]]), Contract())
    assert failed
    assert [claim.expression for claim in claims if not claim.met] == ['np.dot([1, 1], gradient["z"][0])']


@pytest.mark.parametrize(("came", "met"), [(np.nan, True), (448.0, True), (-448.0, False), (900.0, True)])
def test_what_a_format_without_infinities_cannot_hold_may_be_nan_or_its_largest_number(came: float, met: bool) -> None:
    exact = Values(*(np.array([number]) for number in (900.0, 0.0, 0.0, 900.0)))
    assert np.isnan(rounded(900.0, 0.0, FORMATS["float8_e4m3fn"]))
    claims = elements("got", np.array([came]), exact, np.array([1.0]), np.array([True]), FORMATS["float8_e4m3fn"])
    assert [claim.met for claim in claims] == [met]
