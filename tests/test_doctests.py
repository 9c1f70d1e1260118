"""Every example in a docstring runs, and shows what it says."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import kernelproof

FLOORS = ("reference", "theory", "verify", "reports")
EXTRAS = ("torch", "triton", "jax")


def module_names() -> list[str]:
    names = ["kernelproof"]
    for floor in FLOORS:
        package = import_module(f"kernelproof.{floor}")
        names.append(package.__name__)
        names += [found.name for found in walk_packages(package.__path__, f"{package.__name__}.")]
    return names


@pytest.mark.parametrize("name", module_names())
def test_examples_are_true(name: str) -> None:
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    assert doctest.testmod(module).failed == 0


def test_examples_are_found() -> None:
    assert doctest.testmod(kernelproof).attempted > 0
    assert doctest.testmod(import_module("kernelproof.reference.model")).attempted > 0
