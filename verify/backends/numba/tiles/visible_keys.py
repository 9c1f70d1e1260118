"""The keys of a head as tiles see them: the contents of masked keys do not change a single bit of the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends._arrays.masking import Ints
from kernelproof.verify.backends._arrays.problem import Problem


class KeyHead:
    """Keys k (S, d) and values v (S, e) of a key head; those with NaN or ∞ in either are set to 0 and remembered.

    Args:
        problem: the problem that the head belongs to.
        head: the number of the head.
    """

    def __init__(self, problem: Problem, head: int) -> None:
        k, v = problem.heads.k[head], problem.heads.v[head]
        bad = ~(np.isfinite(k).all(axis=1) & np.isfinite(v).all(axis=1))
        self._bad = np.flatnonzero(bad)
        self.k = np.where(bad[:, None], 0.0, k) if len(self._bad) else k
        self.v = np.where(bad[:, None], 0.0, v) if len(self._bad) else v
        with np.errstate(all="ignore"):
            self.squares: Floats = (self.k * self.k).sum(axis=1)
        self._norms = np.sqrt(self.squares)
        self._longest = np.maximum.accumulate(self._norms)

    def longest(self, ends: Ints, allowed: Flags | None) -> Floats:
        """(n,) the largest norm among the keys that each query may attend to."""
        if allowed is None:
            return np.where(ends > 0, self._longest[np.maximum(ends, 1) - 1], 0.0)
        inside = allowed & (np.arange(allowed.shape[1]) < ends[:, None])
        return np.asarray(np.where(inside, self._norms[: allowed.shape[1]], 0.0).max(axis=1, initial=0.0))

    def mask(self, scores: Array, bias: Floats | None, allowed: Flags | None) -> None:
        """Set scores (n, end) of masked keys to −∞, and those of allowed keys with NaN or ∞ to NaN."""
        if len(self._bad):
            scores[:, self._bad[self._bad < scores.shape[1]]] = np.nan
        if bias is not None:
            scores += bias.astype(scores.dtype)
        if allowed is not None:
            scores[~allowed] = -np.inf


def allowed_of(problem: Problem, head: int, rows: Any, end: int) -> tuple[Floats | None, Flags | None]:
    """The additive mask (n, end) of some queries, and which keys it or a bool mask allows; None without such a mask."""
    bias, flags = problem.masking.bias(head, rows, end), problem.masking.flags(head, rows, end)
    return bias, flags if bias is None else np.asarray(bias > -np.inf)
