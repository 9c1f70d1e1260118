"""Kept output: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks.kept_output import CHECK
from kernelproof.verify.records import Contract, Judgement, Outcome

BUFFER = """
held = {}

def entmax(self, z, order, dim=-1):
    place = self.held.setdefault((z.shape, z.dtype.str), np.empty_like(z))
    place[...] = super().entmax(z, order, dim)
    return place
"""
GRADIENT_BUFFER = """
held = {}

def vjp(self, op, cotangent, z, order, dim=-1):
    place = self.held.setdefault((z.shape, z.dtype.str), np.empty_like(z))
    place[...] = super().vjp(op, cotangent, z, order, dim)["z"]
    return {"z": place}
"""
ATTENTION = "attention order=inf rule=adaptive:1 dtype=float64 family=random shape=1x1x1x3x8x4x2 feature=1 seed=0"
ATTENTION_BUFFER = """
held = {}

def attention(self, q, k, v, mask=None):
    found = super().attention(q, k, v, mask)
    place = self.held.setdefault((found.shape, found.dtype.str), np.empty_like(found))
    place[...] = found
    return place
"""
FAULTS = (
    Fault("kept_output", "buffer", BUFFER, RANDOM),
    Fault("kept_output", "gradient", GRADIENT_BUFFER, RANDOM),
    Fault("kept_output", "attention", ATTENTION_BUFFER, ATTENTION, parent="Attention"),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


def test_of_what_nobody_kept_nothing_is_decided() -> None:
    case = Case.parse(RANDOM)
    inputs = inputs_of(case)
    held = {"output": np.zeros((3, 8))}
    outcomes = {"forward": Outcome(held), "other": Outcome(held)}
    assert CHECK.judge(case, inputs, None, outcomes, Contract()) == Judgement()
    kept = {"forward": Outcome(held), "other": Outcome(held, overwritten=())}
    assert CHECK.judge(case, inputs, None, kept, Contract()) == Judgement(decided=1)
    over = {"forward": Outcome(held), "other": Outcome(held, overwritten=("output",))}
    assert CHECK.judge(case, inputs, None, over, Contract()).failed == 1
    assert CHECK.judge(case, inputs, None, over, Contract(reuses_output=True)) == Judgement()
