"""What a search for the worst error changes: the numbers of one witness as one row, whatever the op.

A witness of entmax and weights is a row of scores; one of regression and attention is a query with keys and values of
its own. Many go into one call, along its first axis. A row holds the numbers of all its arrays, one after the other.
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
"""Keys, width of q and k, width of v, in turn; the worst witness of few numbers says most."""
MANY = -1
"""Stands for the number of witnesses in the sizes of a call."""
_LEADS = ((MANY,), (MANY, 1), (MANY, 1, 1), ())
"""The sizes before those of a witness, of which the first that a target takes is chosen."""
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
        lead: the sizes before those of the witness, with `MANY` for the number of them.
        core: (m,) for entmax and weights, (T, m, d, e) for regression and attention.
        most: witnesses of one call at most; None: any number.
        requires: options without which the target is not called; they hide no key.
    """

    op: str
    lead: tuple[int, ...]
    core: tuple[int, ...]
    most: int | None = None
    requires: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether scores are given directly: then truth comes in bulk, and elsewhere row by row."""
        return self.op in {"entmax", "weights"}

    @property
    def block(self) -> int:
        """Witnesses measured at once."""
        return self._fitting(256 if self.scored else 64)

    @property
    def chunk(self) -> int:
        """The same where every number of a small format is tried."""
        return self._fitting(4096 if self.scored else 256)

    def _fitting(self, count: int) -> int:
        if MANY not in self.lead:
            return 1
        return count if self.most is None else min(count, self.most)

    @property
    def feasible(self) -> int:
        """Formats of at most so many numbers are tried without exception: every finite one against 0."""
        return 2**16 if self.scored else 2**8

    def octaves(self, precision: int) -> int:
        """Numbers are scaled by powers of two up to this one: values as far as one may be lost beside another."""
        return 2 if self.scored else precision

    @property
    def keys(self) -> int:
        """Keys of a witness."""
        return self.core[-1] if self.scored else self.core[1]

    @cached_property
    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(L,) for each number of a row: where its array begins, how many numbers that has, and which it is."""
        sizes = np.array([prod(shape) for shape in self.shapes.values()], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        return np.repeat(starts, sizes), np.repeat(sizes, sizes), np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays of one witness in a call of its own, by name."""
        return shapes_of(Case(self.op, "1", None, "adaptive:1", "float64", "random", self.shape(1), "1"))

    def shape(self, count: int) -> tuple[int, ...]:
        """The shape of a case of so many witnesses."""
        return (*(count if size == MANY else size for size in self.lead), *self.core)

    def subject(self, case: Case, rows: Floats, options: Options = ()) -> Subject:
        """(R, L) numbers of witnesses as a subject of the op, order, rule and dtype of `case`."""
        arrays, at, whole = {}, 0, replace(case, shape=self.shape(len(rows)))
        for name, shape in shapes_of(whole).items():
            size = prod(self.shapes[name])
            arrays[name] = cast(rows[:, at : at + size].reshape(shape), case.dtype)
            at += size
        return Subject(whole, Inputs(arrays, self._required(whole.shape) | dict(options)))

    def _required(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The options that the target requires, such that they change nothing: all keys may be attended to.

        A call of one query is causal as it is: the last query sees all keys. Of a square each sees those up to its own.
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
        """(R, L) the numbers of the witnesses in `arrays`."""
        parts = [arrays[name].astype(np.float64).reshape(-1, prod(shape)) for name, shape in self.shapes.items()]
        return np.concatenate(parts, axis=1)

    def pairs(self, values: Floats) -> Floats:
        """(R, L) witnesses of two keys: (R, 2) `values` are their scores, or the keys themselves, of values 1 and 0."""
        if self.scored:
            return values
        arrays = {name: np.zeros((len(values), *shape[-2:])) for name, shape in self.shapes.items()}
        # The score of a key is then the key itself, or falls with its square.
        arrays["q"][..., 0] = 0.0 if self.op == "regression" else 1.0
        arrays["k"][..., 0] = values
        arrays["v"][:, 0] = 1.0
        return self.rows(arrays)


def forms_of(case: Case, scope: Scope) -> tuple[Form, ...]:
    """A form for each of `SIZES`, as near to it as the target takes; those of which it takes nothing are left out."""
    return tuple(form for sizes in SIZES for form in _fitting(case, scope, *sizes))


def _fitting(case: Case, scope: Scope, keys: int, width: int, out: int) -> Iterator[Form]:
    limits, scored = scope.shapes, case.op in {"entmax", "weights"}
    core = fitted_core(case.op, limits, (keys,) if scored else (1, keys, width, out))
    for lead in _HEADS if case.op == "attention" else _LEADS:
        form = Form(case.op, lead, core, limits.most_rows if scored else None, scope.requires)
        if refused_shape(limits, shapes_of(replace(case, shape=form.shape(form.block)))) is None:
            yield form
            return


def told(options: Mapping[str, Any], scope: Scope) -> Options:
    """Those of `options` that do not depend on shapes and that the target takes."""
    kept = sorted(_OPTIONS & set(options))
    return tuple((name, options[name]) for name in kept if scope.options is None or name in scope.options)
