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
LIMIT = """
class Limit(Right):
    KERNELPROOF = {**Right.KERNELPROOF, "posinf": "limit"}

    def weights_of(self, z, n):
        top = np.isposinf(z)
        limit = np.where(top.any(-1, keepdims=True), self.shared(top), super().weights_of(z, n))
        return np.where(np.isnan(z).any(-1, keepdims=True), np.nan, limit)

    def shared(self, top):
        return top / np.maximum(top.sum(-1, keepdims=True), 1)
"""
FAULTS = (
    Fault(
        "special_values",
        "first",
        "def shared(self, top):\n    return top & (np.cumsum(top, axis=-1) == 1)",
        "entmax order=2 rule=adaptive:1 dtype=float64 family=special shape=4x7 feature=two_inf seed=0",
        "Limit",
        RIGHT + LIMIT,
    ),
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
