"""The score of the tester: every mutant must be killed, no correct implementation called wrong.

    python tests/meta/mutants/score.py [NAME]... [--suite standard] [--sample COUNT] [--drawn-by HASH] [--note]

Each gets the cases that `kernelproof verify` gives it, those of its own plan, and no others. A mutant leaves at its
first FAIL or CRASH, and its plan begins with the case that killed it the last time (`killers.json`, written by --note):
an order and no substitute, because a mutant that survives that case gets all others. A correct implementation gets its
whole plan. Targets with the same case take it together, so that its truth is computed once, and read from the cache the
next time. Exit code 0: all killed, and no false alarm, but for those that `survivors.py` lists; they are printed, with
what the tool lacks, and take no part in samples.

A sample is drawn by the hash of the commit, which is printed, and given again by --drawn-by; it has implementations of
every file. The correct ones of a sample get the first cases of their plan in an order that the hash decides, and how
many of them were left out is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutant_registry import MARK, Mutant
from survivors import KNOWN

from kernelproof.reference.progress import Progress
from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.plan import union
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.target import Target, find
from kernelproof.verify.truth import cache
from kernelproof.verify.workers.runner import Runner, runner
from kernelproof.verify.workers.tasks import CaseResult

Held = tuple[str, str, Mutant]
"""The text of a target, its name and its mark."""
HERE = Path(__file__).parent
KILLERS = HERE / "killers.json"
"""Name of a mutant -> the case that killed it last; only the order of cases depends on it."""
ROUNDS = (4, 128)
"""Cases after which the killed leave: few at first, twice as many each time, up to this many."""
SAMPLED = 24
"""Cases that a correct implementation of a sample gets."""
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
        killer: the text of that case.
        planned: cases of its plan.
        tried: cases it was given.
        decided: comparisons that were decided.
    """

    name: str
    mark: Mutant
    target: Target
    killed: str = ""
    killer: str = ""
    planned: int = 0
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


def planned(work: Runner, targets: Sequence[Target], selection: Selection) -> list[list[Case]]:
    """The cases of a run of `selection` on each of the targets alone; the workers plan."""
    asked = [tuple(target.selections(selection)) for target in targets]
    futures = {each: work.submit(union, selections=each) for each in dict.fromkeys(asked)}
    plans = {each: future.result() for each, future in futures.items()}
    # Combinations of options are planned from what the target takes; to ask it would build all of their inputs.
    return [
        [case for case in plans[each] if (case.op, case.family) == ("attention", PAIRS) or target.refuses(case) is None]
        for target, each in zip(targets, asked, strict=True)
    ]


def ordered(cases: Sequence[Case], first: str = "", by: str = "") -> list[Case]:
    """The cases in an order that the text `by` decides, any will do that has all families early; `first` is the first.

    >>> from kernelproof.verify.cases.suites import Selection
    >>> cases = union([Selection(suite="quick", ops=("entmax",))])
    >>> ordered(cases, cases[3].text)[0] == cases[3], set(ordered(cases)) == set(cases)
    (True, True)
    """
    return sorted(cases, key=lambda case: (case.text != first, hashlib.sha256(f"{by}{case.text}".encode()).digest()))


def portions() -> Iterator[int]:
    """How many cases each mutant gets in one round: the one that killed it, then few, and twice as many each time."""
    yield 1
    size, most = ROUNDS
    while True:
        yield size
        size = min(2 * size, most)


def play(work: Runner, scores: list[Score], plans: Sequence[Sequence[Case]], *, most: int | None = None) -> None:
    """Give every mutant its cases until it is killed, round by round, and then `most` of its cases to each other.

    Args:
        work: the workers.
        scores: what is scored.
        plans: the cases of each.
        most: how many cases a correct implementation gets; None means all.
    """
    mutants = [at for at, each in enumerate(scores) if each.mark.fault]
    given = dict.fromkeys(mutants, 0)
    sizes = portions()
    with Progress(len(mutants), shown=True, noun="mutants", verb="killing") as shown:
        while alive := [at for at in mutants if not scores[at].killed and given[at] < len(plans[at])]:
            size = next(sizes)
            give(work, scores, {at: plans[at][given[at] : given[at] + size] for at in alive}, Progress(0, shown=False))
            given |= {at: given[at] + size for at in alive}
            shown.advance(sum(bool(scores[at].killed) or given[at] >= len(plans[at]) for at in alive))
    right = {at: plans[at][:most] for at, each in enumerate(scores) if not each.mark.fault}
    with Progress(len(set().union(*right.values())), shown=True, verb="asking the correct ones") as shown:
        give(work, scores, right, shown)


def give(work: Runner, scores: list[Score], portion: Mapping[int, Sequence[Case]], progress: Progress) -> None:
    """Try cases on some of the targets, and enter what comes of it in `scores`; `portion` has the cases of each."""
    takers: dict[Case, list[int]] = {}
    for at, cases in portion.items():
        for case in cases:
            takers.setdefault(case, []).append(at)
    # Cases that cost about the same are neighbours, as the runner expects.
    ordered = sorted(takers, key=lambda case: (OPS.index(case.op), case.family, case.shape, case.text))
    items = [(case, tuple(takers[case])) for case in ordered]
    for (number, at), result in work.run(items, [each.target for each in scores], progress).items():
        each = scores[at]
        each.tried += 1
        each.decided += sum(said.judgement.decided for said in result.checks.values())
        if not each.killed and (killed := killed_by(result, ordered[number])):
            each.killed, each.killer = killed, ordered[number].text


def main(arguments: list[str] | None = None) -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, metavar="COUNT")
    parser.add_argument("--drawn-by", metavar="HASH")
    parser.add_argument("--note", action="store_true", help="write killers.json")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    held = [each for each in implementations() if not given.names or each[1] in given.names]
    by = ""
    if given.sample is not None:
        by = given.drawn_by or commit()
        every, held = len(held), drawn([each for each in held if each[1] not in KNOWN], given.sample, by)
        print(f"a sample of {len(held)} of {every} implementations, drawn by {by}")
    killers: dict[str, str] = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
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
        plans = planned(work, [each.target for each in scores], Selection(suite=given.suite, seed=given.seed))
        plans = [ordered(cases, killers.get(each.name, ""), by) for each, cases in zip(scores, plans, strict=True)]
        for each, cases in zip(scores, plans, strict=True):
            each.planned = len(cases)
        try:
            play(work, scores, plans, most=None if given.sample is None else SAMPLED)
        except KeyboardInterrupt:
            print("interrupted: what lives may be killed by the cases that were not tried")
            report(scores, len(held), time.monotonic() - started, whole=False)
            return 130
    if given.note:
        found = killers | {each.name: each.killer for each in scores if each.killer and each.mark.fault}
        known = {name: found[name] for _, name, _ in implementations() if name in found}
        KILLERS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    return report(scores, len(held), time.monotonic() - started)


def report(scores: list[Score], held: int, seconds: float, *, whole: bool = True) -> int:
    """Print the score; the exit code."""
    mutants = [each for each in scores if each.mark.fault]
    right = [each for each in scores if not each.mark.fault]
    for each in sorted(mutants, key=lambda each: each.name):
        said = each.killed[:150] or KNOWN.get(each.name, "")
        print(f"{'killed' if each.killed else 'LIVES ':7}{each.name:32} {each.tried:4} of {each.planned:4}  {said}")
    for each in sorted(right, key=lambda each: each.name):
        said = each.killed[:400] or f"{each.decided:,} comparisons"
        print(f"{'FALSE' if each.wrong else 'right':7}{each.name:32} {each.tried:4} of {each.planned:4}  {said}")
    for each in scores:
        if whole and each.known and not each.wrong:
            print(f"{each.name} is judged rightly now: it need not be listed in survivors.py any more")
    killed, alarms = sum(bool(each.killed) for each in mutants), sum(each.wrong for each in right)
    plausible = sum(each.mark.plausible for each in mutants)
    print(f"killed {killed} / {len(mutants)} ({plausible} of them pass assert_close and gradcheck on N(0, 1))")
    print(f"false alarms {alarms} / {len(right)}, in {seconds:.0f} s")
    if left := sum(each.planned - each.tried for each in right):
        print(
            f"the correct ones were not given {left} of the {sum(each.planned for each in right)} cases of their plans"
        )
    if known := [each.name for each in scores if each.known and each.wrong]:
        print(f"{len(known)} of those judged wrongly are listed in survivors.py with what the tool lacks")
    return int(any(each.wrong and not each.known for each in scores) or len(scores) < held)


if __name__ == "__main__":
    sys.exit(main())
