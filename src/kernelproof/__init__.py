"""kernelproof: certified ground truth for sparse attention, and the verification of implementations against it.

Public names are imported on first use, so that ``import kernelproof`` is cheap.

>>> import kernelproof
>>> kernelproof.mechanism("entmax15").kernel
Kernel(order=Fraction(2, 1))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelproof import reference
    from kernelproof.commands.fuzz import fuzz
    from kernelproof.commands.worst_case import worst_case
    from kernelproof.reference.errors import BackendUnavailable, DomainError, NotWritten, TargetError, UndecidedError
    from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Mechanism, Nearest, mechanism
    from kernelproof.verify import CallablePackage
    from kernelproof.verify.backends import backend
    from kernelproof.verify.targets.declaration import Declaration, declare

    verify: CallablePackage

__version__ = "0.1.0"

__all__ = [
    "Adaptive",
    "Anchored",
    "BackendUnavailable",
    "Declaration",
    "DomainError",
    "Fixed",
    "Kernel",
    "Mechanism",
    "Nearest",
    "NotWritten",
    "TargetError",
    "UndecidedError",
    "__version__",
    "backend",
    "declare",
    "fuzz",
    "mechanism",
    "reference",
    "verify",
    "worst_case",
]

_SUBPACKAGES = frozenset({"reference", "verify"})
_HOMES = {
    **dict.fromkeys(
        ("Adaptive", "Anchored", "Fixed", "Kernel", "Mechanism", "Nearest", "mechanism"), "kernelproof.reference.model"
    ),
    **dict.fromkeys(
        ("BackendUnavailable", "DomainError", "NotWritten", "TargetError", "UndecidedError"),
        "kernelproof.reference.errors",
    ),
    "backend": "kernelproof.verify.backends",
    **dict.fromkeys(("Declaration", "declare"), "kernelproof.verify.targets.declaration"),
    "fuzz": "kernelproof.commands.fuzz",
    "worst_case": "kernelproof.commands.worst_case",
}


if not TYPE_CHECKING:  # to a type checker it would make every name one of this module

    def __getattr__(name: str) -> Any:
        """Import the public name `name` on first use (PEP 562)."""
        if name in _SUBPACKAGES:
            return import_module(f"kernelproof.{name}")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        msg = f"module 'kernelproof' has no attribute {name!r}; public names: {', '.join(__all__)}"
        raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
