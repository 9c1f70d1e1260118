"""The reference: certified kernel regression and entmax, under fixed and adaptive normalization.

Public names are imported on first use: who needs only the words of the model or the errors loads no arithmetic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelproof.reference import bulk, formats, rows, solver
    from kernelproof.reference.enclosure import Enclosure
    from kernelproof.reference.errors import (
        BackendUnavailable,
        DomainError,
        KernelproofError,
        TargetError,
        UndecidedError,
    )
    from kernelproof.reference.model import (
        Adaptive,
        Anchored,
        Fixed,
        Kernel,
        Mechanism,
        Nearest,
        mechanism,
    )
    from kernelproof.reference.ops.attention import Attention, attention, attention_vjp
    from kernelproof.reference.ops.entmax import entmax, entmax_vjp
    from kernelproof.reference.ops.regression import Regression, regression, regression_vjp
    from kernelproof.reference.ops.weights import weights, weights_vjp
    from kernelproof.reference.solved_rows import Weighting

__all__ = [
    "Adaptive",
    "Anchored",
    "Attention",
    "BackendUnavailable",
    "DomainError",
    "Enclosure",
    "Fixed",
    "Kernel",
    "KernelproofError",
    "Mechanism",
    "Nearest",
    "Regression",
    "TargetError",
    "UndecidedError",
    "Weighting",
    "attention",
    "attention_vjp",
    "bulk",
    "entmax",
    "entmax_vjp",
    "formats",
    "mechanism",
    "regression",
    "regression_vjp",
    "rows",
    "solver",
    "weights",
    "weights_vjp",
]

_NAMES = {
    "enclosure": ("Enclosure",),
    "errors": ("BackendUnavailable", "DomainError", "KernelproofError", "TargetError", "UndecidedError"),
    "model": ("Adaptive", "Anchored", "Fixed", "Kernel", "Mechanism", "Nearest", "mechanism"),
    "ops.attention": ("Attention", "attention", "attention_vjp"),
    "ops.entmax": ("entmax", "entmax_vjp"),
    "ops.regression": ("Regression", "regression", "regression_vjp"),
    "ops.weights": ("weights", "weights_vjp"),
    "solved_rows": ("Weighting",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker it would make every name one of this module

    def __getattr__(name: str) -> Any:
        """Import the public name `name` on first use (PEP 562)."""
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        if name in __all__:
            return import_module(f"{__name__}.{name}")
        msg = f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}"
        raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
