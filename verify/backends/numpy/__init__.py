"""The NumPy backend: plain float64 array code, written to be read."""

from __future__ import annotations

from kernelproof.verify.backends._arrays.ops import RowBackend

BACKEND = RowBackend("numpy", "kernelproof.verify.backends.numpy.core")
