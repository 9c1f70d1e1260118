"""Shapes: the reason why a target refuses a shape, and the nearest shape that it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from kernelproof.verify.cases.axes import AXES, KEYS
from kernelproof.verify.cases.builders import shapes_with
from kernelproof.verify.cases.case import Case
from kernelproof.verify.targets.declaration import Shapes


def shapes_of(case: Case) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of `case`, by name."""
    return _named(case.op, case.shape)


def _named(op: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    if op in {"entmax", "weights"}:
        return {"z" if op == "entmax" else "scores": shape}
    return shapes_with(op, shape)


@dataclass(frozen=True)
class Fitting:
    """Whether shapes of cases are within `limits`."""

    limits: Shapes

    def __call__(self, op: str, shape: tuple[int, ...]) -> bool:
        """Whether a target of these limits takes the arrays of a case of `op` with this `shape`."""
        return refused_shape(self.limits, _named(op, shape)) is None

    def bars(self, op: str) -> frozenset[tuple[str, str]]:
        """(axis, level) of `kernelproof.verify.cases.axes` that no shape of `op` within the limits has."""
        levels = ((axis.name, level) for axis in AXES[op] for level in axis.levels)
        return frozenset((axis, level) for axis, level in levels if _barred(self.limits, op, axis, level))


_BATCH_AXES = {"no-batch": 0, "batch": 1, "batches": 2, "inner-one": 2}
_SCORE_AXES = {"one-row": 1, "rows": 2, "several-axes": 3, "inner-one": 3, "outer-one": 3}


def _barred(limits: Shapes, op: str, axis: str, level: str) -> bool:
    if axis == "keys":
        least, most = KEYS[level]
        return most < limits.least_keys or (limits.most_keys is not None and least > limits.most_keys)
    if axis == "width":
        return refused_width(limits, int(level.rpartition("-")[2]))
    if axis in {"batch", "axes"}:
        rank = _SCORE_AXES[level] if axis == "axes" else _BATCH_AXES[level] + (3 if op == "attention" else 2)
        return rank < limits.least_rank or (limits.most_rank is not None and rank > limits.most_rank)
    return (
        (axis == "values" and limits.equal_widths and level != "values-equal")
        or (axis == "heads" and not limits.grouped_heads and level in {"grouped-heads", "one-key-head"})
        or (axis == "queries" and limits.square and level != "as-many")
    )


def refused_width(limits: Shapes, width: int) -> bool:
    """Whether the target refuses queries and keys of this width."""
    return bool(limits.head_sizes and width not in limits.head_sizes) or width % limits.head_multiple != 0


def refused_shape(limits: Shapes, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why the target refuses arrays of these `shapes`, or None."""
    first = next(iter(shapes.values()))
    mixing = "q" in shapes
    keys = shapes["k"][-2] if mixing else first[-1] if first else 0
    rows = first[-2] if mixing else prod(first[:-1])
    width = first[-1] if mixing else None
    lengths = (keys, rows) if mixing else (keys,)
    heads = mixing and len(first) > 2 and shapes["k"][:-2] != first[:-2]
    tests = (
        (len(first) < limits.least_rank, f"{limits.least_rank} axes at least"),
        (limits.most_rank is not None and len(first) > limits.most_rank, f"{limits.most_rank} axes at most"),
        (keys < limits.least_keys, f"{limits.least_keys} keys at least"),
        (limits.most_keys is not None and keys > limits.most_keys, f"{limits.most_keys} keys at most"),
        (limits.most_rows is not None and rows > limits.most_rows, f"{limits.most_rows} rows at most"),
        (any(size % limits.length_multiple for size in lengths), f"lengths that {limits.length_multiple} divides"),
        (limits.length_power and any(size.bit_count() != 1 for size in lengths), "lengths that are powers of two"),
        (mixing and limits.square and keys != rows, "as many queries as keys"),
        (not limits.grouped_heads and heads, "a key head for each query head"),
        (limits.equal_widths and mixing and shapes["v"][-1] != width, "values as wide as the keys"),
        (width is not None and bool(limits.head_sizes) and width not in limits.head_sizes, _widths(limits)),
        (width is not None and width % limits.head_multiple != 0, f"head sizes that {limits.head_multiple} divides"),
    )
    return next((f"the target takes {wanted}" for refused, wanted in tests if refused), None)


def _widths(limits: Shapes) -> str:
    return f"head sizes {', '.join(str(size) for size in limits.head_sizes)}"


def fitted(op: str, limits: Shapes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Change the shape of a case of `op` as little as `limits` require; a target may still refuse the result.

    >>> fitted("attention", Shapes(square=True, length_multiple=64, head_sizes=(16, 32)), (2, 1, 3, 8, 4, 2))
    (2, 1, 64, 64, 16, 2)
    >>> fitted("entmax", Shapes(least_keys=2, most_rank=2), (3, 4, 1))
    (12, 2)
    """
    parts = {"entmax": 1, "weights": 1, "regression": 4, "attention": 4}[op]
    lead, core = shape[:-parts], fitted_core(op, limits, shape[-parts:])
    if parts == 1:
        return (*_rows(limits, lead), *core)
    heads: tuple[int, ...] = ()
    if op == "attention":
        *batch, count, groups = lead
        lead, heads = tuple(batch), (count, groups if limits.grouped_heads else count)
    # q has the axes of the batch, one axis of heads under attention, and two more: its queries and their width.
    axes = 2 + min(len(heads), 1)
    most = len(lead) if limits.most_rank is None else max(limits.most_rank - axes, 0)
    lead = lead[len(lead) - min(most, len(lead)) :]
    return (*(1,) * (limits.least_rank - axes - len(lead)), *lead, *heads, *core)


def fitted_core(op: str, limits: Shapes, core: tuple[int, ...]) -> tuple[int, ...]:
    """The same for (m,) of entmax and weights, and (T, m, d, e) of regression and attention."""
    keys = _length(limits, max(core[-1] if len(core) == 1 else core[1], limits.least_keys), limits.most_keys)
    if op in {"entmax", "weights"}:
        return (keys,)
    queries, _, width, out = core
    queries = keys if limits.square else _length(limits, queries, limits.most_rows)
    wide = [size for size in limits.head_sizes if size >= width] or [max(limits.head_sizes, default=width)]
    width = -(-min(wide) // limits.head_multiple) * limits.head_multiple
    return (queries, keys, width, width if limits.equal_widths else out)


def _length(limits: Shapes, size: int, most: int | None) -> int:
    """The least allowed length that is at least `size`; if it exceeds `most`, the largest one up to `most`."""
    step = limits.length_multiple
    if limits.length_power:
        found = 1 << (max(size, step, 1) - 1).bit_length()
        return found if most is None or found <= most else 1 << (most.bit_length() - 1)
    size = -(-size // step) * step
    return size if most is None else min(size, most // step * step)


def _rows(limits: Shapes, lead: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes before the last axis of scores, changed as `limits` require."""
    if limits.most_rows is not None and prod(lead) > limits.most_rows:
        lead = (limits.most_rows,)
    if limits.most_rank is not None and len(lead) >= limits.most_rank > 0:
        first = len(lead) - limits.most_rank + 2
        lead = (prod(lead[:first]), *lead[first:]) if limits.most_rank > 1 else ()
    return (*(1,) * (limits.least_rank - 1 - len(lead)), *lead)
