"""Look up the truth of a case in memory or in the cache, or else compute and store it.

Code that needs a truth calls `truth_for`. The process that works on a case opens a `Lookup` around it, so that checks
and remarks that need further truths get them from the same cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.records import Contract, Inputs, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case
    from kernelproof.verify.truth.cache import Store
    from kernelproof.verify.truth.codec import Found

_Key = tuple[object, ...]


class Lookup:
    """Truths by case, inputs and units: those found before, and those in the cache.

    Args:
        store: the cache; None for no cache.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self._found: dict[_Key, tuple[Inputs, Found]] = {}
        self._rounded: dict[tuple[int, Precision], tuple[Truth, Found]] = {}

    def find(self, case: Case, inputs: Inputs, scores: str) -> Found:
        """Find the truth in these units; it is computed once for the same case and the same array objects."""
        parts = (inputs.arrays, inputs.options, inputs.cotangent, inputs.rows)
        key = (case, *map(id, parts), inputs.diagonal, scores)
        if key not in self._found:
            # The inputs are kept alive too, so that no other array gets the id of one of them.
            self._found[key] = inputs, self._read(case, inputs, scores)
        return self._found[key][1]

    def rounded(self, case: Case, inputs: Inputs, scores: str, contract: Contract) -> Found:
        """Find the truth with what the storage roundings of `contract` may add, which is not cached on disk."""
        from kernelproof.verify.truth.roundings import with_roundings  # noqa: PLC0415 (see `load_oracle`)

        found = truth, reason = self.find(case, inputs, scores)
        precision = precision_of(case.dtype, contract, case.op)
        if truth is None or not (precision.roundings or precision.flush):
            return found
        key = (id(truth), precision)
        if key not in self._rounded:
            self._rounded[key] = truth, (with_roundings(case, inputs, truth, contract), reason)
        return self._rounded[key][1]

    def _read(self, case: Case, inputs: Inputs, scores: str) -> Found:
        # The definition of a variant may change undetected, so its truths are not stored.
        if self.store is None or isinstance(case.parsed_rule, Variant):
            return _computed(case, inputs, scores)
        return self.store.find(case, inputs, scores, lambda: _computed(case, inputs, scores))


_OPEN: list[Lookup] = []


@contextmanager
def lookup(store: Store | None) -> Iterator[None]:
    """Let `truth_for` read and write `store`, and remember the truths it found, until the block ends."""
    _OPEN.append(Lookup(store))
    try:
        yield
    finally:
        _OPEN.pop()


def truth_for(case: Case, inputs: Inputs, contract: Contract) -> Found:
    """Find the truth of `case` in the units of `contract`: the truth and "", or None and the reason it is undecided.

    Where the op has no value, because an input is NaN or +∞, the result is None and "".

    Args:
        case: the recipe.
        inputs: the inputs that the case makes, resolved by `contract`.
        contract: says how scores are computed, which sets the units of errors, and what is stored.
    """
    from kernelproof.verify.truth.truth import has_two_units  # noqa: PLC0415 (see `load_oracle`)

    scores = contract.scores if has_two_units(case, inputs) else "differences"
    return (_OPEN[-1] if _OPEN else Lookup()).rounded(case, inputs, scores, contract)


def load_oracle() -> None:
    """Import the module that computes truths, which takes seconds: a worker does so before its time is measured.

    No module that the parent of a run or the command line loads imports it at its top.
    """
    import kernelproof.verify.truth.roundings  # noqa: F401, PLC0415 (as above; it imports the truth)


def _computed(case: Case, inputs: Inputs, scores: str) -> Found:
    from kernelproof.verify.truth.truth import truth_of  # noqa: PLC0415 (see `load_oracle`)

    try:
        return truth_of(case, inputs, scores), ""
    except UndecidedError as error:
        return None, f"the truth is undecided: {error}"
    except DomainError as error:
        # The functions that a variant's user wrote may raise it; anywhere else it is a fault of this package.
        if not isinstance(case.parsed_rule, Variant):
            raise
        return None, f"the truth is undecided: {error}"
