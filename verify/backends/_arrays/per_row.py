"""Numbers for each row: rows with the same numbers form a group, which is one call of one kernel and one rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Kernel, Nearest
from kernelproof.reference.per_row import PerRow
from kernelproof.verify.backends._arrays.core import Array

Rows = NDArray[np.intp]


def differs(kernel: Any, rule: Any) -> bool:
    """Whether the order or the parameter of the rule is an array with a number for each row."""
    return any(isinstance(each, PerRow) for each in _numbers(kernel, rule).values())


def _numbers(kernel: Any, rule: Any) -> dict[str, Any]:
    inner = rule.then if isinstance(rule, Nearest) else rule
    return {"order": getattr(kernel, "order", None), "parameter": getattr(inner, "exact", None)}


class Groups:
    """The rows of an array by their numbers.

    Args:
        kernel: a Kernel.
        rule: Fixed, Anchored, Adaptive or Nearest.
        shape: (..., m) of the scores.
        names: what the caller calls the numbers, by "order" and "parameter".

    Raises:
        DomainError: an array that does not broadcast to (..., 1).
    """

    def __init__(self, kernel: Any, rule: Any, shape: tuple[int, ...], names: Mapping[str, str]) -> None:
        self.kernel, self.rule = kernel, rule
        self.held = {name: each for name, each in _numbers(kernel, rule).items() if isinstance(each, PerRow)}
        lead = (*shape[:-1], 1)
        self.entry = {}
        for name, each in self.held.items():
            index = np.arange(len(each.numbers)).reshape(each.shape)
            try:
                self.entry[name] = np.broadcast_to(index, lead).reshape(-1)
            except ValueError:
                wanted = f"must be a number or broadcast to one for each row, {lead}"
                msg = f"{names[name]} {wanted}; got an array {each.shape}"
                raise DomainError(msg) from None

    def each(self, *, merged: bool = False) -> list[tuple[Any, Any, Rows]]:
        """(kernel, rule, the numbers of its rows) of each group; if `merged`, entries with equal numbers are one."""
        columns = np.stack([_first_of_equals(self.held[name])[at] if merged else at for name, at in self.entry.items()])
        kinds, place = np.unique(columns, axis=1, return_inverse=True)
        ordered = np.argsort(place.reshape(-1), kind="stable")
        parts = np.split(ordered, np.searchsorted(place.reshape(-1)[ordered], np.arange(1, kinds.shape[1])))
        found = []
        for kind, rows in zip(kinds.T.tolist(), parts, strict=bool(kinds.size)):
            chosen = dict(zip(self.entry, kind, strict=True))
            kernel = Kernel(self.held["order"].numbers[chosen["order"]]) if "order" in chosen else self.kernel
            rule = self.rule
            if "parameter" in chosen:
                rule = _with(rule, self.held["parameter"].numbers[chosen["parameter"]])
            found.append((kernel, rule, rows))
        return found

    def weights(self, flat: Array, compute: Callable[[Array, Any, Any], Array]) -> Array:
        """(R, m) weights of (R, m) scores by `compute(scores, kernel, rule)` for each group."""
        out = np.empty_like(flat)
        for kernel, rule, rows in self.each(merged=True):
            out[rows] = compute(flat[rows], kernel, rule)
        return out

    def gradients(
        self, flat: Array, upstream: Array, compute: Callable[[Array, Array, Any, Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """The gradients in the scores, (R, m), and in the numbers, in the shapes of their arrays.

        `compute(scores, cotangent, kernel, rule)` gives those of one group, whose rows share an entry of each array: by
        "scores", "order", "alpha" and "parameter".
        """
        found: dict[str, Any] = {"scores": np.zeros(flat.shape)}
        sums = {name: np.zeros(self._size(name)) for name in ("order", "alpha", "parameter")}
        for kernel, rule, rows in self.each():
            part = compute(flat[rows], upstream[rows], kernel, rule)
            found["scores"][rows] = part["scores"]
            for name, total in sums.items():
                total[self._place(name, rows)] += part.get(name, 0.0)
        return {**found, **{name: total.reshape(self._shape(name)) for name, total in sums.items()}}

    def _kind(self, name: str) -> str:
        return "order" if name == "alpha" else name

    def _shape(self, name: str) -> tuple[int, ...]:
        held = self.held.get(self._kind(name))
        return () if held is None else held.shape

    def _size(self, name: str) -> int:
        return int(np.prod(self._shape(name), dtype=np.int64))

    def _place(self, name: str, rows: Rows) -> int:
        entry = self.entry.get(self._kind(name))
        return 0 if entry is None else int(entry[rows[0]])


def _first_of_equals(held: PerRow) -> Rows:
    """(N,) the position of the first number that is equal to each."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(number, at) for at, number in enumerate(held.numbers)], dtype=np.intp)


def _with(rule: Any, number: Any) -> Any:
    if isinstance(rule, Nearest):
        return replace(rule, then=_with(rule.then, number))
    return replace(rule, **{fields(rule)[0].name: number})
