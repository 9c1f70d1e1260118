"""One score far above the others: one key has all the weight, and nothing may overflow in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.builders import mixed, scored, settle
from kernelproof.verify.cases.numbers import cast, integers, normals
from kernelproof.verify.records import Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class OneHot:
    """The feature is the gap."""

    id = "one_hot"
    title = "one score far above the others"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Gaps of 30, 1000 and 10^30."""
        if op in {"entmax", "weights"}:
            yield from (((3, 9), gap) for gap in ("30", "1000", "1e30"))
            if suite == "exhaustive":
                yield (3, 9), "1e300"
        else:
            yield ((2, 9, 3, 2) if op == "regression" else (2, 1, 1, 9, 4, 2)), "8"

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal scores below the gap; or one key at the first query with the others far away.

        Raises:
            DomainError: the gap is negative or not finite.
        """
        gap = float(case.feature)
        if not 0 <= gap < np.inf:
            msg = f"feature of the family one_hot must be a finite gap of 0 or more; got {case.feature!r}"
            raise DomainError(msg)
        if case.op in {"entmax", "weights"}:
            rows = normals(generator, case.shape)
            hot = integers(generator, case.size, (*case.shape[:-1], 1))
            rows = np.where(np.arange(case.size) == hot, 0.0, rows - gap)
            return scored(case, settle(case, rows))
        arrays = mixed(case, generator)
        query, key = (arrays[name].astype(np.float64) for name in "qk")
        if case.op == "regression":
            key += gap * np.sign(key)
            key[..., 0, :] = query[..., 0, :]
        else:
            key[..., 0, :] = gap * query[..., : key.shape[-3], 0, :]
        arrays["k"] = cast(key, case.dtype)
        return Inputs(arrays)


FAMILY = OneHot()
