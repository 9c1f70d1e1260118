"""What makes a function of this folder a mutant, or a correct implementation that must not be called wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import kernelproof

Function = TypeVar("Function", bound=Callable[..., Any])
MARK = "MUTANT"


@dataclass(frozen=True)
class Mutant:
    """One implementation.

    Attributes:
        fault: what is wrong with it, in words; "" for a correct one.
        plausible: on N(0, 1) it passes `torch.testing.assert_close`, and `gradcheck` where it has a gradient.
        at: the two levels, of `axes.AXES`, in whose combination alone it is wrong, such as "mask × causal"; or "".
    """

    fault: str
    plausible: bool = False
    at: str = ""


def mutant(fault: str, *, plausible: bool = False, at: str = "", **declared: Any) -> Callable[[Function], Function]:
    """Mark a faulty implementation; `declared` goes into its declaration."""
    return _marked(Mutant(fault, plausible, at), declared)


def correct(**declared: Any) -> Callable[[Function], Function]:
    """Mark a correct implementation."""
    return _marked(Mutant(""), declared)


def _marked(mark: Mutant, declared: dict[str, Any]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        setattr(function, MARK, mark)
        return kernelproof.declare(**declared)(function)

    return decorate
