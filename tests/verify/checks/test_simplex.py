"""Simplex: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

FAULTS = (Fault("simplex", "sum", weighed("return p * 1.01"), RANDOM),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
