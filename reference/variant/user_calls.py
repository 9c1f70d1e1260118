"""Calls of the two functions that the user writes; their exceptions become one-line errors that name the function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from flint import arb

from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.variant.definition import Root, Variant
from kernelproof.reference.variant.jets import Jet, Jets, as_jet, constant

X = Jets()


def numbers_of(variant: Variant) -> dict[str, Jet]:
    """The parameters as jets without variables."""
    return {name: constant(value) for name, value in variant.exact_parameters.items()}


def profile_at(variant: Variant, t: Jet, parameters: Mapping[str, Jet]) -> Jet:
    """K(t).

    Raises:
        DomainError: the profile raised, or gave what is no number.
    """
    keywords = variant.of_profile(parameters)
    return _called(f"the profile of {variant.name}", lambda: variant.profile(X, t, **keywords))


def equation_at(variant: Variant, root: Root, terms: list[Jet], parameters: Mapping[str, Jet]) -> Jet:
    """E(terms).

    Raises:
        DomainError: the equation raised, or gave what is no number.
    """
    keywords = variant.of_equation(root, parameters)
    return _called(f"the equation of {variant.name}", lambda: root.equation(X, terms, **keywords))


def probe(variant: Variant) -> None:
    """Call both functions once, so that their errors are raised before anything is computed.

    Raises:
        DomainError: one of them raised, or gave what is no number.
    """
    edge = variant.exact_edge
    parameters = numbers_of(variant)
    term = profile_at(variant, constant(1 if edge is None else edge - Fraction(1, 2)), parameters)
    if isinstance(variant.bandwidth, Root):
        equation_at(variant, variant.bandwidth, [term, term], parameters)


def _called(name: str, call: Callable[[], Any]) -> Jet:
    try:
        found = call()
    except Exception as error:
        msg = f"{name} raised {type(error).__name__}: {' '.join(str(error).split())}"
        raise DomainError(msg) from error
    if not isinstance(found, Jet | arb | int | float):
        msg = f"{name} must give a number of its context; got {shown(found)}"
        raise DomainError(msg)
    return as_jet(found)
