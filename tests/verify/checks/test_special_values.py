"""Special values: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import SPECIAL, Fault, Shown, parameters, weighed

FAULTS = (Fault("special_values", "hidden", weighed("return np.nan_to_num(p)"), SPECIAL),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
