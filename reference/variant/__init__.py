"""Variants: user-defined mechanisms, from a kernel profile and a bandwidth rule written once.

>>> from kernelproof.reference import variant
>>> softplus = variant.Variant(
...     "softplus", lambda x, t: x.log1p(x.exp(-t)), variant.mass(1, (-64, 64)), geometry="shift", edge=None
... )
>>> variant.weights([0.0, 0.0], softplus).weights.round("float64").tolist()
[0.5, 0.5]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kernelproof.reference.variant.definition import Constant, Root, Variant, mass

if TYPE_CHECKING:
    from kernelproof.reference.variant.ops import cross_check, weights, weights_vjp

__all__ = ["Constant", "Root", "Variant", "cross_check", "mass", "weights", "weights_vjp"]


if not TYPE_CHECKING:  # to a type checker it would make every name one of this module

    def __getattr__(name: str) -> Any:
        """Import what computes weights on first use (PEP 562): whoever only names a variant loads no arithmetic."""
        if name in __all__:
            return getattr(import_module(f"{__name__}.ops"), name)
        msg = f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}"
        raise AttributeError(msg)
