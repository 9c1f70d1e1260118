"""Arrays as compiled code takes them: contiguous, and not marked read-only.

Numba has a separate type, and compiles once more, for every layout and for read-only arrays. Compiled rows only read
their arguments, so memory that is marked read-only need not be copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class _Unmarked:
    """The memory of `array`, without the read-only mark; keeps `array` alive."""

    def __init__(self, array: Any) -> None:
        self.array = array
        place, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (place, False)}


def as_writable_view(array: Any) -> Any:
    """`array` as a contiguous array marked writable, copied only if not contiguous; callers must not write to it."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else np.asarray(_Unmarked(array))
