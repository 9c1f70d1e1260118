"""Witnesses as rows of numbers, so that a search for the worst error changes the inputs of every op alike.

A witness of entmax or weights is a row of scores; a witness of regression or attention is a query with its own keys
and values. A row holds the numbers of all its arrays, one after the other. One call takes many witnesses, along its
first axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.numbers import cast
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.records import Array, Floats, Inputs
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.shapes import fitted_core, refused_shape, shapes_of

SIZES = ((2, 1, 1), (3, 2, 1), (4, 2, 2), (2, 3, 1), (8, 2, 2), (3, 1, 3), (16, 4, 2), (33, 2, 1))
"""Keys, width of q and k, width of v, in turn; a bad witness of few numbers is the easiest to understand."""
MANY = -1
"""Placeholder for the number of witnesses in the sizes of a call."""
_LEADS = ((MANY,), (MANY, 1), (MANY, 1, 1), ())
"""Leading sizes, before those of a witness; the first entry that a target accepts is chosen."""
_HEADS = ((MANY, 1, 1), (MANY, MANY), (1, 1))
"""The same for attention: many batches, many heads, or one at a time."""
_OPTIONS = frozenset({"key_norm_term", "scale"})
"""The options that mean the same for witnesses of every shape."""

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Form:
    """The shape of a witness.

    Attributes:
        op: the op.
        lead: the sizes before those of the witness, with `MANY` for the number of witnesses.
        core: (m,) for entmax and weights, (T, m, d, e) for regression and attention.
        most: the most witnesses in one call; None: any number.
        requires: options that the target requires; their values hide no key.
    """

    op: str
    lead: tuple[int, ...]
    core: tuple[int, ...]
    most: int | None = None
    requires: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether the op takes scores directly; then truth is computed in bulk, otherwise row by row."""
        return self.op in {"entmax", "weights"}

    @property
    def block(self) -> int:
        """Witnesses measured in one call."""
        return self._fitting(256 if self.scored else 64)

    @property
    def chunk(self) -> int:
        """Witnesses measured in one call while every number of a small format is tried."""
        return self._fitting(4096 if self.scored else 256)

    def _fitting(self, count: int) -> int:
        if MANY not in self.lead:
            return 1
        return count if self.most is None else min(count, self.most)

    @property
    def feasible(self) -> int:
        """Formats of at most this many numbers are tried exhaustively: every finite number against 0."""
        return 2**16 if self.scored else 2**8

    def octaves(self, precision: int) -> int:
        """The largest k of the factors 2^±k that scale numbers: for values, until one may be lost beside another."""
        return 2 if self.scored else precision

    @property
    def keys(self) -> int:
        """Keys of a witness."""
        return self.core[-1] if self.scored else self.core[1]

    @cached_property
    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each number of a row, (L,) arrays: where its array begins, the size of that array, and its index."""
        sizes = np.array([prod(shape) for shape in self.shapes.values()], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        return np.repeat(starts, sizes), np.repeat(sizes, sizes), np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays of one witness in a call of its own, by name."""
        return shapes_of(Case(self.op, "1", None, "adaptive:1", "float64", "random", self.shape(1), "1"))

    def shape(self, count: int) -> tuple[int, ...]:
        """The shape of a case with `count` witnesses."""
        return (*(count if size == MANY else size for size in self.lead), *self.core)

    def subject(self, case: Case, rows: Floats, options: Options = ()) -> Subject:
        """The subject of the witnesses `rows`, (R, L), with the op, order, rule and dtype of `case`."""
        arrays, at, whole = {}, 0, replace(case, shape=self.shape(len(rows)))
        for name, shape in shapes_of(whole).items():
            size = prod(self.shapes[name])
            arrays[name] = cast(rows[:, at : at + size].reshape(shape), case.dtype)
            at += size
        return Subject(whole, Inputs(arrays, self._required(whole.shape) | dict(options)))

    def _required(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The options that the target requires, with values that change nothing: no key is masked.

        Causal changes nothing for a call of one query, because the last query sees all keys; in a square call each
        query sees the keys up to its own.
        """
        plain: dict[str, Any] = {"empty": "nan"} if self.op != "entmax" else {}
        if self.op == "attention":
            *batch, heads, _, queries, size, width, _ = shape
            plain |= {
                "causal": True,
                "key_norm_term": False,
                "lengths": np.full(batch, size, dtype=np.int64),
                "mask": np.ones((*batch, heads, queries, size), dtype=bool),
                "scale": float(width) ** -0.5,
            }
        return {name: plain[name] for name in self.requires if name in plain}

    def rows(self, arrays: Mapping[str, Array]) -> Floats:
        """The numbers of the witnesses in `arrays`, (R, L)."""
        parts = [arrays[name].astype(np.float64).reshape(-1, prod(shape)) for name, shape in self.shapes.items()]
        return np.concatenate(parts, axis=1)

    def pairs(self, values: Floats) -> Floats:
        """Witnesses of two keys, (R, L); `values`, (R, 2), are their scores, or the keys, whose values are 1 and 0."""
        if self.scored:
            return values
        arrays = {name: np.zeros((len(values), *shape[-2:])) for name, shape in self.shapes.items()}
        # With this query the score of a key is the key itself, or decreases with its square.
        arrays["q"][..., 0] = 0.0 if self.op == "regression" else 1.0
        arrays["k"][..., 0] = values
        arrays["v"][:, 0] = 1.0
        return self.rows(arrays)


def forms_of(case: Case, scope: Scope) -> tuple[Form, ...]:
    """A form for each of `SIZES`, as close to it as the target accepts; sizes without such a form are left out."""
    return tuple(form for sizes in SIZES for form in _fitting(case, scope, *sizes))


def _fitting(case: Case, scope: Scope, keys: int, width: int, out: int) -> Iterator[Form]:
    limits, scored = scope.shapes, case.op in {"entmax", "weights"}
    core = fitted_core(case.op, limits, (keys,) if scored else (1, keys, width, out))
    for lead in _HEADS if case.op == "attention" else _LEADS:
        form = Form(case.op, lead, core, limits.most_rows if scored else None, scope.requires)
        if refused_shape(limits, shapes_of(replace(case, shape=form.shape(form.block)))) is None:
            yield form
            return


def kept_options(options: Mapping[str, Any], scope: Scope) -> Options:
    """The `options` that do not depend on shapes and that the target takes."""
    kept = sorted(_OPTIONS & set(options))
    return tuple((name, options[name]) for name in kept if scope.options is None or name in scope.options)
