"""Numba's cache of compiled functions on disk, which is never a reason why a function cannot be called.

Numba raises what unpickling raises if a file of its cache was cut off or was written by something else. Here such a
cache is emptied, and the function compiled anew; and where nothing can be written, it is compiled without being kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


# Numba publishes no types.
_Cache: Any = FunctionCache


class RebuiltCache(_Cache):  # type: ignore[misc]  # a base without types
    """The cache of one function."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for the types `sig`; None if the cache does not have it whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 (unpickling what is damaged or foreign may raise anything)
            try:
                self.flush()
            except OSError:
                self.disable()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for the types `sig`, if the folder can be written."""
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


def cached(function: Function, **flags: Any) -> Function:
    """Compile `function` on its first call with `flags` of ``numba.njit``, and keep the result on disk."""
    found = numba.njit(cache=True, **flags)(function)
    if hasattr(found, "_cache"):
        # With NUMBA_DISABLE_JIT the function itself comes back.
        found._cache = RebuiltCache(function)  # noqa: SLF001 (Numba has no public place for a cache of one's own)
    return cast("Function", found)
