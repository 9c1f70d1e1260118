"""Keys that no query may attend to: what stands there, in keys and values, is nobody's business."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.verify.cases.arguments import additive, mixed, one_of
from kernelproof.verify.cases.causal import seen_keys
from kernelproof.verify.cases.numbers import shuffled
from kernelproof.verify.records import Flags, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("mask", "bias", "lengths", "causal")


class Padding:
    """The feature says what hides them: a boolean or an additive mask, or the lengths; ``causal`` adds that to a mask.

    Half of the keys are hidden from all queries and heads; every query has keys left.
    """

    id = "padding"
    title = "keys hidden from all queries"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Each of them, for attention: the other ops have no masks."""
        if op == "attention":
            yield from ((((2,) if feature == "lengths" else ()) + (2, 1, 3, 8, 4, 2), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs, finite behind the mask too: `hidden_keys` says where a check may put something else."""
        feature = one_of(case, _FEATURES)
        *batch, _, _, count, size, _, _ = case.shape
        arrays = mixed(case, generator)
        hidden = np.zeros(size, dtype=bool)
        hidden[shuffled(generator, size)[: size // 2]] = True
        if feature == "causal":
            # The first query sees the first size − count + 1 keys: one of them stays.
            hidden[0] = False
        options: dict[str, Any] = {}
        if feature == "lengths":
            lengths = size // 2 - np.arange(int(np.prod(batch, dtype=int))) % max(size // 2, 1)
            options["lengths"] = lengths.astype(np.int64).reshape(batch)
        elif feature == "bias":
            options["mask"] = additive(case, np.broadcast_to(np.where(hidden, -np.inf, 0.0), (count, size)))
        else:
            options["mask"] = np.broadcast_to(~hidden, (count, size)).copy()
        if feature == "causal":
            options["causal"] = True
        return Inputs(arrays, options)


def hidden_keys(case: Case, inputs: Inputs) -> Flags:
    """(..., Hk, S) keys of attention that the options of `inputs` hide from every query of every head that reads them.

    >>> from kernelproof.verify.cases.case import Case
    >>> from kernelproof.verify.cases.inputs import inputs_of
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
    if inputs.options.get("causal"):
        allowed &= seen_keys(count, size, inputs.options["causal"])
    if inputs.options.get("lengths") is not None:
        allowed &= np.arange(size) < np.asarray(inputs.options["lengths"])[..., None, None, None]
    shared = allowed.reshape(*batch, groups, heads // groups, count, size)
    return np.asarray(~shared.any(axis=(-3, -2)))


FAMILY = Padding()
