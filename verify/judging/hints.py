"""What a target that fails may have left undeclared: its answers held against other readings of the same call.

A remark is no verdict. It is made only where the other reading makes everything right that was compared, so that a user
who meant that reading learns which line says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.inputs import other_readings
from kernelproof.verify.records import ACCURACY, Contract, Inputs, Judgement, Outcome

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

Rejudge = Callable[[str, Inputs, Contract], Judgement]
"""(id of a check, what the inputs are taken to mean, contract) -> what it says of the answers that came."""
_SELECTING = ("mask", "causal", "lengths")


def hints(
    case: Case, inputs: Inputs, forward: Outcome | None, failed: tuple[str, ...], contract: Contract, rejudge: Rejudge
) -> Iterator[str]:
    """Remarks on a case that failed.

    Args:
        case: the case.
        inputs: as it was asked.
        forward: what came of the plain call, if that was made.
        failed: ids of the checks that failed.
        contract: of the target.
        rejudge: judges the same answers by another reading.
    """
    if failed and not contract.flush_to_zero:
        # None of them at all: one failure of another kind is not excused by this.
        flushing = replace(contract, flush_to_zero=True)
        if all(not rejudge(name, inputs, flushing).failed for name in failed):
            yield (
                "fails in cases where nothing is wrong but that subnormal numbers came as 0: a target that "
                "flushes those declares flush_to_zero = true"
            )
    if ACCURACY not in failed or case.op != "attention" or forward is None:
        return
    given = [name for name in _SELECTING if inputs.options.get(name) is not None]
    if forward.error is not None:
        if len(given) > 1:
            names = ", ".join(f'"{name}"' for name in given)
            both = " and ".join(given)
            yield f"raises for {both} in one call: a target that does not take both declares exclusive = [{names}]"
        return
    if case.feature.startswith("low"):
        # What is masked there comes through by every reading that lets it.
        return
    for meant, other, words in _readings(inputs, contract):
        judgement = rejudge(ACCURACY, meant, other)
        if judgement.decided and not judgement.failed:
            yield words


def _readings(inputs: Inputs, contract: Contract) -> Iterator[tuple[Inputs, Contract, str]]:
    for other, meant in other_readings(inputs, contract):
        words = (
            f"its causal mask is right if it is aligned {other.causal.replace('-', ' ')}: a target that means that "
            f'declares causal = "{other.causal}"'
        )
        yield meant, other, words
    mask = inputs.options.get("mask")
    if mask is None:
        return
    if mask.dtype == bool:
        taken = mask.astype(np.float64)
        words = 'adds boolean masks to scores: a target of additive ones declares masks = ["additive"]'
    else:
        taken = mask.astype(np.float64) != 0
        words = 'takes additive masks for boolean ones: a target of those declares masks = ["boolean"]'
    yield replace(inputs, options={**inputs.options, "mask": taken}), contract, words
