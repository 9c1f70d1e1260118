"""Dtype and shape: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, in_gradient, parameters, returned

FAULTS = (
    Fault("dtype_kept", "short", returned("[..., :3]"), RANDOM),
    Fault("dtype_kept", "narrow", returned(".astype('f4')"), RANDOM),
    Fault("dtype_kept", "flat", returned(".reshape(-1)"), RANDOM),
    Fault("dtype_kept", "odd name", "def vjp(self, *args, **options):\n    return {1: args[2]}", RANDOM),
    Fault("dtype_kept", "gradient", in_gradient("found = found[..., :3]"), RANDOM),
    Fault("dtype_kept", "gradient dtype", in_gradient("found = found.astype('f4')"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
