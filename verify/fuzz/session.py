"""One fuzzing run: replay earlier witnesses, then run rounds of Hypothesis and shrink each finding twice.

A round ends at the first failure of a new kind. Hypothesis shrinks its recipe, then the delta debugger of `shrinker`
shrinks the arrays. Later rounds count further failures of that kind, and look for others. The time of a run ends the
drawing of recipes. Shrinking is bounded by steps alone, so that a witness does not depend on
how busy the machine is, and a finding of the last moment is shrunk like any other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky, Unsatisfiable

from kernelproof.reference.errors import DomainError
from kernelproof.reference.progress import Progress
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import headline
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Judge, OutOfTime, Silent
from kernelproof.verify.fuzz.database import Database, Entry, record_of
from kernelproof.verify.fuzz.fuzz_record import AlsoSeen, CoverageCell, FuzzFinding
from kernelproof.verify.fuzz.ledger import Budget, CellTally, SeenFailure, cells, lists, places, rows_of
from kernelproof.verify.fuzz.recipes import Space, recipes
from kernelproof.verify.fuzz.shrinker import Shrinker, Shrunk
from kernelproof.verify.fuzz.subject import Answer, kind, size_of
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.records import CRASH, Failure
from kernelproof.verify.witness.renderer import Script

ROUND = 100
"""Examples in a round; Hypothesis explores in the first half and climbs κ in the second."""
RECIPES = 80
"""The most recipes to judge while shrinking one finding; then its arrays are shrunk."""
DRY = 5
"""After this many consecutive rounds without a new recipe, there is nothing left to draw."""
SUBJECTS = 400
"""The most subjects to judge while shrinking the arrays of one finding."""
DEATHS = {"death": 24, "memory": 16, "hang": 8}
"""The same for failures that end the process, each of which costs a new process or the time limit."""
QUICK_SECONDS = 2.0
"""Seconds that a call may take while a hang is shrunk."""
GIVEN_UP = 3
"""After this many deaths in one family of an op, or at one order and dtype of it, such recipes are left out."""

Signature = tuple[str, str, str]
"""Op, check, and kind of failure."""


class Found(Exception):
    """Tells Hypothesis that a recipe failed, so that it shrinks the recipe."""


class _Enough(BaseException):
    """The budget for shrinking a recipe is spent; not an `Exception`, so that Hypothesis does not catch it."""


class Session:
    """A fuzzing run on one target.

    Args:
        judge: answers the questions; while a finding is shrunk its `ends` is None.
        space: the space from which recipes are drawn.
        budget: when the run ends.
        database: where witnesses are stored; None stores none.
        progress: counts seconds or examples.
        replay: whether to try first what `database` has.

    Attributes:
        unkept: why a witness could not be stored, or "".
    """

    def __init__(
        self,
        judge: Judge,
        space: Space,
        budget: Budget,
        database: Database | None,
        progress: Progress,
        *,
        replay: bool = True,
    ) -> None:
        self.judge, self.space, self.budget, self.database = judge, space, budget, database
        self.progress, self.replay = progress, replay
        self.started, self.clock, self.cpu = time.monotonic(), time.process_time(), 0.0
        self.told = self.dry = 0
        self.examples = self.rows = self.compared = self.replayed = self.mended = 0
        self.tallies: dict[tuple[str, str, str, str], CellTally] = defaultdict(CellTally)
        self.known: dict[Signature, SeenFailure] = {}
        self.findings: dict[Signature, FuzzFinding] = {}
        self.answers: dict[tuple[str, str], Answer] = {}
        self.deaths: dict[tuple[str, ...], int] = defaultdict(int)
        self.notes: dict[str, None] = {}
        self.unkept = ""
        self.hunting: Signature | None = None
        self.best: tuple[Subject, Failure] | None = None
        self.left = 0
        self.pending: list[Signature] = []
        self.hunt = ExitStack()
        self.stopped: Interrupted | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def over(self) -> bool:
        """Whether the time is up."""
        return self.budget.seconds is not None and self.elapsed >= self.budget.seconds

    def run(self) -> list[FuzzFinding]:
        """Search until the time or the examples are used up, or nothing new can be drawn."""
        try:
            try:
                self._replay()
                number = 0
                while not self._done():
                    self._round(number)
                    number += 1
            except OutOfTime:
                pass
            self._conclude_all()
            if self.budget.seconds is None and any(sort == "hang" for *_, sort in self.known):
                self._remark("calls without an answer were ended by the clock: what followed may differ in another run")
        except Interrupted as error:
            # What was found is reported, but nobody is left to ask for more.
            self.stopped = error
            self.judge.fresh()
            self.judge = Silent(self.judge)
            self._conclude_all()
        return [
            self.findings[signature].model_copy(update={"also": self._also(signature)}) for signature in self.findings
        ]

    def _conclude_all(self) -> None:
        for signature in [each for each in self.known if each not in self.findings]:
            self._conclude(signature)

    def _done(self) -> bool:
        spent = self.budget.examples is not None and self.examples >= self.budget.examples
        full = len(self.findings) >= self.budget.findings
        if full:
            self.notes[f"the run ended at {self.budget.findings} findings"] = None
        if self.dry >= DRY:
            self.notes["the recipes that could be drawn were used up"] = None
        return spent or self.over() or full or self.dry >= DRY

    def _replay(self) -> None:
        for entry in self.database.entries(self._remark) if self.database is not None and self.replay else ():
            self._tick()
            if not self.space.holds(entry.subject):
                continue
            answer: Answer = self.judge.ask(Question(entry.subject))
            if answer.rejected:
                self._remark(f"left out of the example database: {entry.subject.case.text} ({answer.rejected[:120]})")
                continue
            self.replayed += 1
            if not answer.failures:
                self.mended += 1
                continue
            name = headline(answer.failures)
            signature = (entry.subject.case.op, name, kind(answer.failures[name]))
            self._note(signature, entry.subject, answer.failures[name])
            self._conclude(signature, replayed=True)

    def _remark(self, line: str) -> None:
        self.notes[line] = None

    def _round(self, number: int) -> None:
        """Run Hypothesis once, up to the first new failure."""
        before = self.examples
        quiet = settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            derandomize=False,
            # Every second round only explores, because climbing κ stays near what was already found.
            phases=(Phase.generate, *([Phase.target] if number % 2 else []), Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
        )

        @hypothesis.seed(self.budget.seed * 1_000_003 + number)
        @quiet
        @given(recipes(self.space))
        def example(case: Case | None) -> None:
            # Raise from one line only: Hypothesis treats exceptions from two lines as two faults.
            if self._fails(case):
                raise Found

        self.clock = time.process_time()
        self.hunting, self.best, self.left = None, None, RECIPES
        try:
            with ExitStack() as self.hunt:
                example()
        except (Found, _Enough, Flaky):
            # Flaky: a recipe that also has a known fault passed when it was drawn, and failed while shrinking.
            pass
        except Unsatisfiable:
            self.notes["a round drew no recipe that the target can be asked"] = None
        finally:
            if self.hunting is None:
                self.cpu += time.process_time() - self.clock
            found, self.hunting = self.hunting, None
        if found is not None and self.best is not None:
            self._conclude(found, self.best)
        while self.pending:
            self._conclude(self.pending.pop())
        self.dry = self.dry + 1 if self.examples == before and found is None else 0

    def _tick(self) -> None:
        """Report progress, and end the run on time, but for a finding that is being shrunk."""
        unit = int(self.elapsed) if self.budget.seconds is not None else self.examples
        if unit > self.told:
            self.progress.advance(unit - self.told)
            self.told = unit
        if self.hunting is None and self.over():
            raise OutOfTime

    @contextmanager
    def _unhurried(self) -> Iterator[None]:
        """Let what is inside wait for answers beyond the end of the run; each call keeps its own limit."""
        ends, self.judge.ends = self.judge.ends, None
        try:
            yield
        finally:
            self.judge.ends = ends

    def _fails(self, case: Case | None) -> bool:
        """Judge one recipe; return whether it has the failure to shrink, the first new one of a round."""
        self._tick()
        if case is None or (self.hunting is None and self._is_given_up(case)):
            hypothesis.reject()
        if self.hunting is not None:
            self.left -= 1
            if self.left < 0:
                raise _Enough
        elif self.budget.examples is not None and self.examples >= self.budget.examples:
            raise _Enough
        answer = self._answer(case)
        if answer.rejected:
            self.notes[f"not tried: {case.family} of {case.op} as drawn ({answer.rejected[:120]})"] = None
            hypothesis.reject()
        if not answer.failures:
            # A recipe that fails already gives no direction to climb: the search is for those that nearly fail.
            hypothesis.target(min(answer.kappa, 1e9), label=f"κ {case.op} {case.dtype}")
            return False
        subject = Subject(case)
        signature, failure = self._signature(case, answer)
        if self.hunting is not None:
            if signature == self.hunting and (self.best is None or size_of(subject) < size_of(self.best[0])):
                self.best = (subject, failure)
            return signature == self.hunting
        if not self._note(signature, subject, failure):
            return False
        if signature[1] == CRASH:
            # Each probe costs a process or the time limit, and Hypothesis would need hundreds.
            self.pending.append(signature)
            return False
        # From here on Hypothesis shrinks, and its time is not counted.
        self.cpu += time.process_time() - self.clock
        self.hunting, self.best = signature, (subject, failure)
        self.hunt.enter_context(self._unhurried())
        return True

    @staticmethod
    def _signature(case: Case, answer: Answer) -> tuple[Signature, Failure]:
        name = headline(answer.failures)
        return (case.op, name, kind(answer.failures[name])), answer.failures[name]

    def _answer(self, case: Case) -> Answer:
        """Run the checks on a recipe; while shrinking, only the check that failed."""
        name = (case.text, "" if self.hunting is None else self.hunting[1])
        if name in self.answers:
            return self.answers[name]
        only = None if self.hunting is None else frozenset({self.hunting[1]})
        answer: Answer = self.judge.ask(Question(Subject(case), only))
        self.answers[name] = answer
        if answer.lost:
            self._remark(f"not judged: {case.text} ({answer.lost})")
        if CRASH in answer.failures:
            for place in places(case):
                self.deaths[place] += 1
        if self.hunting is None and not answer.rejected:
            self.examples += 1
            count = rows_of(case)
            self.rows += count
            self.cpu += answer.seconds
            tally = self.tallies[case.op, case.order_label, case.dtype, case.family]
            tally.examples += 1
            tally.rows += count
            tally.decided += answer.decided
            tally.undecided += answer.undecided
            self.compared += answer.compared
            tally.kappa = max(tally.kappa, answer.kappa)
        return answer

    def _is_given_up(self, case: Case) -> bool:
        for place in places(case):
            if self.deaths[place] >= GIVEN_UP:
                self.notes[f"left out after {GIVEN_UP} deaths of the process: {', '.join(place[1:])}"] = None
                return True
        return False

    def _note(self, signature: Signature, subject: Subject, failure: Failure) -> bool:
        """Count a failure; return whether its kind is new."""
        fresh = signature not in self.known
        if fresh:
            self.known[signature] = SeenFailure(subject, failure, self.examples, self.elapsed)
        held = self.known[signature].places
        key = (subject.case.order_label, subject.case.dtype)
        count, first = held.get(key, (0, subject.case.text))
        held[key] = (count + 1, first)
        return fresh

    def _also(self, signature: Signature) -> list[AlsoSeen]:
        return [
            AlsoSeen(order=order, dtype=dtype, count=count, case=first)
            for (order, dtype), (count, first) in self.known[signature].places.items()
        ]

    def _conclude(
        self, signature: Signature, best: tuple[Subject, Failure] | None = None, *, replayed: bool = False
    ) -> None:
        """Shrink the arrays of a finding, confirm it in a fresh process, write its script, and store it."""
        known = self.known[signature]
        op, check, sort = signature
        subject, failure = best or (known.first, known.failure)
        shrinker = Shrinker(
            self.judge,
            check,
            most=DEATHS.get(sort, SUBJECTS),
            seconds=QUICK_SECONDS if sort == "hang" else None,
            within=self.space.asks,
        )
        with self._unhurried():
            small = shrinker.shrink(subject, failure)
            confirmed = self._confirmed(small, check)
            script = self._script(small, signature)
        if self.database is not None and not replayed:
            self._save(Entry(check, small.subject))
        record = record_of(Entry(check, small.subject))
        self.findings[signature] = FuzzFinding(
            op=op,
            check=check,
            kind=sort,
            order=small.subject.case.order_label,
            dtype=small.subject.case.dtype,
            message=small.failure.message,
            kappa=small.failure.kappa,
            recipe=known.first.case.text,
            small_recipe=subject.case.text,
            witness=None if small.subject.inputs is None else lists(small.subject, record),
            script=script,
            examples=known.examples,
            seconds=round(known.seconds, 3),
            judged=shrinker.tried + (RECIPES - max(self.left, 0) if best else 0),
            shrunk=small.complete,
            confirmed=confirmed,
            replayed=replayed,
        )
        self.progress.say(f"{op}, {check} ({sort}): {small.failure.message}")

    def _save(self, entry: Entry) -> None:
        """Store a witness; if the folder cannot be written, the search goes on, and the command says so at its end."""
        assert self.database is not None  # the caller has checked this
        try:
            self.database.save(entry)
        except DomainError as error:
            self.unkept = self.unkept or str(error)

    def _confirmed(self, small: Shrunk, check: str) -> bool:
        self.judge.fresh()
        only = None if check == CRASH else frozenset({check})
        answer: Answer = self.judge.ask(Question(small.subject, only))
        return check in answer.failures

    def _script(self, small: Shrunk, signature: Signature) -> str:
        check = signature[1]
        question = Question(small.subject, wants="script", check=check, message=small.failure.message)
        script: Script = self.judge.ask(question)
        if script:
            return script.text
        # No explicit array of the smallest witness shows the failure, so the script runs the recipe again.
        first = self.known[signature].first
        again: Script = self.judge.ask(replace(question, subject=first))
        return again.text

    def coverage(self) -> list[CoverageCell]:
        """The coverage table of the run."""
        return cells(self.tallies)
