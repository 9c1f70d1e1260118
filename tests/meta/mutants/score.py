"""The score of the tester: every mutant must be killed, no correct implementation called wrong.

    python tests/meta/mutants/score.py [NAME]... [--suite standard] [--seed 0] [--sample COUNT] [--drawn-by HASH]

All targets take the cases of one run together, so that the truth of each case is computed once, and read from the
cache the next time; a mutant leaves at its first FAIL or CRASH. Exit code 0: all killed, and no false alarm, but for
those that `survivors.py` lists; they are printed, with what the tool lacks, and take no part in samples.

A sample is drawn by the hash of the commit, which is printed, and given again by --drawn-by; it has implementations of
every file. Its run ends when the last of its mutants is killed, so that the correct ones get the cases until then.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutant_registry import MARK, Mutant
from survivors import KNOWN

from kernelproof.reference.progress import Progress
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.plan import union
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.targets.target import Target, find
from kernelproof.verify.truth import cache
from kernelproof.verify.workers.runner import Runner, runner
from kernelproof.verify.workers.tasks import CaseResult

Held = tuple[str, str, Mutant]
"""The text of a target, its name and its mark."""
HERE = Path(__file__).parent
ROUNDS = (4, 128)
"""Cases after which the killed leave: few at first, twice as many each time, up to so many."""
LIMITS = Limits(seconds=30.0)
"""A mutant that hangs takes so long once."""


@dataclass
class Score:
    """What became of one implementation.

    Attributes:
        name: of the function.
        mark: what it is.
        target: as `verify` knows it.
        killed: "check: the case" of its first FAIL or CRASH, or "".
        tried: cases it was given until then.
        decided: comparisons that were decided.
        checks: ids of the checks that decided something.
    """

    name: str
    mark: Mutant
    target: Target
    killed: str = ""
    tried: int = 0
    decided: int = 0

    @property
    def wrong(self) -> bool:
        """Whether the tester was wrong about it: a mutant that lives, or a false alarm."""
        return bool(self.killed) == (self.mark.fault == "") or not self.decided

    @property
    def known(self) -> bool:
        """Whether it is listed in `KNOWN`."""
        return self.name in KNOWN


def implementations() -> Iterator[Held]:
    """(text of the target, name, mark) of everything that is marked in this folder."""
    sys.path.insert(0, str(HERE))
    for path in sorted(HERE.glob("*.py")):
        if path.name.startswith(("mutants_", "correct_")):
            module = __import__(path.stem)
            for name, value in vars(module).items():
                mark = getattr(value, MARK, None)
                if isinstance(mark, Mutant) and value.__module__ == path.stem:
                    yield f"{path}:{name}", name, mark


def commit() -> str:
    """The hash of the commit that is checked out; "0" outside a repository."""
    command = ["git", "-C", str(HERE), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "0"
    return done.stdout.strip() or "0"


def drawn(held: Sequence[Held], count: int, by: str) -> list[Held]:
    """At least `count` of the implementations, and one of each file: the first in an order that the text `by` gives.

    >>> len(drawn([("a.py:f", "f", Mutant("")), ("a.py:g", "g", Mutant("")), ("b.py:h", "h", Mutant(""))], 1, "0"))
    2
    """
    ordered = sorted(held, key=lambda each: hashlib.sha256(f"{by} {each[1]}".encode()).digest())
    first = {each[0].rpartition(":")[0]: each for each in reversed(ordered)}
    others = [each for each in ordered if each not in first.values()]
    return [*first.values(), *others[: max(count - len(first), 0)]]


def killed_by(result: CaseResult, case: Case) -> str:
    """The first check of `result` that fails, and the case."""
    for check, said in result.checks.items():
        if said.crash is not None:
            return f"{check} (crash): {case.text}"
        if said.judgement.failed:
            worst = said.judgement.failures[0].message if said.judgement.failures else ""
            return f"{check}: {case.text}: {worst}"
    return ""


def rounds(cases: list[Case]) -> Iterator[list[Case]]:
    """The cases in portions that grow."""
    size, most = ROUNDS
    start = 0
    while start < len(cases):
        yield cases[start : start + size]
        start += size
        size = min(2 * size, most)


def play(work: Runner, scores: list[Score], selection: Selection, *, all_cases: bool = True) -> None:
    """Give the cases of the run to all that are alive, round by round; all of them, or until every mutant is killed."""
    targets = [each.target for each in scores]
    told = [each for target in targets for each in target.selections(selection)]
    # Any order will do, the same every time, with all families early.
    cases = sorted(union(told), key=lambda case: hashlib.sha256(case.text.encode()).digest())
    with Progress(len(cases), shown=True, noun="cases", verb="scoring") as shown:
        for chunk in rounds(cases):
            alive = [at for at, each in enumerate(scores) if not each.killed]
            if not all_cases and not any(scores[at].mark.fault for at in alive):
                break
            items = [(case, tuple(at for at in alive if targets[at].refuses(case) is None)) for case in chunk]
            found = work.run(items, targets, Progress(0, shown=False))
            for (number, at), result in found.items():
                each = scores[at]
                each.tried += 1
                each.decided += sum(said.judgement.decided for said in result.checks.values())
                each.killed = each.killed or killed_by(result, chunk[number])
            shown.advance(len(chunk))


def main(arguments: list[str] | None = None) -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, metavar="COUNT")
    parser.add_argument("--drawn-by", metavar="HASH")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    held = [each for each in implementations() if not given.names or each[1] in given.names]
    if given.sample is not None:
        by = given.drawn_by or commit()
        every, held = len(held), drawn([each for each in held if each[1] not in KNOWN], given.sample, by)
        print(f"a sample of {len(held)} of {every} implementations, drawn by {by}")
    place, _ = cache.prepared()
    with runner(limits=LIMITS, cache=place) as work:
        described: list[Any] = work.describe([find(text) for text, _, _ in held])
        scores = [
            Score(name, mark, found[0])
            for (_, name, mark), found in zip(held, described, strict=True)
            if not isinstance(found, str)
        ]
        for (_, name, _), found in zip(held, described, strict=True):
            if isinstance(found, str):
                print(f"{name} is not available: {found}")
        try:
            play(work, scores, Selection(suite=given.suite, seed=given.seed), all_cases=given.sample is None)
        except KeyboardInterrupt:
            print("interrupted: what lives may be killed by the cases that were not tried")
            report(scores, len(held), time.monotonic() - started, whole=False)
            return 130
    return report(scores, len(held), time.monotonic() - started)


def report(scores: list[Score], held: int, seconds: float, *, whole: bool = True) -> int:
    """Print the score; the exit code."""
    mutants = [each for each in scores if each.mark.fault]
    right = [each for each in scores if not each.mark.fault]
    for each in sorted(mutants, key=lambda each: each.name):
        said = each.killed[:150] or KNOWN.get(each.name, "")
        print(f"{'killed' if each.killed else 'LIVES ':7}{each.name:32} {each.tried:5}  {said}")
    for each in sorted(right, key=lambda each: each.name):
        said = each.killed[:400] or f"{each.decided:,} comparisons"
        print(f"{'FALSE' if each.wrong else 'right':7}{each.name:32} {each.tried:5}  {said}")
    for each in scores:
        if whole and each.known and not each.wrong:
            print(f"{each.name} is judged rightly now: it need not be listed in survivors.py any more")
    killed, alarms = sum(bool(each.killed) for each in mutants), sum(each.wrong for each in right)
    plausible = sum(each.mark.plausible for each in mutants)
    print(f"killed {killed} / {len(mutants)} ({plausible} of them pass assert_close and gradcheck on N(0, 1))")
    print(f"false alarms {alarms} / {len(right)}, in {seconds:.0f} s")
    if known := [each.name for each in scores if each.known and each.wrong]:
        print(f"{len(known)} of those judged wrongly are listed in survivors.py with what the tool lacks")
    return int(any(each.wrong and not each.known for each in scores) or len(scores) < held)


if __name__ == "__main__":
    sys.exit(main())
