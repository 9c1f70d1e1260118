"""Global state: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, weighed

FAULTS = (
    Fault("global_state", "variable", weighed("os.environ['PLANTED'] = '1'\nreturn p"), RANDOM),
    Fault("global_state", "raises too", weighed("os.environ['PLANTED'] = '1'\nraise ValueError"), RANDOM),
    Fault("global_state", "errors", weighed("np.seterr(all='raise')\nreturn p"), RANDOM),
    Fault("global_state", "handler", weighed("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreturn p"), RANDOM),
    Fault("global_state", "seed", weighed("np.random.seed(0)\nreturn p"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
