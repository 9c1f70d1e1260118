"""Special values: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.witness.planted_faults import RIGHT, SPECIAL, Fault, Shown, parameters, weighed

from kernelproof.api import verify

STRICT = """
class Strict(Right):
    KERNELPROOF = {**Right.KERNELPROOF, "nan": "raise"}

    def weights_of(self, z, n):
        if np.isnan(z).any():
            raise ValueError("Input contains NaN")
        return super().weights_of(z, n)
"""
FAULTS = (
    Fault("special_values", "hidden", weighed("return np.nan_to_num(p)"), SPECIAL),
    Fault(
        "special_values",
        "returns",
        "def weights_of(self, z, n):\n    return Right.weights_of(self, z, n)",
        SPECIAL,
        "Strict",
        RIGHT + STRICT,
    ),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize(("nan", "passes"), [("nan", False), ("any", True), ("raise", True)])
def test_a_refusal_of_nan_is_what_the_contract_says(nan: str, *, passes: bool, tmp_path: Path) -> None:
    file = tmp_path / "strict.py"
    file.write_text(RIGHT + STRICT + "\nstrict = Strict()\n", encoding="utf-8")
    for feature in ("nan", "nan_masked"):
        case = SPECIAL.replace("feature=nan", f"feature={feature}")
        assert verify(f"{file}:strict", case=case, contract={"nan": nan}, serial=True).passed is passes
