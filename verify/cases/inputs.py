"""Build the arrays of a case: the inputs of its family, the meaning of their causal mask, and their cotangent.

Where the numbers of queries and keys differ, two alignments of a causal mask are in use. The op aligns the last query
with the last key, so that the last query sees every key (bottom-right, as in FlashAttention); others align the first
query with the first key, so that the first query sees only the first key (top-left, as `is_causal` of PyTorch). The
contract says which one a target promises. `resolve` turns it into the diagonal of the mask, the only form that the rest
of the package uses; targets of either kind are called with ``causal=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.errors import DomainError, meant
from kernelproof.verify.cases.families import families
from kernelproof.verify.records import CONTRACT_WORDS, Array, Contract, Flags, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.numbers import cast, normals

GRADIENT_KEYS = 130
"""Rows of at most this many keys get a cotangent: the real tensors have 128, and units have quadratic cost."""
BULK = 1 << 22
"""Inputs with more numbers get one call: second calls on changed inputs find the same faults in smaller inputs."""
_AS_DEFINED = Contract()
"""The contract of the op as it is defined."""


def inputs_of(case: Case, contract: Contract = _AS_DEFINED) -> Inputs:
    """Build the inputs of `case`, with a seeded cotangent where rows are short enough for gradients.

    Args:
        case: the recipe.
        contract: sets the meaning of a causal mask, see `resolve`; by default that of the definition of the op.

    Raises:
        DomainError: there is no such family, it has no such feature, or the heads do not divide evenly into groups.
    """
    known = families()
    if case.family not in known:
        msg = f"family must be one of {', '.join(known)}; got {case.family!r}{meant(case.family, known)}"
        raise DomainError(msg)
    if case.op == "attention" and (case.shape[-5] < 1 or case.shape[-6] % case.shape[-5]):
        msg = f"the heads H of attention are a multiple of Hk ≥ 1 in (..., H, Hk, T, S, d, e); got {case.shape!r}"
        raise DomainError(msg)
    inputs = known[case.family].build(case, case.generator())
    if inputs.cotangent is None:
        inputs = replace(inputs, cotangent=cotangent_for(case, inputs))
    return resolve(inputs, contract)


def resolve(inputs: Inputs, contract: Contract) -> Inputs:
    """Set the diagonal that the causal mask of `inputs` has under `contract`; return `inputs` if that changes nothing.

    >>> one, many = np.zeros((1, 2, 1)), np.zeros((1, 3, 1))
    >>> causal = Inputs({"q": one, "k": many, "v": many}, {"causal": True})
    >>> resolve(causal, Contract()).diagonal, resolve(causal, Contract(causal="top-left")).diagonal
    (1, 0)
    """
    diagonal = None
    if inputs.options.get("causal"):
        shift = inputs.arrays["k"].shape[-2] - inputs.arrays["q"].shape[-2]
        diagonal = 0 if contract.causal == "top-left" else shift
    return inputs if inputs.diagonal == diagonal else replace(inputs, diagonal=diagonal)


def other_readings(inputs: Inputs, contract: Contract) -> Iterator[tuple[Contract, Inputs]]:
    """Yield the contracts under which the causal mask of `inputs` means something else, with the inputs resolved."""
    for word in CONTRACT_WORDS["causal"]:
        other = replace(contract, causal=word)
        if (meant := resolve(inputs, other)).diagonal != resolve(inputs, contract).diagonal:
            yield other, meant


def output_shape(case: Case, inputs: Inputs) -> tuple[int, ...]:
    """The shape of the output of the op."""
    arrays = inputs.arrays
    if case.op in {"entmax", "weights"}:
        return next(iter(arrays.values())).shape
    return (*arrays["q"].shape[:-1], arrays["v"].shape[-1])


def each_once(change: Callable[[Array], Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Change each of `arrays`; an array that has several names, such as keys that are the queries, stays one array.

    >>> one = np.zeros(2)
    >>> found = each_once(np.copy, {"q": one, "k": one})
    >>> found["q"] is found["k"], found["q"] is one
    (True, False)
    """
    changed = {id(array): change(array) for array in arrays.values()}
    return {name: changed[id(array)] for name, array in arrays.items()}


def bulky(inputs: Inputs) -> bool:
    """Whether `inputs` have more than `BULK` numbers, or as many products of queries and keys."""
    sizes = [array.size for array in inputs.arrays.values()]
    if "q" in inputs.arrays:
        q, k = inputs.arrays["q"], inputs.arrays["k"]
        sizes.append(q.size * k.shape[-2])
    return max(sizes, default=0) > BULK


def cotangent_for(case: Case, inputs: Inputs) -> Array | None:
    """Seeded normals in the shape of the output; None for long rows, for sampled rows, and for empty outputs."""
    if case.size > GRADIENT_KEYS or inputs.rows is not None:
        return None
    if any(bool((np.isnan(a) | (a == np.inf)).any()) for a in (x.astype(np.float64) for x in inputs.arrays.values())):
        return None
    return cast(normals(case.generator("cotangent"), output_shape(case, inputs)), case.dtype)


def hidden_keys(case: Case, inputs: Inputs) -> Flags:
    """(..., Hk, S) keys of attention that the options of `inputs` hide from every query of every head that reads them.

    >>> from kernelproof.verify.cases.case import Case
    >>> line = "attention order=2 rule=adaptive:1 dtype=float64 family=padding shape=2x1x3x8x4x2 feature=mask seed=0"
    >>> case = Case.parse(line)
    >>> int(hidden_keys(case, inputs_of(case)).sum())
    4
    """
    *batch, heads, groups, count, size, _, _ = case.shape
    allowed = np.ones((*batch, heads, count, size), dtype=bool)
    mask = inputs.options.get("mask")
    if mask is not None:
        allowed &= mask if mask.dtype == bool else ~np.isneginf(mask.astype(np.float64))
    if (seen := inputs.causal_keys) is not None:
        allowed &= seen
    if inputs.options.get("lengths") is not None:
        allowed &= np.arange(size) < np.asarray(inputs.options["lengths"])[..., None, None, None]
    shared = allowed.reshape(*batch, groups, heads // groups, count, size)
    return np.asarray(~shared.any(axis=(-3, -2)))


def zero_empty_cotangents(inputs: Inputs, empty: Flags, contract: Contract) -> Inputs:
    """Set the cotangent of rows with nothing to attend to to 0 in `inputs`, if the contract allows any output for them.

    A target may return the mean of all values for such a row; that would add to the gradients of all values an amount
    that the truth does not have.

    Args:
        inputs: the inputs, with or without a cotangent.
        empty: (R,) the rows with nothing to attend to.
        contract: its `empty_row` says what the output of such rows must be.
    """
    if inputs.cotangent is None or inputs.rows is not None or contract.empty_row != "any" or not empty.any():
        return inputs
    given = inputs.cotangent
    upstream = np.where(empty.reshape(*given.shape[:-1], 1), np.zeros((), given.dtype), given)
    return replace(inputs, cotangent=upstream)
