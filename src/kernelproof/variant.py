"""Define your own mechanisms: write a kernel profile and a bandwidth rule, and get truth, gradients and checks.

>>> from kernelproof import variant
>>> cosine = variant.Variant(
...     "cosine", lambda x, t: x.cos(x.pi * t / 2) ** 2, variant.Constant(), order=2, parameters={"gamma": 2}
... )
>>> variant.weights([0.0, 1.0], cosine).weights.round("float64").round(3).tolist()
[0.333, 0.667]
"""

from __future__ import annotations

from kernelproof.reference.variant import Constant, Root, Variant, cross_check, mass, weights, weights_vjp

__all__ = ["Constant", "Root", "Variant", "cross_check", "mass", "weights", "weights_vjp"]
