"""Support: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

FAULTS = (
    Fault("support", "short", weighed("return self.shares(np.where(p < p.max(-1, keepdims=True), 0, p))"), RANDOM),
    Fault("support", "negative", weighed("return np.where(p == 0, -1e-300, p)"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
