"""Numba's decorators with the types they keep; numba publishes none, so the one cast is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compiled on the first call and kept on disk; IEEE arithmetic: no fastmath, and x/0 is inf or NaN."""
    return cast("Function", numba.njit(cache=True, error_model="numpy")(function))


def parallel(function: Function) -> Function:
    """As `jit`, with the iterations of `prange` spread over threads."""
    return cast("Function", numba.njit(cache=True, error_model="numpy", parallel=True)(function))


def contracted(function: Function) -> Function:
    """As `jit`, but a product and a sum may be rounded once, together."""
    return cast("Function", numba.njit(cache=True, error_model="numpy", fastmath={"contract"})(function))


def reassociated(function: Function) -> Function:
    """As `jit`, but sums may be taken in any order."""
    return cast("Function", numba.njit(cache=True, error_model="numpy", fastmath={"reassoc"})(function))


def inlined(function: Function) -> Function:
    """As `contracted`, and LLVM has to put it into its callers, whose loops would not be vectorized around a call."""
    return cast("Function", numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(function))


def exact(function: Function) -> Function:
    """As `inlined`, but each operation is rounded: for errors of roundings, which contraction would change."""
    return cast("Function", numba.njit(error_model="numpy", forceinline=True)(function))


def released(function: Function) -> Function:
    """As `jit`, and other Python threads run meanwhile."""
    return cast("Function", numba.njit(cache=True, error_model="numpy", nogil=True)(function))
