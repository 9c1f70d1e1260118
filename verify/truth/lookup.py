"""The truth of a case, from the cache or computed and then kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.causal import aligned
from kernelproof.verify.records import Contract, Inputs, Truth
from kernelproof.verify.truth.cache import Store

TRUTH = "kernelproof.verify.truth.truth"
"""Loaded by name: it is slow to import, and the parent process does without."""


def truths_for(
    case: Case, inputs: Inputs, store: Store | None = None
) -> Callable[[Contract], tuple[Truth | None, str]]:
    """Contract -> the truth of a case as it means it and in its units, computed once for each kind of both.

    The truth is None, with the reason, where it is undecided, and with "" where there is none by its nature.
    With a `store`, a truth that was computed before is read from it; not of a variant, whose definition may change.
    """
    module = import_module(TRUTH)
    kept = None if isinstance(case.parsed_rule, Variant) else store

    def computed(meant: Inputs, scores: str) -> tuple[Truth | None, str]:
        try:
            return module.truth_of(case, meant, scores), ""
        except UndecidedError as error:
            return None, f"the truth is undecided: {error}"
        except DomainError as error:
            # Functions of the user's own may raise; whatever else is outside of its domain is ours.
            if not isinstance(case.parsed_rule, Variant):
                raise
            return None, f"the truth is undecided: {error}"

    @cache
    def held(scores: str, causal: str) -> tuple[Truth | None, str]:
        meant = aligned(inputs, Contract(causal=causal))
        if kept is None:
            return computed(meant, scores)
        return kept.find(case, meant, scores, lambda: computed(meant, scores))

    def of(contract: Contract) -> tuple[Truth | None, str]:
        scores = contract.scores if module.has_two_units(case, inputs) else "differences"
        return held(scores, contract.causal if "causal" in inputs.options else Contract().causal)

    return of
