"""Witness scripts: each calls a target on exact inputs, and exits with status 1 if the fault shows.

A script needs the target and NumPy, or the library whose arrays the target takes. It imports this package only if the
target takes kernels and rules. If an array is too large to be written out, or the fault shows neither in a number nor
in the state of the process, the script runs the case again with this package instead.
"""

from __future__ import annotations

import keyword
import re
import time
from dataclasses import replace

import numpy as np

from kernelproof.verify.cases.inputs import zero_empty_cotangents
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import checks
from kernelproof.verify.checks.determinism import AFTERWARDS
from kernelproof.verify.checks.determinism import CHECK as DETERMINISM
from kernelproof.verify.hosts.respondent import Respondent
from kernelproof.verify.judging.claims import Seen
from kernelproof.verify.records import CRASH, Call, Contract, Inputs, Outcome, Truth
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.witness.choice import shown
from kernelproof.verify.witness.literals import LARGEST
from kernelproof.verify.witness.renderer import REPEATED, Script
from kernelproof.verify.witness.writer import Writer
from kernelproof.verify.workers.judge import calls_of

LATE = 8192
"""Calls that a script makes where a fault showed at the end of a run: twice as many as are made there."""
SECONDS = 2.0
"""Seconds for which the calls are repeated if they show nothing the first time."""
_TAKEN = frozenset({"inf", "nan"})
"""Variable names that a script needs for numbers."""


def script_for(subject: Subject, check: str, asked: Respondent, message: str = "") -> Script:
    """Return the script that shows the failure of `check` on `subject`; empty if only a run of a recipe's case could.

    Args:
        subject: the witness.
        check: id of the check; for `CRASH` the target is not called here, because that would end the process.
        asked: the target, which answers calls.
        message: of the failure.
    """
    target = asked.target
    inputs = _asked(subject, target.contract)
    writer = Writer(subject, target, message)
    held = [*inputs.arrays.values(), *inputs.options.values(), inputs.cotangent]
    if max((each.size for each in held if isinstance(each, np.ndarray)), default=0) > LARGEST:
        return writer.fallback(check)
    if check == DETERMINISM.id and message.startswith(AFTERWARDS):
        if " further calls, " not in message or target.is_program:
            # What shows outside of a run only, shows in a run.
            return writer.fallback(check)
        return writer.repeated(check, {"forward": Seen("got", Call(inputs), Outcome(), None)}, LATE)
    if check == CRASH:
        return writer.crash(_crashed(subject, inputs, target, message))
    calls = calls_of(checks()[check], subject.case, inputs, target.contract)
    calls = {name: call for name, call in calls.items() if target.answers(subject.case, call)}
    if any(call.per_row for call in calls.values()):
        # Each row has a truth of its own, which a script has no words for.
        return writer.fallback(check)
    if target.is_program:
        # The script starts a new process of the program, so the calls here must not depend on earlier ones either.
        asked.fresh()
    truths = {name: _truth(subject, call, target) for name, call in calls.items()}
    ends = time.monotonic() + SECONDS
    for turn in range(1, REPEATED + 1):
        seen: dict[str, Seen] = {}
        outcomes = asked.answer(subject.case, list(calls.values()))
        if asked.fate is not None:
            break
        for (name, call), outcome in zip(calls.items(), outcomes, strict=True):
            truth, scope = truths[name], target.scope(subject.case.op)
            if truth is not None and scope is not None and call.mode == "vjp":
                truth = scope.of_gradients(truth, outcome)
            seen[name] = Seen(variable(name), call, _along_last(outcome, call), truth)
        if script := shown(writer, check, seen, turn):
            return script
        if time.monotonic() > ends:
            break
    return writer.fallback(check)


def variable(name: str) -> str:
    """Return the variable that holds the output of a call in a script.

    >>> variable("forward"), variable("forward again"), variable("row 3"), variable("nan"), variable("raise")
    ('got', 'forward_again', 'row_3', 'call_nan', 'call_raise')
    """
    known = {"forward": "got", "vjp": "gradient"}
    word = known.get(name, re.sub(r"\W", "_", name))
    return word if word.isidentifier() and not keyword.iskeyword(word) and word not in _TAKEN else f"call_{word}"


def _asked(subject: Subject, contract: Contract) -> Inputs:
    """Return the inputs that `judge_target` gives a target of this contract."""
    inputs = subject.built(contract)
    truth = None if inputs.cotangent is None else truth_for(subject.case, inputs, contract)[0]
    return inputs if truth is None else zero_empty_cotangents(inputs, truth.empty, contract)


def _crashed(subject: Subject, inputs: Inputs, target: Target, message: str) -> Call:
    """Return the call that, as `message` says, ended the process."""
    found = re.match(r"the (.+?) call: ", message)
    for check in checks().values() if found else ():
        call = calls_of(check, subject.case, inputs, target.contract).get(found[1] if found else "")
        if call is not None and target.answers(subject.case, call):
            return call
    return Call(inputs)


def _along_last(outcome: Outcome, call: Call) -> Outcome:
    """Return `outcome` with the keys along the last axis, as in the script; unchanged if the shape is wrong."""
    output = outcome.arrays.get("output")
    given = next(iter(call.inputs.arrays.values()))
    if call.axis == -1 or output is None or output.shape != given.shape:
        return outcome
    return replace(outcome, arrays={"output": np.moveaxis(output, call.axis, -1)})


def _truth(subject: Subject, call: Call, target: Target) -> Truth | None:
    given = call.inputs if call.equivalent is None else call.equivalent
    # The claim says what fills an empty row; with the option, the truth would raise wherever the call has to.
    options = {name: value for name, value in given.options.items() if name != "empty"}
    arrays = {name: np.moveaxis(array, call.axis, -1).copy(order="C") for name, array in given.arrays.items()}
    inputs = replace(given, options=options, arrays=given.arrays if call.axis == -1 else arrays)
    case = case_of(subject.case, call)
    truth = truth_for(case, inputs, target.contract)[0]
    scope = target.scope(case.op)
    return truth if truth is None or scope is None else scope.of_gradients(truth)
