"""Every fault turns `verify` red by the check that is made for it, and without a fault the same run is green."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.meta.fast_faults import FAST_PRODUCTS, TILED
from tests.meta.faults import FAULTS, HEAVY_TAILS, KINDS, RANDOM, ROUNDED_INPUTS, Fault
from tests.meta.planting import COPIED, FAST, Change, check_of, failing, loaded_here, verify_copy, write_copy

from kernelproof.api import verify
from kernelproof.verify.backends import backend_names
from kernelproof.verify.record.schema import Results, Verdict

CASES = tuple(dict.fromkeys((fault.backend, fault.case) for fault in (*FAULTS, *ROUNDED_INPUTS, *FAST_PRODUCTS)))
ERROR = Fault("numpy", "error", Change("numpy.support", "np.exp(n * log)", "np.exp(n * lag)"), ("accuracy",), RANDOM)
"""A copy that computes nothing: it fails the accuracy check, and is no example of a wrong number found."""


def marks(backend: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.torch] if backend == "torch" else []


def test_every_kind_is_planted_in_every_backend() -> None:
    planted = [(fault.backend, fault.kind) for fault in FAULTS]
    assert sorted(planted) == sorted((backend, kind) for backend in (*backend_names(), FAST) for kind in KINDS)


def assert_found(results: Results, fault: Fault) -> None:
    """Every check of `fault` says FAIL because it compared a number that was wrong; nothing raised or crashed."""
    assert results.passed is False
    (target,) = results.targets
    assert target.verdict is Verdict.FAIL
    crashed = [check.id for check in target.checks if check.verdict is Verdict.CRASH]
    assert crashed == [], f"crashed: {crashed}"
    for name in fault.checks:
        check = check_of(results, name)
        assert check.verdict is Verdict.FAIL, failing(results)
        assert check.failed > 0
        assert check.worst is not None
        # A call that raised has no place where its output is wrong.
        assert check.worst.index is not None, check.worst.message
        assert check.worst.case == fault.case
        assert check.worst.reproduce == f"kernelproof verify {target.name} --case '{fault.case}'"


@pytest.mark.parametrize(("backend", "case"), [pytest.param(*pair, marks=marks(pair[0])) for pair in CASES])
def test_without_a_fault_it_is_green(backend: str, case: str, tmp_path: Path) -> None:
    results = verify_copy(tmp_path, backend, None, case)
    assert failing(results) == {}
    assert results.passed
    needed = {
        name for fault in (*FAULTS, *ROUNDED_INPUTS, *FAST_PRODUCTS) if fault.case == case for name in fault.checks
    }
    for name in needed:
        check = check_of(results, name)
        assert check.verdict is Verdict.PASS
        assert check.decided > 0


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=marks(fault.backend), id=fault.id) for fault in FAULTS])
def test_a_fault_turns_it_red(fault: Fault, tmp_path: Path) -> None:
    results = verify_copy(tmp_path, fault.backend, fault.change, fault.case)
    assert_found(results, fault)
    if fault.kind == "wrong Jacobian term":
        assert failing(results).keys() == {"gradients"}


@pytest.mark.parametrize("fault", ROUNDED_INPUTS, ids=lambda fault: fault.id)
def test_everyday_inputs_use_all_their_bits(fault: Fault, tmp_path: Path) -> None:
    assert_found(verify_copy(tmp_path, fault.backend, fault.change, fault.case), fault)


@pytest.mark.parametrize("fault", HEAVY_TAILS, ids=lambda fault: fault.id)
def test_a_fault_of_negative_orders_turns_it_red(fault: Fault, tmp_path: Path) -> None:
    assert failing(verify_copy(tmp_path, fault.backend, None, fault.case)) == {}
    assert_found(verify_copy(tmp_path, fault.backend, fault.change, fault.case), fault)


@pytest.mark.parametrize("fault", TILED, ids=lambda fault: fault.id)
def test_a_fault_in_the_tiles_turns_it_red(fault: Fault, tmp_path: Path) -> None:
    whole = verify_copy(tmp_path, fault.backend, None, fault.case, tiled=True)
    assert failing(whole) == {}
    assert whole.passed
    assert_found(verify_copy(tmp_path, fault.backend, fault.change, fault.case, tiled=True), fault)


@pytest.mark.parametrize("fault", FAST_PRODUCTS, ids=lambda fault: fault.id)
def test_a_fault_in_a_term_of_the_fast_product_turns_gradients_red(fault: Fault, tmp_path: Path) -> None:
    results = verify_copy(tmp_path, fault.backend, fault.change, fault.case)
    assert_found(results, fault)
    assert failing(results).keys() <= {"gradients"}


def test_a_copy_that_raises_is_no_fault_found(tmp_path: Path) -> None:
    results = verify_copy(tmp_path, ERROR.backend, ERROR.change, ERROR.case)
    assert check_of(results, "accuracy").verdict is Verdict.FAIL
    with pytest.raises(AssertionError, match="the call gave no output: NameError"):
        assert_found(results, ERROR)


def test_a_crash_is_no_fault_found(tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.backend == "numpy")
    results = verify_copy(tmp_path, fault.backend, fault.change, fault.case)
    (target,) = results.targets
    for crashed in fault.checks:
        checks = [
            check.model_copy(update={"verdict": Verdict.CRASH}) if check.id == crashed else check
            for check in target.checks
        ]
        changed = results.model_copy(update={"targets": [target.model_copy(update={"checks": checks})]})
        with pytest.raises(AssertionError, match=f"crashed: .'{crashed}'"):
            assert_found(changed, fault)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", [pytest.param(name, marks=marks(name)) for name in COPIED])
def test_the_default_suite_finds_every_fault(backend: str, tmp_path: Path) -> None:
    faults = [fault for fault in FAULTS if fault.backend == backend]
    changes = [None, *(fault.change for fault in faults)]
    texts = [write_copy(tmp_path, backend, change) for change in changes]
    with loaded_here(tmp_path):
        results = verify(*texts, dtype="float64", serial=True)
    whole, *broken = results.targets
    assert whole.passed
    red = {target.name: {check.id for check in target.checks if check.verdict is Verdict.FAIL} for target in broken}
    assert [fault.kind for fault, text in zip(faults, texts[1:], strict=True) if not {*fault.checks} <= red[text]] == []


@pytest.mark.parametrize("backend", COPIED)
def test_a_fault_that_no_longer_applies_is_loud(backend: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exactly once; it is there 0 times"):
        write_copy(tmp_path, backend, Change(f"{backend.partition(' ')[0]}.__init__", "no such text", ""))
