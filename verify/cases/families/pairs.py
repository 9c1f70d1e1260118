"""Combinations of options, shapes, layouts and dtypes: the plan has a case for every pair of them that can occur.

Inputs are as ordinary as their levels let them be, so that a fault shows in the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Fixed, Nearest
from kernelproof.verify.cases.axes import ADDITIVE, BEYOND, BOOLEAN, PAIRS, worded
from kernelproof.verify.cases.builders import WITHOUT_INFINITY, additive, mixed_shapes, scored, settle
from kernelproof.verify.cases.families.layouts import layer
from kernelproof.verify.cases.families.planted_support import planted_gaps
from kernelproof.verify.cases.inputs import cotangent_for, each_once
from kernelproof.verify.cases.numbers import cast, integers, normals, shuffle_rows, shuffled, uniforms
from kernelproof.verify.cases.sizes import rows_with_truth
from kernelproof.verify.records import Array, Flags, Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_LARGE = 288.0
"""The square is beyond 65504, the largest number of float16; a number of every format."""
_BROAD = 2.0
"""The standard deviation of the scores of a row, times its keys, at which order 1 keeps more than half of them: of m
normal scores with the standard deviation σ, the half above the median exceeds it by 0.4·m·σ in all, and the excess over
the threshold is 1."""


class Pairs:
    """The feature names levels of `kernelproof.verify.cases.axes`, joined by ``+``; the shape has the others."""

    id = PAIRS
    title = "pairs of options, shapes and layouts"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Nothing: `kernelproof.verify.cases.combined` plans this family from what a target takes."""
        yield from ()

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs with these levels.

        Raises:
            DomainError: the feature is no combination of levels.
        """
        held = worded(case.op, case.feature)
        plain = (
            self._scored(case, generator, held)
            if case.op in {"entmax", "weights"}
            else self._mixed(case, generator, held)
        )
        if (lay := layer(case)) is None:
            return plain
        upstream = cotangent_for(case, plain)
        options = {name: lay(value) if name == "mask" else value for name, value in plain.options.items()}
        return replace(
            plain,
            arrays=each_once(lay, plain.arrays),
            options=options,
            cotangent=None if upstream is None else lay(upstream),
        )

    def _scored(self, case: Case, generator: np.random.Generator, held: Mapping[str, str]) -> Inputs:
        if held["magnitude"] == "broad":
            kept = case.parsed_rule.k if isinstance(case.parsed_rule, Nearest) else case.size
            gaps = planted_gaps(case, min(max(3 * case.size // 4, 1), kept), generator)
            rows = shuffle_rows(generator, -gaps).reshape(case.shape)
        else:
            rows = settle(case, (0.25 if held["magnitude"] == "flat" else 2.0) * normals(generator, case.shape))
        if held["magnitude"] == "far" and not isinstance(case.inner_rule, Fixed):
            rows = np.round(4 * rows) / 4 + min(2.0 ** FORMATS[case.dtype].precision / 16, 4096.0)
        if held["hidden"] != "hide-none" and case.dtype not in WITHOUT_INFINITY:
            limits = np.full(case.shape[:-1], case.size)
            rows = np.where(_hidden(held["hidden"], limits, case.size, generator), -np.inf, rows)
        return scored(case, rows, _picked(case, generator, int(np.prod(case.shape[:-1]))))

    def _mixed(self, case: Case, generator: np.random.Generator, held: Mapping[str, str]) -> Inputs:
        arrays = self._arrays(case, generator, held)
        options = _options(case, generator, held) if case.op == "attention" else {}
        return Inputs(arrays, options, rows=_picked(case, generator, int(np.prod(mixed_shapes(case)["q"][:-1]))))

    def _arrays(self, case: Case, generator: np.random.Generator, held: Mapping[str, str]) -> dict[str, Array]:
        shapes = mixed_shapes(case)
        width = max(case.shape[-2], 1)
        distances = case.op == "regression" or held["key_norm_term"] == "key-norm"
        spread = 1.0
        if distances:
            # Squared distances of about 2, within a ball, or of standard deviation 2; a scale of 1/√width halves
            # the power.
            power = 0.5 if isinstance(case.inner_rule, Fixed) else 0.25
            spread = float(width) ** (-power if case.op == "regression" else -power / 2)
        values = {name: normals(generator, shape) * (1.0 if name == "v" else spread) for name, shape in shapes.items()}
        if held["magnitude"] == "broad":
            for name in "qk":
                values[name] *= min(_BROAD / max(shapes["k"][-2], 1), 1.0) ** 0.5
        if held["magnitude"] in BEYOND:
            for name in "qk":
                values[name][..., 0] = _LARGE
        if held["content"] == "one-hot-values":
            values["v"][...] = (
                np.arange(shapes["v"][-1]) == (np.arange(shapes["v"][-2]) % max(shapes["v"][-1], 1))[:, None]
            )
        arrays = {name: cast(array, case.dtype) for name, array in values.items()}
        if held["identity"] == "q-is-k" and shapes["q"] == shapes["k"]:
            arrays["k"] = arrays["q"]
        return arrays


def _picked(case: Case, generator: np.random.Generator, count: int) -> NDArray[np.intp] | None:
    """The rows, of `count`, that have a truth; None means all. The last is among them: if causal, it sees most keys."""
    wanted = rows_with_truth(case.op, case.shape)
    if wanted is None:
        return None
    return np.sort(np.append(shuffled(generator, count - 1)[: wanted - 1], count - 1)).astype(np.intp)


def _options(case: Case, generator: np.random.Generator, held: Mapping[str, str]) -> dict[str, Any]:
    *batch, heads, _, count, size, _, _ = case.shape
    options: dict[str, Any] = {}
    # How many keys each query sees before the mask: its own ones, by causality and length.
    limits = np.full((*batch, heads, count), size)
    if held["causal"] == "causal":
        options["causal"] = True
        limits = np.minimum(limits, np.arange(count) + 1 + size - count)
    if held["lengths"] == "lengths":
        turn = np.arange(int(np.prod(batch, dtype=int))).reshape(batch)
        lengths = np.asarray(np.maximum(size - 1 - turn * 5 % max(size // 4, 1), min(size, 1)), dtype=np.int64)
        options["lengths"] = lengths
        limits = np.minimum(limits, lengths[..., None, None])
    if held["scale"] == "scale":
        options["scale"] = 0.375
    if held["key_norm_term"] == "key-norm":
        options["key_norm_term"] = True
    kind = held["mask"]
    if kind == "no-mask":
        return options
    # Rows that share a mask all keep a key if the one that sees the fewest does. All see the first key, so that the
    # last ones can be hidden from those that see the most.
    least = np.max if held["hidden"] == "hide-last" else np.min
    if kind.endswith("-wide"):
        limits = limits.reshape(-1, count).min(axis=0)
    elif kind.endswith("-keys"):
        limits = least(limits, axis=(-2, -1), keepdims=True)
    elif kind.endswith("-heads"):
        limits = least(limits, axis=tuple(range(len(batch))), keepdims=True)
    allowed = ~_hidden(held["hidden"], np.maximum(limits, 1), size, generator)
    if kind in BOOLEAN:
        return options | {"mask": allowed}
    assert kind in ADDITIVE
    bias = integers(generator, 17, allowed.shape) / 4.0 - 2.0
    return options | {"mask": additive(case, np.where(allowed, bias, -np.inf))}


def _hidden(kind: str, limits: Any, size: int, generator: np.random.Generator) -> Flags:
    """(…, m) flags of the hidden keys of rows that see the first `limits` keys, (…): one of these keys stays visible.

    Args:
        kind: one of `kernelproof.verify.cases.axes.HIDDEN`.
        limits: at least 1.
        size: m.
        generator: draws which keys are hidden here and there.
    """
    position = np.arange(size)
    least = limits[..., None]
    draw: Floats = uniforms(generator, (*limits.shape, size))
    keep = np.argmax(np.where(position < least, draw, -1.0), axis=-1, keepdims=True)
    if kind == "hide-but-one":
        return np.asarray(position != keep)
    if kind == "hide-last":
        return np.asarray(position >= np.maximum(least - np.maximum(least // 4, 1), 1))
    if kind == "hide-first":
        block = max((each for each in _BLOCKS if each < size), default=0)
        while block > 1 and not (limits > block).any():
            block //= 2
        turn = np.arange(limits.shape[-1] if limits.ndim else 1).reshape(limits.shape[-1:]) % 2 == 0
        return np.asarray((position < block) & (least > block) & turn[..., None])
    return np.asarray((draw < 0.4) & (position != keep))


FAMILY = Pairs()
