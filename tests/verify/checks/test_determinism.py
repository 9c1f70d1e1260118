"""Determinism: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

from kernelproof.api import verify
from kernelproof.reference.errors import TargetError

FAULTS = (
    Fault(
        "determinism",
        "raises",
        weighed("self.odd = not self.odd\nassert self.odd\nreturn p"),
        RANDOM,
    ),
    Fault(
        "determinism",
        "seldom wrong",
        "KERNELPROOF = {**Right.KERNELPROOF, 'deterministic': False}\n"
        "calls = 0\n"
        "def weights_of(self, z, n):\n"
        "    self.calls += 1\n"
        "    return super().weights_of(z, n) * (1.01 if self.calls % 3 == 0 else 1)",
        RANDOM,
    ),
    Fault("determinism", "random", weighed("return p * (1 + 1e-12 * np.random.default_rng().random())"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


VARYING = """
import numpy as np

DRAW = np.random.default_rng(0)

def fn(z):
    x = z.astype(np.float64)
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return (e / e.sum(-1, keepdims=True)).astype(z.dtype) * (1 + DRAW.choice([-1, 1]) * np.finfo(z.dtype).eps)
"""


def test_sums_in_any_order_pass_if_that_is_declared(tmp_path: Path) -> None:
    file = tmp_path / "varying.py"
    file.write_text(VARYING, encoding="utf-8")
    case = RANDOM.replace("order=2", "order=inf")

    def tried(**contract: object) -> tuple[bool, str]:
        target = verify(f"{file}:fn", case=case, contract=contract, serial=True).targets[0]
        return target.passed, target.note

    passed, note = tried()
    assert not passed
    assert "declares deterministic = false" in note
    assert tried(deterministic=False)[0]
    with pytest.raises(TargetError, match='same = "bits" or deterministic = false'):
        tried(deterministic=False, same="bits")
