"""`kernelproof worst-case TARGET`: search for the largest errors, as the accuracy tables of libm list them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from kernelproof import reports
from kernelproof.api import prepared
from kernelproof.commands.spans import check_run
from kernelproof.options import TargetOptions
from kernelproof.reference.errors import DomainError
from kernelproof.reference.progress import Progress
from kernelproof.reports.folder import keep
from kernelproof.reports.search.worst_case import write_worst_case
from kernelproof.verify.fuzz.arena import Arena, Here, Judge
from kernelproof.verify.fuzz.grid import left_out, places, usual
from kernelproof.verify.fuzz.search import searched
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults, WorstCaseRow
from kernelproof.verify.judging.grades import limit_of
from kernelproof.verify.process import interruption
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.targets.target import Place, Target
from kernelproof.verify.workers.runner import compiles, with_patience

LEAST_SECONDS, MOST_SECONDS = 60.0, 120.0
"""Bounds of the default time of a run, a second for each line of the tables; the upper one is not for whole tables."""
WORST_SECONDS = 10.0
"""Time limit, in seconds, of the call on one block."""


def worst_case(
    target: str | Callable[..., Any],
    *,
    seconds: float | None = None,
    blocks: int | None = None,
    seed: int = 0,
    whole: bool = False,
    out: str | Path | None = None,
    timeout: float | Limits | None = None,
    serial: bool = False,
    progress: bool = False,
    **options: Unpack[TargetOptions],
) -> WorstCaseResults:
    """Search for the largest errors, in ulp and in κ, at each op, bandwidth rule, order and dtype of `target`.

    Args:
        target: a backend, ``"file.py:object"``, ``"package.module:object"``, or a function defined in a module.
        seconds: how long to search, shared by all lines of the tables; if neither this nor `blocks` is given, one
            second for each line, but at least 60 and, unless the tables are `whole`, at most 120.
        blocks: blocks of rows to measure for each line; unlike `seconds`, this makes a run with a given seed
            reproducible.
        seed: seeds everything that is drawn.
        whole: search at every order of the suites and every dtype that the target takes, not only the usual ones.
        out: folder for worst-case.json, index.html and worst-case.md; None writes nothing.
        timeout: seconds for one call; None means 10.
        serial: run in this process, without protection from the target: for tests.
        progress: show progress on standard error.
        options: see `kernelproof.options.TargetOptions`; the default orders are a half, 1, 2, 64 and infinity, and the
            default dtypes are float64, float32, float16 and bfloat16, as far as the target takes them.

    Raises:
        DomainError: an argument is not allowed.
        TargetError: the target cannot be loaded, or the order that it computes must be given.
        NotWritten: the reports cannot be written; the results are in the exception.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    check_run(seconds, "blocks", blocks)
    if out is not None:
        reports.check_writable(Path(out))
    chosen, selection, environment = prepared(target, seed=seed, serial=serial, **options)
    grid = places(chosen, selection)
    cases = grid if whole else usual(grid, selection)
    if not cases:
        has = f"the ops {', '.join(chosen.ops)} and takes {', '.join(chosen.dtypes)}"
        msg = f"nothing was asked for that the target {chosen.name!r} has: it has {has}"
        raise DomainError(msg)
    if seconds is None and blocks is None:
        lines = float(len(cases))
        seconds = max(LEAST_SECONDS, lines if whole else min(lines, MOST_SECONDS))
    judge: Judge
    stopped: list[Interrupted] = []
    total, noun = (len(cases), "lines of the tables") if seconds is None else (int(seconds), "seconds")
    with Progress(total, shown=progress, noun=noun, verb="searching") as shown:

        def search(judge: Judge) -> list[WorstCaseRow]:
            begun = time.monotonic()

            def tell(done: int) -> None:
                now = done if seconds is None else min(int(time.monotonic() - begun), total)
                if now > shown.done:
                    shown.advance(now - shown.done)

            return searched(judge, cases, seed, seconds=seconds, blocks=blocks, tell=tell, stopped=stopped)

        if serial:
            judge = Here(chosen)
            rows = search(judge)
        else:
            held = Limits.of(timeout, WORST_SECONDS)
            with Arena(chosen, with_patience(held) if compiles(chosen) else held) as judge:
                rows = search(judge)
    results = WorstCaseResults(
        passed=_holds(rows, chosen) and not stopped,
        interrupted=bool(stopped),
        target=chosen.name,
        device=chosen.device,
        promised=chosen.contract.grade,
        seed=seed,
        command=_command(chosen.place, selection, seconds, blocks, options.get("device"), whole=whole),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        rows=sum(row.rows for row in rows),
        deaths=judge.deaths,
        left_out=left_out(grid, cases),
        environment=environment,
        table=rows,
    )
    if out is not None:
        with interruption.held():
            keep(write_worst_case, results, Path(out))
    if stopped:
        raise stopped[0].with_report(out)
    return results


def _holds(rows: Sequence[WorstCaseRow], target: Target) -> bool:
    """Whether every search finished with rows, something was decided for each op, and every κ is within the grade."""
    grade = target.contract.grade
    kappas = [(row.kappa.error, limit_of(grade)) for row in rows if row.kappa is not None]
    decided = {row.op for row in rows if row.kappa is not None} == {row.op for row in rows}
    whole = all(row.rows and not row.note for row in rows)
    return bool(rows) and decided and whole and all(kappa <= limit for kappa, limit in kappas)


def _command(
    place: Place, selection: Any, seconds: float | None, blocks: int | None, device: str | None, *, whole: bool
) -> str:
    """The command that repeats this run."""
    words = ["kernelproof", "worst-case", place.name, *place.words, *selection.words, *(["--whole"] if whole else [])]
    words += ["--time", f"{seconds:g}s"] if seconds is not None else []
    words += ["--blocks", str(blocks)] if blocks is not None else []
    return shlex.join([*words, "--seed", str(selection.seed), *(("--device", device) if device else ())])
