"""Sizes of the levels of `axes`: the shape of a case with given levels, as small as the levels let it be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import TypeVar

from kernelproof.verify.cases.axes import KEYS, LONG, WIDE
from kernelproof.verify.cases.covering import Row
from kernelproof.verify.cases.inputs import GRADIENT_KEYS

Shape = tuple[int, ...]
T = TypeVar("T")
_FEW = (9, 5, 12, 7, 33, 8, 17, 40)
_SIZES = {
    "keys≤64": _FEW,
    "keys≤512": (66, 81, 67, 130, 72, 96, 129, 300),
    "keys≤4096": (520, 513, 577, 528, 1025),
    "keys>4096": (4100, 4097, 4104, 4113),
}
"""Lengths to take first, in an order that the levels choose; rarely a multiple of a block, where no fault shows."""
_BLOCKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_LENGTHS = {"even": (12, 6, 34), "odd": (9, 5, 33), "multiple-of-32": (32, 64), "before-32": (31, 63)}
_OFFSETS = {"keys≤512": (64, 128, 96), "keys≤4096": (512, 544, 608), "keys>4096": (4096, 4160)}
"""Added to a short length of the same kind; up to 1024 an odd one is between the blocks of 512 and 1024 threads."""
_HEADS = {
    "one-head": ((1, 1),),
    "own-key-heads": ((2, 2), (3, 3)),
    "grouped-heads": ((4, 2), (6, 3)),
    "one-key-head": ((3, 1), (2, 1)),
}
_BATCHES = {"no-batch": ((),), "batch": ((2,), (3,)), "batches": ((2, 2), (1, 2)), "inner-one": ((2, 1), (3, 1))}
_LONG_BATCHES: dict[str, tuple[Shape, ...]] = {
    "no-batch": ((),),
    "batch": ((2,),),
    "batches": ((1, 2),),
    "inner-one": ((2, 1),),
}
_LONG_HEADS = {"one-head": ((1, 1),), "own-key-heads": ((2, 2),), "grouped-heads": ((4, 2),), "one-key-head": ((2, 1),)}
"""With hundreds of keys, fewer of both."""
_ROWS = 6
_SCORES = 30_000
_PRODUCTS = 150_000
"""Products of queries with keys and of weights with values: half a second of exact arithmetic, with gradients."""
_SCORE = 16
"""The products that take as long as all else that is done for one score."""


def shape_of(op: str, row: Row, allows: Callable[[Shape], bool] = lambda _: True) -> Shape | None:
    """A shape of a case of `op` with the levels of sizes in `row` that `allows` takes; None if it takes none.

    >>> shape_of("entmax", {"axes": "inner-one", "count": "few-rows", "keys": "keys≤512", "length": "odd"})
    (3, 1, 73)
    """
    found = _scored(row) if op in {"entmax", "weights"} else _mixed(op, row)
    return next((shape for shape in found if allows(shape)), None)


def _turned(row: Row, name: str, values: tuple[T, ...]) -> tuple[T, ...]:
    """`values` from a place on that the levels choose, so that equal levels do not always have equal sizes."""
    text = f"{name}|{'|'.join(f'{axis}={level}' for axis, level in sorted(row.items()))}"
    first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") % len(values)
    return (*values[first:], *values[:first])


def _scored(row: Row) -> Iterator[Shape]:
    low, high = KEYS[row["keys"]]
    wanted = row["length"]
    usual = [
        offset + size
        for offset in _turned(row, "offset", _OFFSETS.get(row["keys"], (0,)))
        for size in _turned(row, "length", _LENGTHS[wanted])
    ]
    blocks = _BLOCKS if wanted == "multiple-of-32" else ()
    sizes = [size for size in (*usual, *blocks) if low <= size <= high]
    counts = {"single-row": (1,), "few-rows": (3, 2, 4, 6), "many-rows": (131, 129, 128, 258)}[row["count"]]
    for size, count in product(sizes, counts):
        if row["axes"] == "one-row":
            yield (size,)
        elif row["axes"] == "rows":
            yield (count, size)
        elif row["axes"] == "inner-one":
            yield (count, 1, size)
        elif row["axes"] == "outer-one":
            yield (1, count, size)
        else:
            first = next((each for each in (2, 3) if not count % each and count > each), 2)
            yield (first, max(count // first, 2), size)


def _mixed(op: str, row: Row) -> Iterator[Shape]:
    low, high = KEYS[row["keys"]]
    width = int(row["width"].rpartition("-")[2])
    square = row["queries"] in {"as-many", "more", "long"}
    few = tuple(size for size in _SIZES[row["keys"]] if not square or size <= 96) or _SIZES[row["keys"]][:3]
    # A square of 8192 has as many scores as the memory of a usual machine.
    high = min(high, 8191) if square else high
    keys = [size for size in (*_turned(row, "keys", few), *_BLOCKS) if low <= size <= high]
    outs = [out for out in (*_turned(row, "values", _outs(row["values"], width)), *_BLOCKS[:5]) if _is(out, width, row)]
    batches = _turned(row, "batch", (_BATCHES if high <= 64 else _LONG_BATCHES)[row["batch"]])
    heads = _turned(row, "heads", (_HEADS if high <= 64 else _LONG_HEADS)[row["heads"]]) if op == "attention" else ((),)
    for size, out, batch, groups in product(keys, outs, batches, heads):
        for count in _queries(row, size):
            yield (*batch, *groups, count, size, width, out)


def _is(out: int, width: int, row: Row) -> bool:
    found = "values-narrower" if out < width else "values-wider"
    found = "values-equal" if out == width else "values>32" if out > WIDE else found
    return found == row["values"]


def _outs(level: str, width: int) -> tuple[int, ...]:
    narrower = (max(width // 2, 1), max(width - 1, 1), 1, 3)
    found = {
        "values-equal": (width,),
        "values-narrower": tuple(min(out, WIDE) for out in narrower),
        "values-wider": (min(width + 3, WIDE), WIDE, min(2 * width, WIDE)),
        "values>32": (40, 33, 48, 96),
    }
    return found[level]


def _queries(row: Row, size: int) -> Iterator[int]:
    if row["queries"] == "as-many":
        yield size
    elif row["queries"] == "one-query":
        yield 1
    elif row["queries"] == "more":
        yield from (size + 2, size + 1, *(block for block in _BLOCKS if size < block < 8192))
    elif row["queries"] == "long":
        yield from (count for count in (66, 67, *_BLOCKS) if LONG <= count < size)
    else:
        few = (3, 2, 4, *_BLOCKS[1:])
        yield from (count for count in few if count < min(size, LONG))


def rows_with_truth(op: str, shape: Shape) -> int | None:
    """How many rows of a case of this shape have a truth, so that it takes about half a second; None means all.

    >>> rows_with_truth("attention", (2, 1, 3, 9, 8, 8)), rows_with_truth("entmax", (131, 4100))
    (None, 7)
    """
    if op in {"entmax", "weights"}:
        rows, each = prod(shape[:-1]), shape[-1]
        wanted = max(_ROWS, _SCORES // max(each, 1))
    else:
        *lead, queries, keys, width, out = shape
        rows, each = prod(lead[:-1] if op == "attention" else lead) * queries, keys * (width + out + _SCORE)
        if keys <= GRADIENT_KEYS and rows * each <= _PRODUCTS:
            return None
        wanted = max(min(_ROWS, _PRODUCTS // max(each, 1)), 2)
    return None if rows <= wanted else wanted


def differentiable(op: str, shape: Shape) -> bool:
    """Whether a case of this shape has gradients."""
    keys = shape[-1] if op in {"entmax", "weights"} else shape[-3]
    return keys <= GRADIENT_KEYS and rows_with_truth(op, shape) is None
