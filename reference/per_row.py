"""Numbers that differ from row to row: an array that broadcasts against the rows of the input.

It has the shape of the input with an axis of size 1 in the place of the keys, or one that broadcasts to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError


@dataclass(frozen=True)
class PerRow:
    """Exact numbers in an array.

    Attributes:
        shape: of the array.
        numbers: its entries, in C order.
    """

    shape: tuple[int, ...]
    numbers: tuple[Fraction | float, ...]

    def places(self, rows: tuple[int, ...], name: str) -> NDArray[np.intp]:
        """Which entry each row takes, in the shape `rows`: that of the input, with 1 in the place of the keys.

        Raises:
            DomainError: the array does not broadcast to `rows`.
        """
        try:
            return np.broadcast_to(np.arange(len(self.numbers), dtype=np.intp).reshape(self.shape), rows)
        except ValueError:
            msg = f"{name} must be a number or broadcast to one for each row, {rows}; got an array {self.shape}"
            raise DomainError(msg) from None


def exact_or_each(value: Any, name: str, exact: Callable[[Any, str], Fraction | float]) -> Any:
    """The number that `value` stands for, or those of an array with axes as `PerRow`; `exact` makes each of them.

    Raises:
        DomainError: what `exact` raises.
    """
    array = value.detach() if hasattr(value, "detach") else value
    if isinstance(array, list | tuple):
        array = np.array(array, dtype=object)
    if not getattr(array, "shape", ()):
        return exact(value, name)
    shape = tuple(int(size) for size in array.shape)
    entries = array.reshape(-1).tolist()
    return PerRow(shape, tuple(exact(entry, name) for entry in entries))
