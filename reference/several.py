"""Mechanisms that differ from row to row: rows with the same numbers are solved together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Kernel, Mechanism, Nearest, check_mechanism
from kernelproof.reference.per_row import PerRow
from kernelproof.reference.weighting import PARAMETERS

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Several:
    """The mechanisms of R rows.

    Attributes:
        groups: each mechanism, with the numbers of its rows.
        shapes: name of a parameter -> the shape of its gradient: that of its array, () where all rows share it.
        places: name of a parameter -> (R,) the entry of this gradient to which each row adds.
    """

    groups: tuple[tuple[Mechanism, Places], ...]
    shapes: Mapping[str, tuple[int, ...]]
    places: Mapping[str, Places]

    def of_rows(self) -> list[Mechanism]:
        """(R,) the mechanism of each row."""
        found: dict[int, Mechanism] = {}
        for mechanism, rows in self.groups:
            found |= dict.fromkeys(rows.tolist(), mechanism)
        return [found[row] for row in range(len(found))]


def several_of(kernel: Any, rule: Any, shape: tuple[int, ...], axis: int = -1, order: str = "order") -> Several | None:
    """The mechanisms of the rows of an input; None if one kernel and one rule hold for all of them.

    Args:
        kernel: a Kernel, whose order may be `PerRow`.
        rule: a rule, whose parameter may be.
        shape: of the input.
        axis: where its keys are. Rows are numbered with this axis moved to the end.
        order: what the caller calls the order, for an error message.

    Raises:
        DomainError: an array that does not broadcast to the rows, or numbers that define no weights.
    """
    inner = rule.then if isinstance(rule, Nearest) else rule
    parameter = PARAMETERS.get(type(inner), "")
    held = {"order": getattr(kernel, "order", None), parameter: getattr(inner, "exact", None)}
    arrays = {name: value for name, value in held.items() if isinstance(value, PerRow)}
    if not arrays:
        return None
    rows = tuple(1 if at == axis % len(shape) else size for at, size in enumerate(shape))
    count = int(np.prod(rows, dtype=np.int64))
    places = {name: np.zeros(count, dtype=np.intp) for name in held}
    for name, array in arrays.items():
        each = array.places(rows, order if name == "order" else name)
        places[name] = np.ascontiguousarray(np.moveaxis(each, axis, -1)).reshape(-1)
    columns = np.stack([places["order"], places[parameter]], axis=1)
    groups = []
    for pair in np.unique(columns, axis=0).tolist():
        at = dict(zip(held, pair, strict=True))
        numbers = {name: array.numbers[at[name]] for name, array in arrays.items()}
        own = Kernel(numbers["order"]) if "order" in numbers else kernel
        then = replace(inner, **{parameter: numbers[parameter]}) if parameter in numbers else inner
        whole = replace(rule, then=then) if isinstance(rule, Nearest) else then
        groups.append((check_mechanism(own, whole), np.flatnonzero((columns == pair).all(axis=1))))
    shapes = {name: arrays[name].shape if name in arrays else () for name in held}
    return Several(tuple(groups), shapes, places)
