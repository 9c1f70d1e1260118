"""`kernelproof fuzz TARGET`: search for inputs on which a target fails, and shrink each to a minimal witness."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from kernelproof import reports
from kernelproof.api import prepared
from kernelproof.commands.spans import check_run
from kernelproof.options import TargetOptions
from kernelproof.reference.errors import DomainError, NotWritten
from kernelproof.reference.progress import Progress
from kernelproof.reports.folder import keep
from kernelproof.reports.search.fuzz import write_fuzz
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Arena, Here
from kernelproof.verify.fuzz.database import Database
from kernelproof.verify.fuzz.fuzz_record import FuzzResults
from kernelproof.verify.fuzz.ledger import MOST, Budget
from kernelproof.verify.fuzz.recipes import Space
from kernelproof.verify.fuzz.session import Session
from kernelproof.verify.process import interruption
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.targets.target import Place
from kernelproof.verify.workers.runner import compiles, with_patience

FUZZ_SECONDS = 10.0
"""Time limit of the calls of one recipe."""
GRACE = 6.0
"""Seconds after the end of a run that its last call may take; shrinking what was found is bounded by steps."""


def fuzz(
    target: str | Callable[..., Any],
    *,
    seconds: float | None = None,
    examples: int | None = None,
    seed: int = 0,
    most: int = MOST,
    out: str | Path | None = None,
    database: str | Path | None = None,
    replay: bool = True,
    timeout: float | Limits | None = None,
    serial: bool = False,
    progress: bool = False,
    **options: Unpack[TargetOptions],
) -> FuzzResults:
    """Search for inputs on which `target` fails, shrink each finding, and write a script that shows it.

    Args:
        target: a backend, ``"file.py:object"``, ``"package.module:object"``, or a function defined in a module.
        seconds: how long to search; 60 if neither this nor `examples` is given.
        examples: how many recipes to judge; unlike `seconds`, this makes a run with a given seed reproducible.
        seed: seeds everything that is drawn.
        most: the number of findings after which the run ends.
        out: folder for fuzz.json, index.html and fuzz.md; None writes nothing.
        database: folder of the example database; None stores and replays nothing.
        replay: try the stored witnesses first; a run with `examples` is reproducible without.
        timeout: seconds for the calls of one recipe; None means 10.
        serial: run in this process, without protection from the target: for tests.
        progress: show progress on standard error.
        options: see `kernelproof.options.TargetOptions`.

    Raises:
        DomainError: an argument is not allowed.
        TargetError: the target cannot be loaded, or the order that it computes must be given.
        NotWritten: the reports or the witnesses cannot be written; the results are in the exception.
    """
    started = datetime.now(UTC)
    check_run(seconds, "examples", examples)
    if seconds is None and examples is None:
        seconds = 60.0
    if out is not None:
        reports.check_writable(Path(out))
    chosen, selection, environment = prepared(target, seed=seed, serial=serial, **options)
    space = Space(
        target=chosen,
        ops=tuple(each for each in selection.grid_ops if each in chosen.ops),
        orders=selection.orders,
        alphas=selection.alphas,
        dtypes=tuple(name for name in selection.dtypes or chosen.dtypes if name in chosen.dtypes),
    )
    if not space.ops or not space.dtypes:
        has = f"the ops {', '.join(chosen.ops)} and takes {', '.join(chosen.dtypes)}"
        msg = f"nothing was asked for that the target {chosen.name!r} has: it has {has}"
        raise DomainError(msg)
    budget = Budget(seconds, examples, seed, most)
    kept = None if database is None else Database(Path(database), chosen.name)
    total, noun = (int(seconds), "seconds") if seconds is not None else (examples or 0, "examples")
    held = Limits.of(timeout, FUZZ_SECONDS)
    held = with_patience(held) if compiles(chosen) else held
    with Progress(total, shown=progress, noun=noun, verb="fuzzing") as shown:

        def searched(judge: Any) -> tuple[Session, list[Any], int]:
            session = Session(judge, space, budget, kept, shown, replay=replay)
            return session, session.run(), judge.deaths

        if serial:
            session, findings, deaths = searched(Here(chosen))
        else:
            with Arena(chosen, held) as judge:
                if chosen.name == "numba":
                    shown.say("numba compiles its functions once, before the clock starts")
                    for name in space.dtypes:
                        judge.ask(
                            Question(Subject(Case("entmax", "2", None, "adaptive:1", name, "random", (2, 4), "1")))
                        )
                judge.ends = None if seconds is None else time.monotonic() + seconds + GRACE
                session, findings, deaths = searched(judge)
    results = FuzzResults(
        # A check that two calls agree decides something without comparing a number with the truth.
        passed=not findings and session.compared > 0 and session.stopped is None,
        interrupted=session.stopped is not None,
        target=chosen.name,
        device=chosen.device,
        seed=seed,
        command=_command(chosen.place, selection, budget, options.get("device")),
        started=started.isoformat(timespec="seconds"),
        seconds=round(session.elapsed, 3),
        examples=session.examples,
        rows=session.rows,
        cpu_seconds=round(session.cpu, 3),
        rows_per_second=round(session.rows / session.cpu, 1) if session.cpu else 0.0,
        deaths=deaths,
        replayed=session.replayed,
        mended=session.mended,
        environment=environment,
        notes=list(session.notes),
        findings=findings,
        coverage=session.coverage(),
    )
    if out is not None:
        with interruption.held():
            keep(write_fuzz, results, Path(out))
    if session.stopped is not None:
        raise session.stopped.with_report(out)
    if session.unkept:
        raise NotWritten(session.unkept, results)
    return results


def _command(place: Place, selection: Any, budget: Any, device: str | None) -> str:
    """The command that repeats this run."""
    words = ["kernelproof", "fuzz", place.name, *place.words, *selection.words]
    words += ["--time", f"{budget.seconds:g}s"] if budget.seconds is not None else []
    words += ["--examples", str(budget.examples)] if budget.examples is not None else []
    return shlex.join([*words, "--seed", str(budget.seed), *(("--device", device) if device else ())])
