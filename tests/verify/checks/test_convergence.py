"""Convergence: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.verify.witness.planted_faults import LARGE, Fault, Shown, parameters, weighed

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.checks.convergence import CHECK
from kernelproof.verify.targets.target import describe, find

FAULTS = (Fault("convergence", "early", weighed("return p if n < 64 else super().weights_of(z, np.inf)"), LARGE),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize(
    ("orders", "made"),
    [((), {"forward", "further", "limit"}), (("64",), {"forward"}), (("64", "inf"), {"forward", "limit"})],
)
def test_a_target_is_called_at_no_order_that_was_not_asked_for(orders: tuple[str, ...], made: set[str]) -> None:
    case = Case.parse(LARGE)
    found = describe(find("numpy"))
    assert not isinstance(found, str)
    target = found[0].within(Selection(orders=orders))
    calls = CHECK.calls(case, inputs_of(case))
    assert {name for name, call in calls.items() if target.answers(case, call)} == made
    alphas = replace(found[0]).within(Selection(alphas=("65/64",)))
    assert {name for name, call in calls.items() if alphas.answers(case, call)} == {"forward"}
