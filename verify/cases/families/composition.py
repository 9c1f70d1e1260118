"""Batches of different kinds of rows: a tied, masked, distant or dominant row must not change its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.builders import WITHOUT_INFINITY, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import normals
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_FEATURES = ("mixed", "one_odd")


class Composition:
    """``mixed`` goes through all kinds of rows in turn; ``one_odd`` has one hot row among normal ones."""

    id = "composition"
    title = "unlike rows in one batch"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One recipe for each feature."""
        if op in {"entmax", "weights"}:
            yield (13, 12), "mixed"
            yield (5, 7), "one_odd"

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal rows, then changed one by one to their kinds."""
        feature = one_of(case, _FEATURES)
        rows = normals(generator, case.shape).reshape(-1, case.size)
        kinds = (self._plain, self._tied, self._near, self._hot, self._masked, self._far)
        for at in range(len(rows)):
            change = kinds[at % len(kinds)] if feature == "mixed" else kinds[3 if at == len(rows) // 2 else 0]
            rows[at] = change(case, rows[at])
        return scored(case, settle(case, rows.reshape(case.shape)))

    def _plain(self, case: Case, row: Floats) -> Floats:
        return row

    def _tied(self, case: Case, row: Floats) -> Floats:
        return np.round(row)

    def _near(self, case: Case, row: Floats) -> Floats:
        return np.asarray(0.75 + np.round(row) * 2.0 ** -FORMATS[case.dtype].precision)

    def _hot(self, case: Case, row: Floats) -> Floats:
        return np.where(np.arange(row.size) == row.size // 2, 100.0, row)

    def _masked(self, case: Case, row: Floats) -> Floats:
        masked = -100.0 if case.dtype in WITHOUT_INFINITY else -np.inf
        return np.where(np.arange(row.size) % 3 == 1, masked, row)

    def _far(self, case: Case, row: Floats) -> Floats:
        return np.asarray(np.round(4 * row) / 4 + min(2.0 ** FORMATS[case.dtype].precision / 16, 4096.0))


FAMILY = Composition()
