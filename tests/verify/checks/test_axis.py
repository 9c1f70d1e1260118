"""Axis: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import Fault, Shown, entmax_case, parameters

FAULTS = (
    Fault(
        "axis",
        "ignored",
        "def entmax(self, z, order, dim=-1):\n    return super().entmax(z, order)",
        entmax_case("2", "random", "2x2x16", "4"),
    ),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
