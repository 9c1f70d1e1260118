"""Numba's decorators, typed to preserve signatures; Numba publishes no types, so the one cast is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from kernelproof.reference.compiled_cache import cached

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile `function` on its first call and cache it on disk; IEEE arithmetic, where x/0 is inf or NaN."""
    return cached(function, error_model="numpy")


def parallel(function: Function) -> Function:
    """`jit`, with the iterations of `prange` spread over threads."""
    return cached(function, error_model="numpy", parallel=True)


def contracted(function: Function) -> Function:
    """`jit`, except that a product and a sum may be rounded once together."""
    return cached(function, error_model="numpy", fastmath={"contract"})


def reassociated(function: Function) -> Function:
    """`jit`, except that sums may be taken in any order."""
    return cached(function, error_model="numpy", fastmath={"reassoc"})


def inlined(function: Function) -> Function:
    """`contracted`, and always inlined, because LLVM does not vectorize loops around a call."""
    return cast("Function", numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(function))


def exact(function: Function) -> Function:
    """`inlined`, but every operation is rounded: for error terms, which contraction would change."""
    return cast("Function", numba.njit(error_model="numpy", forceinline=True)(function))


def released(function: Function) -> Function:
    """`jit`, without holding the GIL."""
    return cached(function, error_model="numpy", nogil=True)
