"""Aggregate the results of cases into the record of a run: verdicts, worst cases, accuracy and coverage tables."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.coverage import not_dealt, recipes_dealt
from kernelproof.verify.cases.families import families
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.grades import UNGRADED
from kernelproof.verify.record.accuracy import accuracy_table, order_key
from kernelproof.verify.record.basis import diagnosis, rests_on, usual_grade
from kernelproof.verify.record.pairs import pairs_of
from kernelproof.verify.record.schema import Accuracy, Check, Coverage, Recipes, Verdict, Worst
from kernelproof.verify.record.schema import Target as TargetRecord
from kernelproof.verify.record.xfail import Expected, ExpectedFailures
from kernelproof.verify.records import ACCURACY, OPS, Failure
from kernelproof.verify.targets.target import Target
from kernelproof.verify.workers.runner import Found
from kernelproof.verify.workers.tasks import CaseResult, explained

KEPT = 8
"""The most failures of a check to put into the record."""
_Ranked = tuple[tuple[bool, float], int, Failure, Case]


@dataclass
class _Tally:
    """Counts of one check on one target, while they are collected."""

    applied: int = 0
    decided: int = 0
    undecided: int = 0
    vacuous: int = 0
    failed: int = 0
    crashes: int = 0
    failing_cases: int = 0
    expected: int = 0
    expected_crashes: int = 0
    reasons: dict[str, None] = field(default_factory=dict)
    missed: dict[str, None] = field(default_factory=dict)
    worst: tuple[tuple[bool, bool, float], Failure, Case] | None = None
    failures: list[_Ranked] = field(default_factory=list)


@dataclass(frozen=True)
class TargetRun:
    """The cases and results of one target in a run.

    Attributes:
        target: the target.
        cases: all cases of the run.
        results: the results, by index of case.
        refused: why the target does not support a case, by index of case.
        single: whether the run is one case that the user named; then a check may have nothing to decide.
        expected: the failures that are known.
        suite: the suite whose recipes are counted.
        unasked: why a case was not run although the target supports it, by index of case.
    """

    target: Target
    cases: Sequence[Case]
    results: dict[int, CaseResult]
    refused: dict[int, str]
    single: bool = False
    expected: tuple[Expected, ...] = ()
    suite: str = "standard"
    unasked: dict[int, str] = field(default_factory=dict)

    def answered(self, at: int, found: Found, unasked: Mapping[tuple[int, int], str]) -> TargetRun:
        """Add the answers of the target with index `at`; keys of `found` and `unasked` are (case, target) indices."""
        results = {number: result for (number, index), result in found.items() if index == at}
        return replace(
            self, results=results, unasked={number: why for (number, index), why in unasked.items() if index == at}
        )


def unmatched(expected: Sequence[Expected], runs: Sequence[TargetRun]) -> list[str]:
    """A line for each expected failure that matches nothing that was tried in `runs`."""
    return [
        f"the expected failure {entry.text} matches nothing that was tried: {entry.reason}"
        for entry in expected
        if not any(
            entry.matches(tried.target, tried.cases[number], name)
            for tried in runs
            for number, result in tried.results.items()
            for name in result.checks
        )
    ]


def reproduce(target: Target, case: Case) -> str:
    """The command that repeats one case on one target."""
    device = f" --device {target.device}" if target.device != "cpu" else ""
    words = shlex.join((target.name, *target.place.words))
    return f"kernelproof verify {words}{device} --case '{case.text}'"


def record(tried: TargetRun) -> TargetRecord:
    """The record of one target."""
    found = _checks(tried)
    accuracy = accuracy_table(tried.cases, tried.results)
    called = sum(result.calls for result in tried.results.values())
    decided = sum(check.decided for check in found)
    verdict = _verdict(found, called, decided, single=tried.single)
    if tried.unasked and verdict in {Verdict.PASS, Verdict.XFAIL, Verdict.XPASS}:
        # No unexpected failure was found, but cases that were not run may still fail.
        verdict = Verdict.UNDECIDED
    remarks = dict.fromkeys(remark for result in tried.results.values() for remark in result.remarks)
    notes = [
        tried.target.note,
        *_first_of_each(remarks),
        *explained(tried.results.values()),
        *diagnosis(tried.results.values()),
    ]
    notes += [f"{count} cases were {reason}" for reason, count in Counter(tried.unasked.values()).items()]
    if not called:
        reasons = dict.fromkeys(tried.refused.values()) or {"no case of the run applies": None}
        notes.append(f"never called: {'; '.join(list(reasons)[:3])}")
    elif not decided:
        notes.append("nothing was decided")
    return TargetRecord(
        name=tried.target.name,
        device=tried.target.device,
        grade=_grade(found, accuracy) if decided else "F",
        promised=tried.target.contract.grade,
        by_default=not tried.target.promised,
        rests_on=rests_on(tried.target.contract, {tried.cases[number].op for number in tried.results}),
        usual_grade=usual_grade(tried.results.values(), _fatal(found)),
        passed=verdict in {Verdict.PASS, Verdict.XFAIL},
        verdict=verdict,
        note="; ".join(note for note in notes if note),
        checks=found,
        accuracy=accuracy,
        coverage=_coverage(tried),
        recipes=_recipes(tried),
        pairs=[] if tried.single else list(pairs_of(tried.target, tried.cases, tried.results)),
    )


def _recipes(tried: TargetRun) -> list[Recipes]:
    """Count recipes for each op and family, over all orders and dtypes; cases that the target refused do not count."""
    asked = [case for number, case in enumerate(tried.cases) if number in tried.results]
    found = [
        Recipes(op=op, family=family, tried=held, known=known)
        for (op, family), (held, known) in recipes_dealt(asked, tried.suite).items()
    ]
    return sorted(found, key=lambda each: (OPS.index(each.op), each.family))


def _first_of_each(remarks: Iterable[str]) -> list[str]:
    """Keep one remark of each kind; remarks of a kind have the same beginning and differ only in their example."""
    return list({remark.partition(", such as")[0]: remark for remark in reversed(list(remarks))}.values())[::-1]


def _verdict(found: Sequence[Check], called: int, decided: int, *, single: bool) -> Verdict:
    if not called:
        return Verdict.UNSUPPORTED
    said = {check.verdict for check in found}
    for each in (Verdict.FAIL, Verdict.CRASH, Verdict.XPASS):
        if each in said:
            return each
    undecided = {check.id for check in found if check.verdict is Verdict.UNDECIDED}
    # If the user names one case, a check may have nothing to decide, except for accuracy.
    if not decided or (undecided and not single) or ACCURACY in undecided:
        return Verdict.UNDECIDED
    return Verdict.XFAIL if Verdict.XFAIL in said else Verdict.PASS


def _grade(found: Sequence[Check], accuracy: Sequence[Accuracy]) -> str:
    # The grade counts every failure, whether or not it was expected.
    if _fatal(found):
        return "F"
    if any(check.statistics.get("crashes") for check in found):
        return "F"
    if any(check.failed and check.worst and check.worst.kappa == np.inf for check in found):
        return "F"
    return max((row.grade for row in accuracy), default=UNGRADED)


def _fatal(found: Sequence[Check]) -> bool:
    """Whether a check failed whose failure is grade F."""
    return any(check.failed and checks()[check.id].fatal for check in found)


def _rank(failure: Failure) -> float:
    kappa = failure.kappa
    return 0.0 if kappa is None else np.inf if np.isnan(kappa) else kappa


def _checks(tried: TargetRun) -> list[Check]:
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    unsupported: set[str] = set()
    known_failures = ExpectedFailures(tried.target, tried.expected)
    for number, result in sorted(tried.results.items()):
        case = tried.cases[number]
        unsupported.update(result.unsupported)
        for name, said in result.checks.items():
            tally, judgement = tallies[name], said.judgement
            tally.applied += 1
            tally.decided += judgement.decided
            tally.undecided += judgement.undecided
            tally.vacuous += judgement.vacuous
            tally.failed += judgement.failed
            tally.failing_cases += judgement.failed > 0
            known = known_failures.of(case, name, failed=said.failed, decided=said.judgement.decided > 0)
            if known is not None:
                tally.expected += judgement.failed
                tally.expected_crashes += said.crash is not None
                tally.reasons[known.reason] = None
            if said.crash is not None:
                tally.crashes += 1
                failure = Failure(message=said.crash, kappa=np.inf)
                tally.failures.append(((known is None, np.inf), number, failure, case))
                _consider(tally, failure, case, failed=True, known=known is not None)
            for failure in judgement.failures:
                tally.failures.append(((known is None, _rank(failure)), number, failure, case))
            if judgement.worst is not None:
                _consider(tally, judgement.worst, case, failed=judgement.failed > 0, known=known is not None)
    for name, reasons in known_failures.missed().items():
        tallies[name].missed = reasons
    return [
        _check(name, tallies.get(name), tried, unsupported=name in unsupported)
        for name in checks()
        if name in tallies or name in unsupported
    ]


def _consider(tally: _Tally, failure: Failure, case: Case, *, failed: bool, known: bool) -> None:
    """Keep the worst comparison. Rank: unexpected failures, other failures, the larger κ, the earlier case."""
    rank = failed and not known, failed, _rank(failure)
    if tally.worst is None or rank > tally.worst[0]:
        tally.worst = (rank, failure, case)


def _check(name: str, tally: _Tally | None, tried: TargetRun, *, unsupported: bool) -> Check:
    title = checks()[name].title
    if tally is None:
        return Check(id=name, title=title, verdict=Verdict.UNSUPPORTED)
    if tally.failed > tally.expected:
        verdict = Verdict.FAIL
    elif tally.crashes > tally.expected_crashes:
        verdict = Verdict.CRASH
    elif tally.missed:
        verdict = Verdict.XPASS
    elif tally.expected or tally.expected_crashes:
        verdict = Verdict.XFAIL
    elif tally.decided:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.UNSUPPORTED if unsupported else Verdict.UNDECIDED
    ranked = sorted(tally.failures, key=lambda each: (not each[0][0], -each[0][1], each[1]))
    # Keep one failure of each case, because five elements of one row are less informative than five cases.
    seen: set[int] = set()
    spread = [each for each in ranked if each[1] not in seen and not seen.add(each[1])]  # type: ignore[func-returns-value]
    spread = _varied(spread)
    return Check(
        id=name,
        title=title,
        verdict=verdict,
        decided=tally.decided,
        undecided=tally.undecided,
        vacuous=tally.vacuous,
        failed=tally.failed,
        expected=tally.expected,
        reasons=list(tally.missed or tally.reasons),
        worst=None if tally.worst is None else _worst(tried.target, tally.worst[1], tally.worst[2]),
        failures=[_worst(tried.target, failure, case) for _, _, failure, case in spread[:KEPT]],
        statistics={
            "cases": float(tally.applied),
            "failing cases": float(tally.failing_cases),
            "crashes": float(tally.crashes),
        },
    )


def _varied(ranked: list[_Ranked]) -> list[_Ranked]:
    """Reorder `ranked` so that kinds of failure alternate; within a kind, different orders come first.

    A kind is an output together with whether the value is finite. Without this, rows of NaN at five orders would hide a
    wrong number at a sixth.
    """
    kinds: dict[tuple[str, bool], list[_Ranked]] = defaultdict(list)
    for each in ranked:
        failure = each[2]
        kinds[failure.message.partition("[")[0], failure.got in {"nan", "inf", "-inf"}].append(each)
    lines = []
    for held in kinds.values():
        first = list({each[3].order_label: each for each in reversed(held)}.values())[::-1]
        lines.append([*(each for each in held if each in first), *(each for each in held if each not in first)])
    turns = zip_longest(*lines)
    return [each for turn in turns for each in turn if each is not None]


def _worst(target: Target, failure: Failure, case: Case) -> Worst:
    return Worst(
        case=case.text,
        reproduce=reproduce(target, case),
        message=failure.message,
        index=None if failure.index is None else list(failure.index),
        got=failure.got,
        expected=failure.expected,
        ulp=failure.ulp,
        absolute=failure.absolute,
        kappa=failure.kappa,
    )


def _coverage(tried: TargetRun) -> list[Coverage]:
    cells: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    reasons: dict[tuple[str, str, str, str], str] = {}
    for number, case in enumerate(tried.cases):
        place = (case.op, case.order_label, case.dtype, case.family)
        cell = cells[place]
        if number in tried.results:
            result = tried.results[number]
            cell[0] += 1
            cell[1] += sum(said.judgement.decided for said in result.checks.values())
            cell[2] += sum(said.judgement.undecided for said in result.checks.values())
            if result.note:
                reasons.setdefault(place, result.note)
        elif (reason := tried.unasked.get(number, tried.refused.get(number))) is not None:
            reasons.setdefault(place, reason)
    if not tried.single:
        for place in _grid(tried.cases):
            if place not in cells:
                cells[place] = [0, 0, 0]
                reasons[place] = not_dealt(*place)

    def key(item: tuple[str, str, str, str]) -> tuple[object, ...]:
        op, order, dtype, family = item
        return OPS.index(op), order_key(order), dtype, family

    return [
        Coverage(
            op=place[0],
            order=place[1],
            dtype=place[2],
            family=place[3],
            cases=cells[place][0],
            decided=cells[place][1],
            undecided=cells[place][2],
            not_tried=None if cells[place][0] else reasons.get(place, "the run has no such case for this target"),
        )
        for place in sorted(cells, key=key)
    ]


def _grid(cases: Iterable[Case]) -> Iterable[tuple[str, str, str, str]]:
    """Every combination of op, order, dtype and family in the run; each op only with its own orders and α."""
    ops = dict.fromkeys(case.op for case in cases)
    dtypes = dict.fromkeys(case.dtype for case in cases)
    for op in ops:
        orders = dict.fromkeys(case.order_label for case in cases if case.op == op)
        for order in orders:
            for dtype in dtypes:
                for family in families():
                    yield op, order, dtype, family
