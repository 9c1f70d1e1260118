"""`import kernelproof` gives each public name, on first use."""

from __future__ import annotations

from types import ModuleType

import pytest

import kernelproof
from kernelproof.reference import errors, model


@pytest.mark.parametrize("name", kernelproof.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(kernelproof, name) is not None
    assert name in dir(kernelproof)


def test_names_are_those_of_the_model() -> None:
    for name in ("Adaptive", "Anchored", "Fixed", "Kernel", "Mechanism", "Nearest", "mechanism"):
        assert getattr(kernelproof, name) is getattr(model, name)
    for name in ("BackendUnavailable", "DomainError", "NotWritten", "TargetError", "UndecidedError"):
        assert getattr(kernelproof, name) is getattr(errors, name)


def test_verify_is_both_the_floor_and_the_job() -> None:
    assert isinstance(kernelproof.verify, ModuleType)
    assert callable(kernelproof.verify)


def test_an_unknown_name_says_which_are_known() -> None:
    with pytest.raises(AttributeError, match="no attribute 'softermax'; public names: Adaptive, "):
        _ = kernelproof.softermax  # type: ignore[attr-defined]  # that it has none is what is tested
