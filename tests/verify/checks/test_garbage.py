"""Garbage: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import PADDING, Fault, Shown, parameters

FAULTS = (
    Fault(
        "garbage",
        "product",
        "def mixed(self, weights, values, mask):\n    return weights @ values",
        PADDING,
        "Attention",
    ),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
