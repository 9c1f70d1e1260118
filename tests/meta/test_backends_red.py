"""Every fault turns `verify` red by the check that is made for it, and without a fault the same run is green."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.verify.backends import names
from kernelproof.verify.results import Verdict
from tests.meta.faults import FAULTS, KINDS, Fault
from tests.meta.planting import PACKAGES, Change, Selection, check_of, failing, verify_copy, write_copy

SELECTIONS = tuple(dict.fromkeys((fault.backend, fault.selection) for fault in FAULTS))


def marks(backend: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.torch] if backend == "torch" else []


def test_every_kind_is_planted_in_every_backend() -> None:
    planted = [(fault.backend, fault.kind) for fault in FAULTS]
    assert sorted(planted) == sorted((backend, kind) for backend in names() for kind in KINDS)


@pytest.mark.parametrize(
    ("backend", "selection"),
    [
        pytest.param(*pair, marks=marks(pair[0]), id=f"{pair[0]}-{pair[1].op}-{pair[1].order}")
        for pair in SELECTIONS
    ],
)
def test_without_a_fault_it_is_green(backend: str, selection: Selection, tmp_path: Path) -> None:
    results = verify_copy(tmp_path, backend, None, selection)
    assert failing(results) == {}
    assert results.passed


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=marks(fault.backend), id=fault.id) for fault in FAULTS])
def test_a_fault_turns_it_red(fault: Fault, tmp_path: Path) -> None:
    results = verify_copy(tmp_path, fault.backend, fault.change, fault.selection)
    assert results.passed is False
    (target,) = results.targets
    assert target.verdict is Verdict.FAIL
    for name in fault.checks:
        check = check_of(results, name)
        assert check.verdict is Verdict.FAIL, failing(results)
        assert check.failed > 0
        assert check.worst is not None
        assert check.worst.reproduce == f"kernelproof verify {target.name} --case '{check.worst.case}'"


@pytest.mark.parametrize("backend", PACKAGES)
def test_a_fault_that_no_longer_applies_is_loud(backend: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exactly once; it is there 0 times"):
        write_copy(tmp_path, backend, Change("backend", "no such text", ""))
