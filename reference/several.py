"""Mechanisms that differ from row to row: rows with the same numbers are solved together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import INFINITY, Kernel, Mechanism, Nearest, check_mechanism
from kernelproof.reference.per_row import PerRow
from kernelproof.reference.weighting import PARAMETERS

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Several:
    """The mechanisms of R rows.

    Attributes:
        groups: each mechanism, with the numbers of its rows.
        first: one of them; of no rows, one of the mechanisms that the arrays hold, or order ∞.
        shapes: name of a parameter -> the shape of its gradient: that of its array, () where all rows share it.
        places: name of a parameter -> (R,) the entry of this gradient to which each row adds.
    """

    groups: tuple[tuple[Mechanism, Places], ...]
    first: Mechanism
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
    kinds, kind = np.unique(columns, axis=0, return_inverse=True)
    ordered = np.argsort(kind.reshape(-1), kind="stable")
    ends = np.searchsorted(kind.reshape(-1)[ordered], np.arange(1, len(kinds)))
    groups = []
    for pair, own_rows in zip(kinds.tolist(), np.split(ordered, ends) if len(kinds) else [], strict=True):
        at = dict(zip(held, pair, strict=True))
        numbers = {name: array.numbers[at[name]] for name, array in arrays.items()}
        own = Kernel(numbers["order"]) if "order" in numbers else kernel
        then = replace(inner, **{parameter: numbers[parameter]}) if parameter in numbers else inner
        whole = replace(rule, then=then) if isinstance(rule, Nearest) else then
        groups.append((check_mechanism(own, whole), own_rows))
    shapes = {name: arrays[name].shape if name in arrays else () for name in held}
    # Gradients of no rows are zeros, whatever the mechanism.
    first = groups[0][0] if groups else Mechanism(Kernel(INFINITY), type(inner)(1))
    return Several(tuple(groups), first, shapes, places)
