"""Hints for a target that fails: would its answers be right under another reading of the same call?

A hint is not a verdict. It names the line of a declaration that states the other reading, and it explains a case only
if everything that failed there is right under that reading. It is shown only if every case that failed is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.verify.cases.inputs import other_readings
from kernelproof.verify.records import ACCURACY, Contract, Inputs, Judgement, Outcome

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

Rejudge = Callable[[str, Inputs, Contract], Judgement]
"""(id of a check, the inputs under another reading, contract) -> its judgement of the same answers."""
NO_HINT = ""
"""Stands for a hint in a case that says nothing for or against one."""
BTHD_HINT = (
    'right if its arrays are (batch, tokens, heads, width): a target that takes them so declares layout = "bthd"'
)
_FLUSHES = (
    "fails in cases where nothing is wrong but that subnormal numbers came as 0: a target that flushes those declares "
    "flush_to_zero = true"
)
_REUSES = (
    "right, but returned in memory that later calls overwrite: a target that means that declares reuses_output = true"
)
_VARIES = "right each time, but with other bits: a target that adds in any order declares deterministic = false"
_WORDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"flush_to_zero": True}, _FLUSHES),
    ({"deterministic": False}, _VARIES),
    ({"reuses_output": True}, _REUSES),
)
"""(what a contract may say, the hint)."""
_SELECTING = ("mask", "causal", "lengths")


def hints(
    case: Case, inputs: Inputs, forward: Outcome | None, failed: tuple[str, ...], contract: Contract, rejudge: Rejudge
) -> Iterator[str]:
    """Yield the hints for a case that failed.

    Args:
        case: the case.
        inputs: the inputs that the target was called with.
        forward: the outcome of the plain call, if it was made.
        failed: ids of the checks that failed.
        contract: of the target.
        rejudge: judges the same answers under another reading.
    """
    for word, words in _WORDS:
        other = replace(contract, **word)
        # All checks must pass: flushing does not excuse a failure of another kind.
        if other != contract and _right(failed, inputs, other, rejudge):
            yield words
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
        # The masked keys of these features dominate under any reading that lets them through.
        return
    for meant, other, words in _readings(inputs, contract):
        if rejudge(ACCURACY, meant, other).decided and _right(failed, meant, other, rejudge):
            yield words


def _right(failed: tuple[str, ...], meant: Inputs, contract: Contract, rejudge: Rejudge) -> bool:
    return bool(failed) and all(not rejudge(name, meant, contract).failed for name in failed)


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
