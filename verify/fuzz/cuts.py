"""Cut a subject along rows, keys, heads or widths, in all arrays that have the corresponding axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernelproof.verify.cases.subject import Subject, plain
from kernelproof.verify.records import Array, Inputs

Axes = dict[str, tuple[str, ...]]
"""Argument -> the letters of its axes."""


def letters(subject: Subject) -> tuple[str, ...]:
    """The letter of each size in the shape of the case: b0, b1, … for batches, then the letters of docs/theory.md.

    T queries, S keys, d and e widths, H and G heads of queries and of keys.
    """
    tails = {"entmax": ("S",), "weights": ("S",), "regression": tuple("TSde"), "attention": tuple("HGTSde")}
    tail = tails[subject.case.op]
    count = len(subject.case.shape) - len(tail)
    return (*(f"b{at}" for at in range(count)), *tail)


def axes_of(subject: Subject) -> Axes:
    """The axes of every array, the cotangent and the options among them."""
    op = subject.case.op
    batch = tuple(name for name in letters(subject) if name.startswith("b"))
    if op in {"entmax", "weights"}:
        name = "z" if op == "entmax" else "scores"
        return {name: (*batch, "S"), "cotangent": (*batch, "S")}
    heads, groups = (("H",), ("G",)) if op == "attention" else ((), ())
    return {
        "q": (*batch, *heads, "T", "d"),
        "k": (*batch, *groups, "S", "d"),
        "v": (*batch, *groups, "S", "e"),
        "cotangent": (*batch, *heads, "T", "e"),
        "mask": (*batch, *heads, "T", "S"),
        "lengths": batch,
    }


def cut(subject: Subject, letter: str, kept: Sequence[int]) -> Subject:
    """Keep only the indices `kept` along `letter`; of heads of queries H, also their heads of keys."""
    assert subject.inputs is not None  # a shrinker has made them explicit
    axes, inputs = axes_of(subject), subject.inputs
    wanted = {letter: list(kept)}
    sizes = dict(zip(letters(subject), subject.case.shape, strict=True))
    if letter == "H":
        share = sizes["H"] // sizes["G"]
        wanted["G"] = sorted({at // share for at in kept})

    def part(name: str, array: Any) -> Any:
        if not hasattr(array, "dtype"):
            return array
        # Options are broadcast: they may have fewer axes, and axes of size 1.
        names = axes[name][len(axes[name]) - array.ndim :]
        for axis, each in enumerate(names):
            if each in wanted and (array.shape[axis] > 1 or name != "mask"):
                array = np.take(array, wanted[each], axis=axis)
        return plain(array) if array.ndim else array

    shape = tuple(len(wanted[name]) if name in wanted else sizes[name] for name in letters(subject))
    upstream = inputs.cotangent
    return Subject(
        replace(subject.case, shape=shape),
        Inputs(
            arrays={name: part(name, array) for name, array in inputs.arrays.items()},
            options={name: part(name, value) for name, value in inputs.options.items()},
            cotangent=None if upstream is None else part("cotangent", upstream),
        ),
    )


def shares(subject: Subject, axis: int, kept: Sequence[int]) -> bool:
    """Whether all heads of keys that remain keep equally many heads of queries; true for other axes."""
    sizes = dict(zip(letters(subject), subject.case.shape, strict=True))
    if letters(subject)[axis] != "H":
        return True
    share = sizes["H"] // sizes["G"]
    return len(set(Counter(at // share for at in kept).values())) == 1


def flattened(subject: Subject) -> Subject | None:
    """Merge the axes before the keys into one, or drop them if there is one row; None if nothing would change."""
    assert subject.inputs is not None  # a shrinker has made them explicit
    if subject.case.op not in {"entmax", "weights"} or len(subject.case.shape) == 1:
        return None
    size = subject.case.shape[-1]
    count = int(np.prod(subject.case.shape[:-1]))
    shape = (size,) if count == 1 else (count, size)
    if shape == subject.case.shape:
        return None

    def reshaped(array: Array) -> Array:
        return plain(array.reshape(shape))

    inputs, upstream = subject.inputs, subject.inputs.cotangent
    arrays = {name: reshaped(array) for name, array in inputs.arrays.items()}
    return Subject(
        replace(subject.case, shape=shape),
        replace(inputs, arrays=arrays, cotangent=None if upstream is None else reshaped(upstream), rows=None),
    )


def chunks(size: int) -> Iterator[list[int]]:
    """The subsets of `size` indices to try: one index at either end, then all but one part, of ever smaller parts.

    >>> list(chunks(3))
    [[0], [2], [1, 2], [0, 2], [0, 1]]
    """
    if size < 2:
        return
    yield [0]
    yield [size - 1]
    part = size // 2
    while part >= 1:
        for start in range(0, size, part):
            kept = [at for at in range(size) if not start <= at < start + part]
            if kept and kept not in ([0], [size - 1]):
                yield kept
        part //= 2
