"""The row core of the Numba backend: `fast` rows, `careful` rows for what these leave, and `proved` rows on request."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.backends._arrays.core import Array, Flags, Floats, Law, law_of
from kernelproof.verify.backends.numba.careful.careful_core import CarefulCore
from kernelproof.verify.backends.numba.fast.heavy_tails import heavy_rows
from kernelproof.verify.backends.numba.fast.rows import PARTS, entmax_rows
from kernelproof.verify.backends.numba.fast.vjp import entmax_rows_vjp
from kernelproof.verify.backends.numba.readonly import as_writable_view


def chunk_of(rows: int) -> int:
    """How many rows one thread takes at a time."""
    return max(1, -(-rows // (PARTS * numba.get_num_threads())))


class FastCore(CarefulCore):
    """`CarefulCore` with the fast path in front."""

    def direct(self, scores: Array, law: Law) -> Array:
        """Adaptive weights of (R, m) scores in their dtype; rows with NaN or +inf, or of −inf alone, are NaN."""
        scores = as_writable_view(scores)
        weights = np.empty_like(scores)
        rows = heavy_rows if law.order < 0 else entmax_rows
        rows(scores, law.order, law.parameter, weights, chunk_of(len(scores)))
        return weights

    def direct_vjp(self, scores: Array, cotangent: Array, law: Law, wanted: bool) -> tuple[Array, Floats, Flags]:
        """Gradients in (R, m) scores and, if `wanted`, in α by row; flags of the rows left undone."""
        scores, cotangent = as_writable_view(scores), as_writable_view(cotangent)
        gradient, alpha, left = np.empty_like(scores), np.empty(len(scores)), np.empty(len(scores), np.bool_)
        chunk = chunk_of(len(scores))
        entmax_rows_vjp(scores, cotangent, law.order, law.parameter, wanted, gradient, alpha, left, chunk)
        return gradient, alpha, left

    def proved(self, scores: Array, order: Any) -> Array:
        """Adaptive weights of float32 (R, m) scores, each the nearest to the exact one, ties to even.

        Raises:
            UndecidedError: at a non-integer order, a weight is too near a midpoint.
        """
        # Imported here: only this method needs MPFR.
        from kernelproof.verify.backends.numba.proved.multiprecision import decide  # noqa: PLC0415
        from kernelproof.verify.backends.numba.proved.rows import proved_rows  # noqa: PLC0415

        scores = as_writable_view(scores)
        weights, doubts = np.empty_like(scores), np.empty(len(scores), np.int64)
        law = law_of(Kernel(order), Adaptive())
        proved_rows(scores, law.order, weights, doubts, chunk_of(len(scores)))
        decide(scores, order, weights, doubts)
        return weights


CORE = FastCore()
