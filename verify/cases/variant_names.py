"""Variants in the text of a case: ``variant:file.py:OBJECT``.

Kept apart from `truth.variants`, which proves their weights and loads no code of users.
"""

from __future__ import annotations

from functools import cache

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.model import INFINITY
from kernelproof.reference.variant.definition import Constant, Variant
from kernelproof.verify.importing import load_object

PREFIX = "variant"


@cache
def variant_at(text: str) -> Variant:
    """Load the variant that ``file.py:OBJECT`` or ``package.module:OBJECT`` names.

    Raises:
        DomainError: there is no such object, or it is not a `Variant`.
    """
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name:
        msg = f"a variant is file.py:OBJECT or package.module:OBJECT; got {text!r}"
        raise DomainError(msg)
    try:
        found, _ = load_object(text, module, name)
    except TargetError as error:
        msg = f"the variant {text!r} cannot be loaded: {error}"
        raise DomainError(msg) from None
    if not isinstance(found, Variant):
        msg = f"{text} must be a kernelproof.variant.Variant; got {found!r}"
        raise DomainError(msg)
    from kernelproof.reference.variant.user_calls import probe  # noqa: PLC0415 (only a variant needs arithmetic here)

    probe(found)
    return found


def order_text(variant: Variant) -> str:
    """The order of `variant` as cases write it."""
    return "inf" if variant.order == INFINITY else str(variant.order)


def nominal_reach(variant: Variant) -> float:
    """The gap beyond which a key has no weight, ∞ if there is none; if γ is not given, a typical gap of scores, 2."""
    if variant.exact_edge is None:
        return float("inf")
    from kernelproof.reference.variant.row_solver import threshold  # noqa: PLC0415 (as above)

    return float(threshold(variant, variant.gamma)) if isinstance(variant.bandwidth, Constant) else 2.0
