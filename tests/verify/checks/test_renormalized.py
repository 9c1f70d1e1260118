"""Renormalized: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.records import Contract, Outcome
from kernelproof.verify.truth.truth import truth_of

FAULTS = (Fault("renormalized", "power", weighed("return self.shares(p**1.01)"), RANDOM),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize(("size", "failed"), [(4108, False), (40, True)])
def test_a_row_whose_every_weight_rounds_to_zero_is_not_decided(size: int, failed: bool) -> None:
    line = f"entmax order=inf rule=adaptive:1 dtype=float8_e4m3fn family=pairs shape=2x{size} feature=flat seed=0"
    case = Case.parse(line)
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    zeros = {"forward": Outcome({"output": np.zeros(truth.output.head.shape).astype(inputs.arrays["z"].dtype)})}
    said = checks()["renormalized"].judge(case, inputs, truth, zeros, Contract())
    # 4108 weights of 2.4e-4 are below half of the least number, 2^-9; 40 weights are not.
    assert (said.failed > 0) is failed
    assert (said.decided > 0) is failed
