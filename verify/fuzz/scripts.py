"""Scripts for the failures of a verification: the smallest failing case, shrunk further in a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Arena, Here, Judge
from kernelproof.verify.fuzz.shrinker import Shrinker
from kernelproof.verify.fuzz.subject import Answer, size_of
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record.schema import Check, Verdict, Worst
from kernelproof.verify.record.schema import Target as TargetRecord
from kernelproof.verify.records import CRASH
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.renderer import Script

ALL_SUBJECTS = 1200
"""The most subjects to judge while shrinking, for all targets and checks of a run together."""
SUBJECTS = 150
"""The most subjects to judge for one check."""
LARGEST = 1 << 20
"""The product of the sizes of the largest case that is run once more, alone."""
NOT_ALONE = "  # does not show alone: it may need the calls before it; run the suite again"
"""Ends the line that repeats a case, as a comment of the shell, where the failure does not show in a fresh process."""
QUICK = 5.0
"""Seconds that a call may take while shrinking: the case is small, or soon will be."""


def with_scripts(
    records: Sequence[TargetRecord], targets: Sequence[Target], *, limits: Limits, serial: bool
) -> list[TargetRecord]:
    """Add a script to every check that failed or whose call ended the process; say which lines show nothing alone.

    Args:
        records: one for each of `targets`, in their order.
        targets: the targets that were verified.
        limits: limits of a case in the run.
        serial: run in this process, for tests.
    """
    # By steps, not by the clock: the script of a failure is the same on a busy machine.
    count = sum(len(_failed(record)) for record in records)
    most = min(SUBJECTS, ALL_SUBJECTS // max(count, 1))
    found = []
    for record, target in zip(records, targets, strict=True):
        wanted = _failed(record)
        if not wanted:
            found.append(record)
            continue
        with ExitStack() as stack:
            quick = Limits(min(limits.seconds, QUICK), limits.memory)
            judge: Judge = Here(target) if serial else stack.enter_context(Arena(target, quick))
            alone = Alone(judge)
            lines = {check.id: alone.told(check) for check in wanted}
            judge.fresh()
            shown = {check.id: _witness(judge, check, most) for check in wanted}
            # A pasted script makes the first calls of a target, so a process that has made no calls has to write it.
            judge.fresh()
            scripts: dict[str, str | None] = {}
            keeps = False
            for check in wanted:
                script = _script(judge, check, *shown[check.id])
                if script.runs_case:
                    # Earlier scripts have called the target too; a fresh process shows what only its first calls do.
                    judge.fresh()
                    script = _script(judge, check, *shown[check.id])
                scripts[check.id] = script.text or None
                keeps = keeps or script.repeats
                if keeps:
                    # The target keeps state between calls, so that the next script needs a process without any too.
                    judge.fresh()
        checks = [
            lines.get(check.id, check).model_copy(update={"script": scripts.get(check.id)}) for check in record.checks
        ]
        found.append(record.model_copy(update={"checks": checks}))
    return found


def _failed(record: TargetRecord) -> list[Check]:
    """The checks that need a script."""
    return [check for check in record.checks if check.verdict in {Verdict.FAIL, Verdict.CRASH} and check.worst]


class Alone:
    """The cases of failures, each run in a process of its own, as whoever pastes the line of a report will run it."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.answers: dict[str, Answer] = {}

    def told(self, check: Check) -> Check:
        """Mark the failures whose cases do not fail `check` alone.

        The worst case is run first. Where it fails alone, so do the others, as far as it is worth the time to know.
        """
        assert check.worst is not None  # the caller has checked this
        if not self._passes(check, check.worst):
            return check
        failures = [_marked(each) if self._passes(check, each) else each for each in check.failures]
        return check.model_copy(update={"worst": _marked(check.worst), "failures": failures})

    def _passes(self, check: Check, failure: Worst) -> bool:
        if prod(Case.parse(failure.case).shape) > LARGEST:
            return False
        if failure.case not in self.answers:
            self.judge.fresh()
            self.answers[failure.case] = self.judge.ask(Question(Subject(Case.parse(failure.case)), whole=True))
        answer = self.answers[failure.case]
        # A process that ended, or the lack of an answer, says nothing of this check.
        return answer.called and not answer.failures.keys() & {check.id, CRASH}


def _marked(failure: Worst) -> Worst:
    return failure.model_copy(update={"reproduce": failure.reproduce + NOT_ALONE})


def _witness(judge: Judge, check: Check, most: int) -> tuple[Subject, str]:
    """The smallest of at most `most` subjects on which a check fails, and the message of the check."""
    assert check.worst is not None  # the caller has checked this
    name = CRASH if check.verdict is Verdict.CRASH else check.id
    held = _cases(check)
    subject = min((Subject(Case.parse(text)) for text in held), key=size_of)
    message = next((each.message for each in check.failures if each.case == subject.case.text), check.worst.message)
    if name != CRASH:
        answer: Answer = judge.ask(Question(subject, frozenset({name})))
        if name in answer.failures:
            # At another order the same check may fail for another reason, such as an order that was never promised.
            orders = frozenset(Case.parse(text).order_label for text in held)
            shrinker = Shrinker(
                judge,
                name,
                most=most,
                within=lambda case: case.order_label in orders,
            )
            small = shrinker.shrink(subject, answer.failures[name])
            subject, message = small.subject, small.failure.message
    return subject, message


def _script(judge: Judge, check: Check, subject: Subject, message: str) -> Script:
    """The script for one failed check."""
    name = CRASH if check.verdict is Verdict.CRASH else check.id
    script: Script = judge.ask(Question(subject, wants="script", check=name, message=message))
    if not script and subject.inputs is not None:
        # No explicit array shows the failure, so the script runs the recipe again.
        case = min((Subject(Case.parse(text)) for text in _cases(check)), key=size_of)
        script = judge.ask(Question(case, wants="script", check=name, message=message))
    return script


def _cases(check: Check) -> list[str]:
    """The cases that are known to fail, as text."""
    assert check.worst is not None  # as above
    return list(dict.fromkeys([*(each.case for each in check.failures), check.worst.case]))
