"""Zero upstream: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, in_gradient, parameters

FAULTS = (Fault("zero_upstream", "noise", in_gradient("found = found + (0 if g.any() else 1e-300)"), RANDOM),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
