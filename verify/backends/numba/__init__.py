"""The Numba backend: rows as compiled loops, in parallel; the first call compiles and caches the code on disk."""

from __future__ import annotations

from kernelproof.verify.backends._arrays.ops import RowBackend

BACKEND = RowBackend("numba", "kernelproof.verify.backends.numba.tiles.core", package="numba")
