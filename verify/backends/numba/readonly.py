"""Arrays as compiled code takes them: contiguous, and not marked read-only.

Numba has another type, to be compiled once more, for each layout and for arrays that are read-only. The rows only read
what is as_writable_view to them, so that memory marked read-only need not be copied for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class _Unmarked:
    """The memory of `array`, which it keeps alive, without the mark."""

    def __init__(self, array: Any) -> None:
        self.array = array
        place, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (place, False)}


def as_writable_view(array: Any) -> Any:
    """`array`, copied only if it is not contiguous; whoever takes it must not write to it."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else np.asarray(_Unmarked(array))
