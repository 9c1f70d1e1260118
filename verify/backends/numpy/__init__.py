"""The NumPy backend: plain array code in float64, the readable one."""

from __future__ import annotations

from kernelproof.verify.backends._arrays.ops import RowBackend

BACKEND = RowBackend("numpy", "kernelproof.verify.backends.numpy.core")
