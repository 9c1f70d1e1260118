"""Support: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.claims import Seen
from kernelproof.verify.records import Call, Contract, Outcome
from kernelproof.verify.truth.truth import truth_of

FAULTS = (
    Fault("support", "short", weighed("return self.shares(np.where(p < p.max(-1, keepdims=True), 0, p))"), RANDOM),
    Fault("support", "negative", weighed("return np.where(p == 0, -1e-300, p)"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_nearest_keeps_as_many_keys_as_it_says_where_more_are_tied(more: int) -> None:
    case = Case.parse(
        "weights order=inf rule=nearest:3:adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
    )
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    raw = np.zeros((2, 7))
    raw[:, : 3 + more] = 1 / (3 + more)
    outcome = Outcome({"output": raw})
    said = checks()["support"].judge(case, inputs, truth, {"forward": outcome}, Contract())
    assert (said.failed > 0) is bool(more)
    claims = list(checks()["support"].claims(case, {"forward": Seen("y", Call(inputs), outcome, truth)}, Contract()))
    assert [claim.met for claim in claims if ".sum()" in claim.expression] == [False] * 2 * abs(more)
    if more:
        told = "4 positive weights, but the rule keeps 3" if more > 0 else "2 positive weights, but 3 keys are kept"
        assert told in said.failures[0].message
