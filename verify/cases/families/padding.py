"""Keys that no query may attend to; whatever their keys and values hold must not matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.verify.cases.builders import additive, mixed
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import shuffled
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("mask", "bias", "lengths", "causal")


class Padding:
    """The feature says what hides the keys: a boolean or additive mask, or lengths; ``causal`` adds a causal mask.

    Half of the keys are hidden from all queries and heads; every query has keys left.
    """

    id = "padding"
    title = "keys hidden from all queries"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature, for attention only: the other ops have no masks."""
        if op == "attention":
            yield from ((((2,) if feature == "lengths" else ()) + (2, 1, 3, 8, 4, 2), feature) for feature in _FEATURES)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs, also finite at hidden keys: `hidden_keys` says where a check may put other values."""
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


FAMILY = Padding()
