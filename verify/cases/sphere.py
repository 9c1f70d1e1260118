"""Queries and keys of unit norm, each query near one key: where ReLU of q·k + b is a kernel of one bandwidth (C2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.building import cast, integers, mixed_shapes, normals, one_of
from kernelproof.verify.seams import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.case import Case

_SPREADS = {"near": 0.125, "far": 1.0}


def unit(values: Floats) -> Floats:
    """`values` (..., d) over their norms; a row of zeros stays."""
    norm = np.sqrt((values**2).sum(axis=-1, keepdims=True))
    return np.asarray(values / np.where(norm > 0, norm, 1.0))


class Sphere:
    """The feature says how far the queries are from their keys: ``near``, an eighth of a standard normal, or ``far``.

    For attention the scores carry the key norm term, so that distances count, and the mask is causal.
    """

    id = "sphere"
    title = "queries and keys of unit norm"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Both distances."""
        if op == "regression":
            yield from (((3, 9, 4, 2), feature) for feature in _SPREADS)
        elif op == "attention":
            yield from (((2, 1, 9, 9, 4, 2), feature) for feature in _SPREADS)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Norms of 1 but for the rounding of each coordinate; the first queries are near the first keys."""
        spread = _SPREADS[one_of(case, tuple(_SPREADS))]
        shapes = mixed_shapes(case)
        key = unit(normals(generator, shapes["k"]))
        heads = shapes["q"][-3] // max(shapes["k"][-3], 1) if case.op == "attention" else 1
        wide = np.repeat(key, heads, axis=-3) if heads > 1 else key
        count, size = shapes["q"][-2], max(key.shape[-2], 1)
        pick = np.arange(count) % size if case.op == "attention" else integers(generator, size, (count,))
        near = wide[..., pick, :] if key.shape[-2] else np.zeros(shapes["q"])
        query = unit(near + spread * normals(generator, shapes["q"]))
        arrays = {"q": query, "k": key, "v": normals(generator, shapes["v"])}
        options = {"scale": 1.0, "key_norm_term": True, "causal": True} if case.op == "attention" else {}
        return Inputs({name: cast(array, case.dtype) for name, array in arrays.items()}, options)


FAMILY = Sphere()
