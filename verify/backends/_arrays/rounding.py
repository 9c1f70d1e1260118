"""Convert float64 to a narrow dtype with a single rounding.

ml_dtypes converts float64 by way of float32, which rounds twice. Rounding to odd in the first step keeps the
information that the second rounding needs.

Source: S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats

DIRECT = ("float64", "float32", "float16")
DTYPES = (*DIRECT, "bfloat16", "float8_e4m3fn", "float8_e5m2")


def rounded(values: Floats, dtype: np.dtype[Any]) -> Array:
    """`values` in `dtype`, each rounded once to nearest, ties to even."""
    with np.errstate(all="ignore"):
        narrow: Array = np.asarray(values if dtype.name in DIRECT else _to_odd(values)).astype(dtype)
    return narrow


def _to_odd(values: Floats) -> Array:
    """Round to float32 towards zero, and set the last bit where that is inexact."""
    nearest = np.asarray(values).astype(np.float32)
    beyond = np.isfinite(values) & (np.abs(nearest.astype(np.float64)) > np.abs(values))
    truncated = np.where(beyond, np.nextafter(nearest, np.float32(0)), nearest)
    inexact = np.isfinite(values) & (truncated.astype(np.float64) != values)
    bits = truncated.view(np.uint32) | inexact.astype(np.uint32)
    # A value below every float32 keeps its sign through the bit pattern of a signed zero.
    odd: Array = bits.view(np.float32)
    return odd
