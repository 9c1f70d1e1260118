"""The Python function behind the command ``kernelproof theory``."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from os import cpu_count
from pathlib import Path

from kernelproof.reference.errors import DomainError, ResourceError
from kernelproof.reports import theory as reports
from kernelproof.reports.folder import keep
from kernelproof.theory import discovery
from kernelproof.theory.claim import Check, Claim, Kind, Role, Settings
from kernelproof.theory.finding import Finding
from kernelproof.theory.results import ClaimResult, TheoryResults
from kernelproof.theory.runner import judge_all, judge_name
from kernelproof.theory.verdicts import judge
from kernelproof.verify.process import interruption
from kernelproof.verify.process.child import START_SECONDS
from kernelproof.verify.process.environment import environment
from kernelproof.verify.process.gathering import gather
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.process.pool import Pool
from kernelproof.verify.process.service import Work, call

BITS = range(128, 100_001)
"""The precisions allowed. With fewer bits, true claims remain undecided."""


def theory(
    *,
    claim: str | Sequence[str] | None = None,
    precision: int = 192,
    seed: int = 0,
    search: str | None = None,
    seconds: float = 60.0,
    out: str | Path | None = None,
    workers: int | None = None,
    done: Callable[[ClaimResult], None] = lambda _: None,
) -> TheoryResults:
    """Judge the claims and return the results.

    Args:
        claim: ids of claims, or Python files with an object ``CLAIM``; None means all, including those of other
            packages.
        precision: bits of the enclosures, from 128 to 100000.
        seed: seeds everything that is drawn.
        search: the id of an open question: search for a better value for `seconds`, instead of judging claims.
        seconds: how long to search.
        out: folder for the reports; None writes nothing.
        workers: how many processes to use; None means one per core.
        done: called with the result of each claim when it has been judged.

    Raises:
        DomainError: an argument is not allowed; the message says what is.
        ClaimError: a claim is malformed, or one of its checks raised.
        NotWritten: the reports cannot be written; the results are in the exception.
        ResourceError: processes of ours were ended from outside; the report has the claims that were judged.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    settings = _settings(precision, seed)
    stopped: Interrupted | ResourceError | None = None
    if out is not None:
        reports.check_writable(Path(out))
    if search is not None:
        if claim is not None:
            msg = f"pass claim or search, not both; got claim={claim!r}, search={search!r}"
            raise DomainError(msg)
        found = [_searched(search, seconds, settings)]
        done(found[0])
        words = ["--search", search, "--time", f"{seconds:g}s"]
    else:
        names = wanted(claim)
        for name in names:
            discovery.claim(name)  # report a wrong name before any work
        found = []

        def judged(result: ClaimResult) -> None:
            found.append(result)
            done(result)

        try:
            _judge(names, settings, workers, judged)
        except (Interrupted, ResourceError) as error:
            stopped = error
        found.sort(key=_place)
        words = [] if names == discovery.names() else ["--claim", ",".join(names)]
    results = TheoryResults(
        passed=all(each.passes for each in found) and stopped is None,
        interrupted=stopped is not None,
        command=shlex.join(["kernelproof", "theory", *words, "--precision", str(precision), "--seed", str(seed)]),
        precision=precision,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        environment=environment(with_torch=False, seed=seed),
        claims=found,
    )
    if out is not None:
        with interruption.held():
            keep(reports.write, results, Path(out))
    if stopped is not None:
        raise stopped.with_report(out) if isinstance(stopped, Interrupted) else stopped
    return results


def _judge(
    names: Sequence[str], settings: Settings, workers: int | None, judged: Callable[[ClaimResult], None]
) -> None:
    """Judge the claims called `names`, several at once each in a fresh interpreter, so that none affects another."""
    count = min(workers or cpu_count() or 1, len(names))
    if count <= 1:
        judge_all(names, settings, done=judged)
        return
    found: dict[str, ClaimResult] = {}
    pool = Pool(count, Work(call, (discovery.names, {}), START_SECONDS))
    try:
        starts = {
            name: partial(pool.submit, Work(call, (judge_name, {"name": name, "settings": settings}))) for name in names
        }
        gather(starts, found, lambda name: judged(found[name]))
    finally:
        pool.stop()


def _place(claim: ClaimResult) -> tuple[int, bool, int, int, str]:
    """The sort key of a claim in a report: theorems first; C1, C2, …, then M, L, G and H; then those without."""
    group = "CMLGH".find(claim.label[:1]) if claim.label[1:].isdigit() else -1
    number = int(claim.label[1:]) if group >= 0 else 0
    return list(Kind).index(claim.kind), group < 0, group, number, claim.title


def _settings(precision: int, seed: int) -> Settings:
    if isinstance(precision, bool) or not isinstance(precision, int) or precision not in BITS:
        msg = f"precision must be an int of bits from {BITS[0]} to {BITS[-1]}; got {precision!r}"
        raise DomainError(msg)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        msg = f"seed must be an int of at least 0; got {seed!r}"
        raise DomainError(msg)
    return Settings(precision=precision, seed=seed)


def wanted(claim: str | Sequence[str] | None) -> list[str]:
    """The names of the claims that `claim` lists; all claims for None.

    Raises:
        DomainError: there are no names, or one is empty.
    """
    if claim is None:
        return discovery.names()
    parts = claim.split(",") if isinstance(claim, str) else list(claim)
    names = [part.strip() for part in parts]
    if not names or not all(names):
        msg = f"claim must be one or more of {', '.join(discovery.names())}, or a file; got {claim!r}"
        raise DomainError(msg)
    return list(dict.fromkeys(names))


def _searched(name: str, seconds: float, settings: Settings) -> ClaimResult:
    if not 0 < seconds < float("inf"):
        msg = f"the time of a search must be positive seconds; got {seconds!r}"
        raise DomainError(msg)
    found = discovery.claim(name)
    run = found.search
    if run is None:
        msg = f"claim {name!r} has no search; those that have one: {', '.join(_searchable())}"
        raise DomainError(msg)

    def longer(settings: Settings) -> Finding:
        return run(seconds, settings)

    return judge(_with_search(found, longer), settings)


def _searchable() -> list[str]:
    return [name for name in discovery.names() if discovery.claim(name).search is not None]


def _with_search(claim: Claim, run: Callable[[Settings], Finding]) -> Claim:
    """The open question with its search as its only check."""
    return replace(claim, checks=(Check("search", "the best value that a search found", Role.SUPPORT, run),))
