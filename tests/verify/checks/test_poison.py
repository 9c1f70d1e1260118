"""Poison: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import SPECIAL, Fault, Shown, in_gradient, parameters

FAULTS = (Fault("poison", "sum", in_gradient("found = found + 0 * found.sum()"), SPECIAL),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
