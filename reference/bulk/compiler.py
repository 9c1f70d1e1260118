"""The compiler of the filter: Numba with flags that keep IEEE 754, and three operations that Numba does not expose.

Without `fastmath` Numba emits plain `fadd`, `fmul` and `fdiv`, which LLVM may neither contract nor reorder; a test
reads the compiled code. `SOURCES` is part of the key of a cached kernel, since Numba itself notices changes of one
file only.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from kernelproof.reference.compiled_cache import cached

Function = TypeVar("Function", bound=Callable[..., Any])


def _digest() -> int:
    """60 bits of a hash over all source files of this package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return int(hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:15], 16)


SOURCES = _digest()

_FEATURES: str = get_host_cpu_features()  # type: ignore[no-untyped-call]  # numba publishes no types

HAS_FMA = "+fma," in f"{_FEATURES}," or platform.machine() in {"aarch64", "arm64"}
"""Whether the processor has an fma instruction; without one, TwoProd is Dekker's."""


def compiled(function: Function) -> Function:
    """Compile `function` on its first call, to be inlined into a kernel."""
    return cast("Function", numba.njit(error_model="numpy", nogil=True)(function))


def kernel(function: Function) -> Function:
    """Compile `function` on its first call and cache it on disk; it releases the GIL."""
    return cached(function, error_model="numpy", nogil=True)


def _fma(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


def _bits_of(_typing: Any, _value: Any) -> Any:
    return types.int64(types.float64), _bitcast


def _float_of(_typing: Any, _bits: Any) -> Any:
    return types.float64(types.int64), _bitcast


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_data_type(signature.return_type))


fma = cast("Callable[[float, float, float], float]", intrinsic(_fma))
"""``a·b + c`` with one rounding, ``llvm.fma.f64``."""

bits_of = cast("Callable[[float], int]", intrinsic(_bits_of))
"""The 64 bits of a float64 as an int64."""

float_of = cast("Callable[[int], float]", intrinsic(_float_of))
"""The float64 with these 64 bits."""
