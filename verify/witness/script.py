"""Witness scripts: a few lines to paste that call a target on exact inputs and exit nonzero on the fault.

A script needs the target and NumPy (PyTorch, JAX or CuPy, if the target takes their arrays). It imports this package
where the target itself takes kernels and rules. Where no script can show a fault, the case is run again by this
package: arrays too large to be written out, and what neither a number nor the state of the process shows.
"""

from __future__ import annotations

import keyword
import re
import time
from dataclasses import replace

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape, zero_empty_cotangents
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.claims import Claim, Evidence, Raises, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.process.journal import JUDGING
from kernelproof.verify.records import CRASH, Call, Contract, Inputs, Outcome, Truth
from kernelproof.verify.targets.caller import Calling
from kernelproof.verify.targets.program import ProgramCaller
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.witness.claims import claims, shapes_kept
from kernelproof.verify.witness.effects import AGAIN, REPEATED, EffectWriter, turns_of
from kernelproof.verify.witness.pieces import PACKED
from kernelproof.verify.witness.writer import claimed_lines
from kernelproof.verify.workers.guard import Guard
from kernelproof.verify.workers.judge import Step

SECONDS = 2.0
"""What making the calls again may take in all, where they show nothing the first time."""
_TAKEN = frozenset({"inf", "nan"})
"""Names that a script has for numbers."""


def script_for(subject: Subject, check: str, guard: Guard, step: Step, message: str = "") -> str:
    """The script that shows the failure of `check` on `subject`; "" where only the case of the recipe can show it.

    Args:
        subject: the witness.
        check: id of the check; `CRASH` for what ends the process, where nothing is called here.
        guard: of the loaded target.
        step: told before each call.
        message: what the check said.
    """
    caller = guard.caller
    inputs = _asked(subject, caller.target.contract)
    writer = _Writer(subject, inputs, caller, message)
    held = [*inputs.arrays.values(), *inputs.options.values(), inputs.cotangent]
    if max((each.size for each in held if isinstance(each, np.ndarray)), default=0) > PACKED:
        return writer.fallback(check)
    if check == CRASH:
        return writer.crash(_crashed(subject, inputs, caller, message))
    calls = checks()[check].calls(subject.case, inputs)
    calls = {name: call for name, call in calls.items() if caller.target.answers(subject.case, call)}
    if isinstance(caller, ProgramCaller):
        # A script starts it too, so what it remembers of other calls must not show.
        caller.program.stop()
    truths = {name: _truth(subject, call, caller) for name, call in calls.items()}
    ends = time.monotonic() + SECONDS
    for turn in range(1, REPEATED + 1):
        seen: dict[str, Seen] = {}
        with guard:
            for name, call in calls.items():
                step(check, name)
                outcome = guard.call(subject.case, call, lambda: None)
                seen[name] = Seen(variable(name), call, _along_last(outcome, call), truths[name])
        step("", JUDGING)
        if script := writer.shown(check, seen, turn):
            return script
        if time.monotonic() > ends:
            break
    return writer.fallback(check)


def variable(name: str) -> str:
    """The name of the output of a call in a script.

    >>> variable("forward"), variable("forward again"), variable("row 3"), variable("nan"), variable("raise")
    ('got', 'forward_again', 'row_3', 'call_nan', 'call_raise')
    """
    known = {"forward": "got", "vjp": "gradient"}
    word = known.get(name, re.sub(r"\W", "_", name))
    return word if word.isidentifier() and not keyword.iskeyword(word) and word not in _TAKEN else f"call_{word}"


def _asked(subject: Subject, contract: Contract) -> Inputs:
    """The inputs as `judge_target` asks them of a target of this contract."""
    inputs = subject.built(contract)
    truth = None if inputs.cotangent is None else truth_for(subject.case, inputs, contract)[0]
    return inputs if truth is None else zero_empty_cotangents(inputs, truth.empty, contract)


def _width(case: Case, call: Call) -> int:
    """The length of a row of what `call` returns, with the keys of logits along the last axis."""
    shape = output_shape(case, call.inputs)
    return int(shape[call.axis if case.op == "entmax" else -1]) if shape else 1


def _crashed(subject: Subject, inputs: Inputs, caller: Calling, message: str) -> Call:
    """The call that `message` says has ended the process."""
    found = re.match(r"the (.+?) call: ", message)
    for check in checks().values() if found else ():
        call = check.calls(subject.case, inputs).get(found[1] if found else "")
        if call is not None and caller.target.answers(subject.case, call):
            return call
    return Call(inputs)


def _along_last(outcome: Outcome, call: Call) -> Outcome:
    """`outcome` with the keys along the last axis, as the script has them; as it is where the shape is wrong."""
    output = outcome.arrays.get("output")
    given = next(iter(call.inputs.arrays.values()))
    if call.axis == -1 or output is None or output.shape != given.shape:
        return outcome
    return replace(outcome, arrays={"output": np.moveaxis(output, call.axis, -1)})


def _truth(subject: Subject, call: Call, caller: Calling) -> Truth | None:
    given = call.inputs if call.equivalent is None else call.equivalent
    # What an empty row is filled with is the claim's to say; truth would raise where the call has to.
    options = {name: value for name, value in given.options.items() if name != "empty"}
    arrays = {name: np.moveaxis(array, call.axis, -1).copy(order="C") for name, array in given.arrays.items()}
    inputs = replace(given, options=options, arrays=given.arrays if call.axis == -1 else arrays)
    case = case_of(subject.case, call)
    truth = truth_for(case, inputs, caller.target.contract)[0]
    scope = caller.target.scope(case.op)
    if truth is None or truth.gradients is None or scope is None or scope.gradients is None:
        return truth
    kept = {name: value for name, value in truth.gradients.items() if name in scope.gradients}
    return replace(truth, gradients=kept)


class _Writer(EffectWriter):
    """Writes the script of one failure."""

    def __init__(self, subject: Subject, inputs: Inputs, caller: Calling, message: str) -> None:
        super().__init__(subject, inputs, caller, message)
        self.contract = self.target.contract

    def shown(self, check: str, seen: dict[str, Seen], turn: int) -> str:
        """The script for a check whose calls gave `seen` when made for the `turn`-th time; "" if nothing is wrong."""
        evidence = checks()[check].evidence
        if evidence is Evidence.INPUTS:
            return self.untouched(check, seen, turn)
        if evidence is Evidence.STATE:
            return self.changed(check, seen, turn)
        if evidence is Evidence.REPEATS:
            return self.repeated(check, seen)
        may = {name: checks()[check].raises(name, self.contract) for name in seen}
        silent = [one for name, one in seen.items() if may[name] is Raises.MUST and one.outcome.arrays]
        if silent:
            return self.unraised(check, silent[0])
        failed = next((one for name, one in seen.items() if self._failed(one, may[name])), None)
        seen = {name: one for name, one in seen.items() if not _excused(one, may[name])}
        if failed is not None:
            return self.raised(check, failed) if turn == 1 else self.in_turn(check, seen, [], turn, plain=True)
        odd = {name: one for name, one in seen.items() if self._odd(one)}
        found = list(shapes_kept(odd, self.case)) if odd else claims(check, self.case, seen, self.contract)
        if not any(not claim.met for claim in found):
            return ""
        plain = bool(odd) or evidence is Evidence.ARRAYS
        if turn > 1:
            return self.in_turn(check, seen, found, turn, plain=plain)
        used = [one for one in seen.values() if any(_names(one, claim) for claim in found)]
        return self.head(check, [*self.made_calls(used, plain=plain), *claimed_lines(found)])

    def in_turn(self, check: str, seen: dict[str, Seen], found: list[Claim], turn: int, *, plain: bool) -> str:
        """All calls again and again, until a claim is not met or one fails: what earlier calls leave behind shows."""
        lines = [*self.made_calls(list(seen.values()), plain=plain), *claimed_lines(found, quiet=True)]
        body = [
            "# The calls before, in their order, are part of it: what is wrong shows after some of them.",
            f"for turn in range({turns_of(turn)}):",
            *(f"    {line}" for line in lines[:-1]),
            "    if wrong:",
            f'        sys.exit(f"{AGAIN} {{turn}} times")',
        ]
        return self.head(check, body)

    def made_calls(self, used: list[Seen], *, plain: bool) -> list[str]:
        """Lines that make the arrays and the calls of `used`; `plain`: what they return is left in its shape."""
        body = []
        for at, one in enumerate(used):
            lines, names = self.arrays(one.call, "" if at == 0 else f"_{one.variable}")
            width = _width(self.case, one.call)
            body += [*lines, *self.called(one, names, None if plain else width)]
        return body

    def _failed(self, one: Seen, may: Raises) -> bool:
        """Whether the failure is that the call raised or gave no output."""
        if may in {Raises.MAY, Raises.MUST}:
            return False
        fault = broken(one.outcome) if may is Raises.NEVER else broken(one.outcome, one.truth, self.contract)
        return fault is not None and fault.failed > 0

    def _odd(self, one: Seen) -> bool:
        """Whether an output has a shape that does not hold the rows."""
        output = one.outcome.arrays.get("output")
        if one.call.mode != "forward" or output is None:
            return False
        wanted: tuple[int, ...] = output_shape(self.case, one.call.inputs)
        if one.call.axis != -1:
            wanted = np.moveaxis(np.empty(wanted), one.call.axis, -1).shape
        return bool(output.size != np.prod(wanted) or output.shape[-1:] != wanted[-1:])


def _excused(one: Seen, may: Raises) -> bool:
    """Whether there is nothing to hold against claims, rightly: the call had to raise, or was free to and did."""
    return may is Raises.MUST or (may is Raises.MAY and broken(one.outcome) is not None)


def _names(one: Seen, claim: Claim) -> bool:
    """Whether the claim is about what came of `one`."""
    return re.search(rf"\b{one.variable}(_raw)?\b", claim.expression) is not None
