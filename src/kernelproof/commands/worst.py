"""`kernelproof worst TARGET`: search for the largest errors, as the accuracy tables of libm list them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernelproof import reports
from kernelproof.api import prepared
from kernelproof.reference.errors import TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.reports.worst import write_worst
from kernelproof.verify.case import Case
from kernelproof.verify.fuzz.arena import Arena, Here, Judge
from kernelproof.verify.fuzz.climbing import Climber
from kernelproof.verify.fuzz.records import WorstResults, WorstRow
from kernelproof.verify.patterns import filled
from kernelproof.verify.progress import Progress
from kernelproof.verify.seams import limit_of
from kernelproof.verify.suites import ORDERS
from kernelproof.verify.targets import Place, Target
from kernelproof.verify.worker import Limits

WORST_SECONDS = 10.0
"""Time limit of the call on one block."""


def worst(
    target: str | Callable[..., Any],
    *,
    seconds: float | None = None,
    blocks: int | None = None,
    seed: int = 0,
    order: Any = None,
    alpha: Any = None,
    dtype: Any = None,
    device: str | None = None,
    call: str | None = None,
    output: int | str | None = None,
    array: str | None = None,
    contract: Any = None,
    variant: str | None = None,
    out: str | Path | None = None,
    limits: Limits | None = None,
    serial: bool = False,
    progress: bool = False,
) -> WorstResults:
    """Search for the largest errors of entmax, in ulp and in κ, at each order and dtype of `target`.

    Args:
        target: a backend, ``"file.py:object"``, ``"package.module:object"``, or a function that a module holds.
        seconds: how long, shared by all orders and dtypes; 60 if neither this nor `blocks` is given.
        blocks: of rows to measure at each order and dtype; with a seed this gives the same table again.
        seed: of everything drawn.
        order: one or more orders; default: the grid of the suites.
        alpha: one or more values of α instead.
        dtype: one or more dtypes; default: what the target takes.
        device: "cpu" or "cuda"; default: the first that the target runs on.
        call: how the target is called, such as ``"f(z, dim=-1)"``.
        output: which item of what it returns is the output.
        array: what it computes on: numpy, torch, jax or cupy.
        contract: what it is declared to be, beyond these: a TOML file, or the fields themselves.
        variant: ``"file.py:OBJECT"`` of the `kernelproof.variant.Variant` that it computes.
        out: folder for worst.json and worst.md; None writes nothing.
        limits: time and memory of one call.
        serial: in this process, without protection from the target: for tests.
        progress: show how far it is on standard error.

    Raises:
        DomainError: an argument is not one of what is allowed.
        TargetError: the target cannot be loaded, or has neither entmax nor weights.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    if seconds is None and blocks is None:
        seconds = 60.0
    if out is not None:
        reports.check_writable(Path(out))
    chosen, selection, environment = prepared(
        target,
        order=order,
        alpha=alpha,
        dtype=dtype,
        seed=seed,
        device=device,
        call=call,
        output=output,
        array=array,
        contract=contract,
        variant=variant,
        serial=serial,
    )
    op = next((name for name in ("entmax", "weights") if name in chosen.ops), None)
    if op is None:
        msg = f"worst needs a target with entmax or weights; {chosen.name!r} has {', '.join(chosen.ops)}"
        raise TargetError(msg)
    (narrowed,) = (each for each in chosen.selections(replace(selection, ops=(op,))))
    numbers: list[tuple[str, str | None]] = [(each, None) for each in narrowed.orders]
    numbers += [("", each) for each in narrowed.alphas]
    rule = "adaptive:1" if op == "entmax" else filled((narrowed.rules or ("adaptive:1",))[0], 0, "3")
    cases = [
        Case(op, each, number, rule, name, "random", (1, 2), "1", seed)
        for each, number in numbers or [(each, None) for each in ORDERS]
        for name in selection.dtypes or chosen.dtypes
        if name in chosen.dtypes
    ]
    cases = [case for case in cases if chosen.refuses(case) is None]
    rows: list[WorstRow] = []
    judge: Judge
    with Progress(len(cases), shown=progress, noun="orders and dtypes", verb="searching") as shown:

        def search(judge: Judge) -> None:
            begun = time.monotonic()
            for at, case in enumerate(cases):
                # Each place may take its share of what is left.
                ends = None if seconds is None else begun + seconds * (at + 1) / len(cases)
                rows.append(Climber(judge, case, seed, _clock(ends)).run(blocks))
                shown.advance(1)

        if serial:
            judge = Here(chosen)
            search(judge)
        else:
            with Arena(chosen, limits or Limits(seconds=WORST_SECONDS)) as judge:
                search(judge)
    results = WorstResults(
        passed=bool(rows) and all(_holds(row, chosen) for row in rows),
        target=chosen.name,
        device=chosen.device,
        promised=chosen.contract.grade,
        seed=seed,
        command=_command(chosen.place, selection, seconds, blocks, device),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        rows=sum(row.rows for row in rows),
        deaths=judge.deaths,
        environment=environment,
        table=rows,
    )
    if out is not None:
        write_worst(results, Path(out))
    return results


def _clock(ends: float | None) -> Callable[[], bool]:
    return lambda: ends is not None and time.monotonic() >= ends


def _holds(row: WorstRow, target: Target) -> bool:
    return (
        row.kappa is not None
        and not row.note
        and row.kappa.error <= limit_of(target.contract.grade, FORMATS[row.dtype])
    )


def _command(place: Place, selection: Any, seconds: float | None, blocks: int | None, device: str | None) -> str:
    """The command that does this run again."""
    words = ["kernelproof", "worst", place.name, *place.words, *selection.words]
    words += ["--time", f"{seconds:g}s"] if seconds is not None else []
    words += ["--blocks", str(blocks)] if blocks is not None else []
    return shlex.join([*words, "--seed", str(selection.seed), *(("--device", device) if device else ())])
