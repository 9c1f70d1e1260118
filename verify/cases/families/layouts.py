"""Other layouts in memory: views whose elements are not contiguous, and read-only arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.axes import PAIRS, worded
from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.inputs import cotangent_for
from kernelproof.verify.cases.layout import Layout, packed
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Array, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_RECIPES = (
    ((5, 12), "transposed"),
    ((4, 11), "strided"),
    ((3, 10), "readonly"),
    ((4, 9), "offset"),
    ((6, 9), "broadcast"),
    ((2, 4, 9), "swapped"),
    ((3, 8), "reversed"),
    ((2, 3, 4, 5), "transposed"),
)
_FEATURES = tuple(dict.fromkeys(feature for _, feature in _RECIPES))
_MARGIN = 3
"""Elements before the first one of an ``offset`` view, so that it does not have the alignment of its memory."""


def laid(values: Array, feature: str) -> Array:
    """Lay out `values` (..., m) as a view of a larger or reordered memory; unused elements of the memory are NaN.

    Args:
        values: the values; for a ``broadcast`` view, every row is the first row.
        feature: a feature of the family.
    """
    shape = values.shape
    strides, offset, writeable = packed(shape), 0, True
    if feature == "transposed" or (feature == "swapped" and len(shape) == 2):
        strides = packed(shape[::-1])[::-1]
    elif feature == "swapped" and len(shape) > 2:
        other = packed((shape[1], shape[0], *shape[2:]))
        strides = (other[1], other[0], *other[2:])
    elif feature == "strided":
        strides = tuple(2 * stride for stride in strides)
    elif feature == "offset":
        wide = packed((*shape[:-1], shape[-1] + 2 * _MARGIN))
        strides, offset = wide, _MARGIN
    elif feature == "broadcast":
        values = np.broadcast_to(values.reshape(-1, shape[-1])[:1].reshape((1,) * (len(shape) - 1) + shape[-1:]), shape)
        strides, writeable = (*(0 for _ in shape[:-1]), 1), False
    elif feature == "reversed":
        strides, offset = (*strides[:-1], -1), max(shape[-1] - 1, 0)
    elif feature == "readonly":
        writeable = False
    last = offset + sum((size - 1) * max(stride, 0) for size, stride in zip(shape, strides, strict=True))
    memory = np.full((max(last, 0) + 1 + _MARGIN,), np.nan).astype(values.dtype)
    if prod(shape):
        Layout(memory, strides, offset).view(shape)[...] = values
    else:
        strides, offset = packed(shape), 0
    return Layout(memory, strides, offset, writeable).view(shape)


def swapped(values: Array) -> Array:
    """`values` with the axes before the last exchanged in memory, such as heads and tokens; their shape stays."""
    if values.ndim < 3:
        return laid(values, "transposed")
    return np.ascontiguousarray(values.swapaxes(-3, -2)).swapaxes(-3, -2)


def layer(case: Case) -> Callable[[Array], Array] | None:
    """How the arrays of `case` lie in memory: what turns packed ones into them; None if they are packed."""
    if case.family == "layouts":
        return partial(laid, feature=case.feature)
    if case.family != PAIRS:
        return None
    layout = worded(case.op, case.feature)["layout"]
    return None if layout == "packed" else swapped if layout == "swapped" else partial(laid, feature=layout)


class Layouts:
    """The feature says how the scores, or queries, keys and values, and likewise the cotangent, lie in memory.

    ``transposed`` is Fortran order, ``swapped`` exchanges the first two axes, ``strided`` takes every second
    element, ``offset`` a slice of longer rows, ``broadcast`` repeats one row with stride 0, ``reversed`` runs
    backwards along the keys, and ``readonly`` may not be written to; nor may ``broadcast``.
    """

    id = "layouts"
    title = "views and read-only arrays"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Every feature for scores, and a transposed view of rank 4; four features for the other ops."""
        if op in {"entmax", "weights"}:
            yield from _RECIPES
        else:
            shape = (2, 9, 3, 2) if op == "regression" else (2, 1, 3, 9, 4, 2)
            yield from ((shape, feature) for feature in ("swapped", "strided", "offset", "readonly"))

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs, laid out as the feature says."""
        feature = one_of(case, _FEATURES)
        scores = case.op in {"entmax", "weights"}
        plain = (
            scored(case, settle(case, 2.0 * normals(generator, case.shape)))
            if scores
            else Inputs(mixed(case, generator))
        )
        upstream = cotangent_for(case, plain)
        arrays = {name: laid(array, feature) for name, array in plain.arrays.items()}
        return replace(plain, arrays=arrays, cotangent=None if upstream is None else laid(upstream, feature))


FAMILY = Layouts()
