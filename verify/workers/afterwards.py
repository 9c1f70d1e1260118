"""Calls of a run that are repeated at its end: after thousands of others, and in a process without kernelproof.

A target may answer rightly at first, or only as long as it is being verified. What it gave in the run is kept as a
digest; other bits at the end are failures of determinism, each with a message of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks.determinism import CHECK as DETERMINISM
from kernelproof.verify.checks.determinism import MANY, PLAIN
from kernelproof.verify.hosts import plain
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.hosts.remote import Remote
from kernelproof.verify.records import Call, Failure, Outcome
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, digest_of

if TYPE_CHECKING:
    from kernelproof.verify.targets.target import Target

CASES = 8
"""Cases that are repeated, of as many ops and dtypes as there are."""
LARGEST = 1 << 12
"""Sizes of their shapes, multiplied: small ones."""
CALLS = 4096
"""Calls that are made before."""
BATCH = 64
"""The most of them that are asked for together."""
SPAN = 0.25
"""Seconds that those asked for together should take: the limit of time is that of the calls of one case."""
OUT_OF_MEMORY = "out of memory"
SECONDS = 8.0
"""Time for these calls: a slow target gets fewer."""


def chosen(target: Target, cases: Sequence[Case], found: Mapping[int, CaseResult]) -> list[int]:
    """The numbers of the cases to repeat: of each op and dtype in turn, those of the smallest shapes first."""
    if not target.contract.deterministic:
        return []
    good = [number for number, each in found.items() if each.digest and prod(cases[number].shape) <= LARGEST]
    kinds: dict[tuple[str, str], list[int]] = {}
    for number in sorted(good, key=lambda number: (prod(cases[number].shape), cases[number].text)):
        kinds.setdefault((cases[number].op, cases[number].dtype), []).append(number)
    # The larger shapes of the small: those of one key are right in any way.
    turns = [numbers.pop() for _ in range(CASES) for numbers in kinds.values() if numbers]
    return turns[:CASES]


def repeated(asked: Remote, cases: Sequence[tuple[Case, str]], seconds: float, further: int) -> list[tuple[int, str]]:
    """Which of `cases` gave other bits, by their index, and in which way.

    Args:
        asked: the target.
        cases: each with the digest of its forward call in the run.
        seconds: the time limit of the calls in a plain process.
        further: how many calls are made before, if there is time.
    """
    calls = [(case, Call(resolve(inputs_of(case), asked.target.contract))) for case, _ in cases]
    digests = [digest for _, digest in cases]
    count, batch, ends = 0, 1, time.monotonic() + SECONDS
    while count < further and (began := time.monotonic()) < ends:
        for case, call in calls:
            count += batch
            if not asked.repeat(case, call, batch):
                if asked.fate is Fate.MEMORY:
                    return []
                return [(0, MANY.format(count=count, what="ended the process of the target"))]
        share = len(calls) * SPAN / max(time.monotonic() - began, 1e-9)
        batch = max(1, min(BATCH, int(batch * share), -(-(further - count) // len(calls))))
    later = [outcome for case, call in calls for outcome in asked.answer(case, [call])[:1]]
    wrong = _other(digests, later, partial(MANY.format, count=count))
    if not wrong and plain.can_be_asked(asked.target):
        given = plain.answers(asked.target, calls, seconds)
        if isinstance(given, str):
            return [(0, PLAIN.format(what=f"gave {given}"))]
        wrong = _other(digests, given, PLAIN.format)
    return wrong


def _other(digests: Sequence[str], outcomes: Sequence[Outcome], message: Callable[..., str]) -> list[tuple[int, str]]:
    """The cases whose outcome is not that of the run, each with `message` of what it is."""
    found = []
    for at, digest in enumerate(digests):
        outcome = outcomes[at] if at < len(outcomes) else Outcome(crash="no answer")
        if OUT_OF_MEMORY in (outcome.crash or ""):
            # It gives no memory back, which thousands of calls make more of than any user may.
            continue
        if digest_of(outcome) != digest:
            what = "gave other bits than in the run"
            if outcome.error is not None:
                what = f"raised {outcome.error}"
            elif outcome.crash is not None:
                what = f"gave {outcome.crash}" if at >= len(outcomes) else f"did not return: {outcome.crash}"
            found.append((at, message(what=what)))
    return found


def with_failure(result: CaseResult, message: str) -> CaseResult:
    """`result` with a failure of determinism."""
    said = result.checks.get(DETERMINISM.id, CheckResult())
    failure = Failure(message=message)
    judged = replace(
        said.judgement,
        decided=said.judgement.decided + 1,
        failed=said.judgement.failed + 1,
        failures=(failure, *said.judgement.failures)[:5],
        worst=failure,
    )
    return replace(result, checks={**result.checks, DETERMINISM.id: CheckResult(judged)}, hints=(), assumed=())
