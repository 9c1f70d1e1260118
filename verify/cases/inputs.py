"""From a case to arrays: the inputs that its family builds, and the cotangent that goes with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.families import families
from kernelproof.verify.records import Array, Contract, Flags, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.numbers import cast, normals

GRADIENT_KEYS = 130
"""Rows of at most so many keys get a cotangent: the real tensors have 128, and units take the square of it."""
BULK = 1 << 22
"""Inputs of more numbers are asked for once: what a second call on changed inputs tells, smaller ones tell too."""


def inputs_of(case: Case) -> Inputs:
    """The inputs that the family of `case` builds, with a seeded cotangent where rows are short enough for gradients.

    Raises:
        DomainError: there is no such family, it has no such feature, or the heads share no groups of keys evenly.
    """
    known = families()
    if case.family not in known:
        msg = f"family must be one of {', '.join(known)}; got {case.family!r}"
        raise DomainError(msg)
    if case.op == "attention" and (case.shape[-5] < 1 or case.shape[-6] % case.shape[-5]):
        msg = f"the heads H of attention are a multiple of Hk ≥ 1 in (..., H, Hk, T, S, d, e); got {case.shape!r}"
        raise DomainError(msg)
    inputs = known[case.family].build(case, case.generator())
    if inputs.cotangent is None:
        inputs = replace(inputs, cotangent=cotangent_for(case, inputs))
    return inputs


def output_shape(case: Case, inputs: Inputs) -> tuple[int, ...]:
    """The shape of what the op returns."""
    arrays = inputs.arrays
    if case.op in {"entmax", "weights"}:
        return next(iter(arrays.values())).shape
    return (*arrays["q"].shape[:-1], arrays["v"].shape[-1])


def bulky(inputs: Inputs) -> bool:
    """Whether `inputs` are more than `BULK` numbers."""
    return max((array.size for array in inputs.arrays.values()), default=0) > BULK


def cotangent_for(case: Case, inputs: Inputs) -> Array | None:
    """Seeded normals in the shape of the output; None for long rows, for rows that are sampled, and without numbers."""
    if case.size > GRADIENT_KEYS or inputs.rows is not None:
        return None
    if any(bool((np.isnan(a) | (a == np.inf)).any()) for a in (x.astype(np.float64) for x in inputs.arrays.values())):
        return None
    return cast(normals(case.generator("cotangent"), output_shape(case, inputs)), case.dtype)


def spared(inputs: Inputs, empty: Flags, contract: Contract) -> Inputs:
    """`inputs` without an upstream gradient for rows with nothing to attend to, if those may be anything.

    A mean of all values is such a row, and adds to the gradients of all values what the truth has no share of.

    Args:
        inputs: with a cotangent or without.
        empty: (R,) the rows with nothing to attend to.
        contract: whose `empty_row` says what they are.
    """
    if inputs.cotangent is None or inputs.rows is not None or contract.empty_row != "any" or not empty.any():
        return inputs
    given = inputs.cotangent
    upstream = np.where(empty.reshape(*given.shape[:-1], 1), np.zeros((), given.dtype), given)
    return replace(inputs, cotangent=upstream)
