"""Variants: user-defined mechanisms, from a kernel profile and a bandwidth rule written once.

>>> from kernelproof.reference import variant
>>> softplus = variant.Variant(
...     "softplus", lambda x, t: x.log1p(x.exp(-t)), variant.mass(1, (-64, 64)), geometry="shift", edge=None
... )
>>> variant.weights([0.0, 0.0], softplus).weights.round("float64").tolist()
[0.5, 0.5]
"""

from __future__ import annotations

from kernelproof.reference.variant.definition import Constant, Root, Variant, mass
from kernelproof.reference.variant.ops import cross_check, weights, weights_vjp

__all__ = ["Constant", "Root", "Variant", "cross_check", "mass", "weights", "weights_vjp"]
