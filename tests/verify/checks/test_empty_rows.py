"""Empty rows: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import POLICY, Fault, Shown, entmax_case, parameters, weighed

FAULTS = (
    Fault(
        "empty_rows",
        "spread",
        weighed("return p * np.where(np.isnan(p).any(), np.nan, 1)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "zeros",
        weighed("return np.nan_to_num(p)"),
        entmax_case("2", "masks", "3x10", "all"),
    ),
    Fault(
        "empty_rows",
        "returns",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('raise', 'nan'))",
        POLICY,
        "Weights",
    ),
    Fault(
        "empty_rows",
        "zeros for all",
        "def weights(self, scores, empty='nan'):\n    return super().weights(scores, empty.replace('nan', 'zeros'))",
        POLICY,
        "Weights",
    ),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
