"""Which gradients belong to single rows, and which are sums over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.records import Contract, Flags, Floats, Inputs, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

SCORES = frozenset({"z", "scores"})
"""Names of the argument that holds scores."""


def by_row(case: Case, name: str) -> bool:
    """Whether each row has its own gradient in the argument `name`; other gradients are sums over rows.

    >>> from kernelproof.verify.cases.case import Case
    >>> shape = "order=1 rule=adaptive:1 dtype=float64 family=random shape=2x3x4x5 feature=1 seed=0"
    >>> [by_row(Case.parse(f"regression {shape}"), name) for name in "qkv"]
    [True, False, False]
    """
    return name in SCORES or (name == "q" and case.op in {"regression", "attention"})


def empty_elements(case: Case, name: str, shape: tuple[int, ...], truth: Truth) -> Flags:
    """The elements of a gradient of this `shape` that belong to rows with nothing to attend to.

    The gradient in a number, such as the order, belongs to all rows at once.
    """
    if not shape:
        return np.asarray(truth.empty.any())
    if not by_row(case, name) or int(np.prod(shape[:-1])) != truth.empty.size:
        return np.zeros(shape, dtype=bool)
    return np.broadcast_to(truth.empty.reshape(*shape[:-1], 1), shape)


def spoiled_elements(case: Case, inputs: Inputs, name: str, raw: Floats, truth: Truth, contract: Contract) -> Flags:
    """The elements of a gradient summed over rows that are NaN because a row with nothing to attend to may be.

    Where an empty row may be NaN, its contribution to the gradients of the keys and values it shares with other rows is
    NaN as well, whatever its upstream gradient is: 0 times NaN. Gradients of keys of other heads are not concerned.
    """
    none = np.zeros(raw.shape, dtype=bool)
    if (
        by_row(case, name)
        or not truth.empty.any()
        or contract.empty_row not in {"any", "nan"}
        or inputs.rows is not None
    ):
        return none
    if name not in {"k", "v"}:
        return np.isnan(raw)
    empty = np.asarray(truth.empty.reshape(inputs.arrays["q"].shape[:-1]).any(axis=-1))
    if case.op == "attention":
        groups = raw.shape[-3]
        empty = np.asarray(empty.reshape(*empty.shape[:-1], groups, -1).any(axis=-1))
    return np.isnan(raw) & np.broadcast_to(empty[..., None, None], raw.shape)
