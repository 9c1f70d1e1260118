"""The Python function `kernelproof.verify`, which the command ``kernelproof verify`` calls."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from kernelproof import reports
from kernelproof.options import TargetOptions
from kernelproof.reference.errors import DomainError, ResourceError, TargetError, meant
from kernelproof.reference.progress import Progress
from kernelproof.reports.folder import keep
from kernelproof.request import flag, one_case, places_of, selection_of
from kernelproof.verify.backends import backend_names
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.plan import union
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.fuzz.scripts import with_scripts
from kernelproof.verify.process import interruption
from kernelproof.verify.process.environment import environment as environment_here
from kernelproof.verify.process.environment import numba_is_cold
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record import aggregate
from kernelproof.verify.record.schema import Results, Table, Verdict
from kernelproof.verify.record.schema import Target as TargetRecord
from kernelproof.verify.record.xfail import read as expected_failures
from kernelproof.verify.records import Contract
from kernelproof.verify.targets.refitting import with_fitted
from kernelproof.verify.targets.target import Place, Target, find
from kernelproof.verify.truth import cache as truth_cache
from kernelproof.verify.workers.runner import Runner, Workers, compiles, runner, with_patience

DEVICES = ("cpu", "cuda", "all")


def verify(
    *targets: str | Callable[..., Any],
    suite: str = "standard",
    seed: int = 0,
    case: str | None = None,
    xfail: str | Path | None = None,
    out: str | Path | None = None,
    serial: bool = False,
    progress: bool = False,
    timeout: float | Limits | None = None,
    cache: bool = True,
    **options: Unpack[TargetOptions],
) -> Results:
    """Verify implementations against the certified truth and return the results.

    Args:
        targets: names of backends, ``"file.py:object"``, ``"package.module:object"``, or functions defined in a
            module; none means all built-in backends.
        suite: "quick", "standard" or "exhaustive"; "large": batches of 67 million scores each.
        seed: the seed of every case.
        case: the text of one case to run, instead of a suite.
        xfail: a file of expected failures with their reasons: see `kernelproof.verify.record.xfail`.
        out: folder for the reports; None writes nothing.
        serial: run in this process, without protection from the targets: for tests.
        progress: show progress on standard error.
        timeout: seconds for the calls of a case; None means 60, and 300 for kernels that compile on a GPU.
        cache: read truths from the cache, and store those that have to be computed.
        options: see `kernelproof.options.TargetOptions`.

    Raises:
        DomainError: an argument is not allowed; the message says what is.
        TargetError: a target cannot be loaded, or the order that it computes must be given.
        NotWritten: the reports cannot be written; the results are in the exception.
        ResourceError: the system refused what the run needs; the reports have what was decided so far.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    selection = selection_of(options, suite=suite, seed=seed)
    device = options.get("device")
    if device is not None and device not in DEVICES:
        msg = f"device must be one of {', '.join(DEVICES)}; got {device!r}{meant(device, DEVICES)}"
        raise DomainError(msg)
    one = None if case is None else one_case(case, options)
    known = () if xfail is None else expected_failures(Path(xfail))
    places = list(dict.fromkeys(places_of(targets, options, one))) or [find(name) for name in backend_names()]
    if out is not None:
        if not str(out).strip():
            msg = f"out must name a folder; got {out!r}"
            raise DomainError(msg)
        reports.check_writable(Path(out))
    limits = Limits.of(timeout)
    span = None if timeout is None else f"{limits.seconds:g}s"
    cold = any(place.name == "numba" for place in places) and numba_is_cold()
    place, trouble = truth_cache.prepared() if cache else (None, "")
    workers = Workers() if one is None else Workers(1)
    with runner(serial=serial, limits=limits, workers=workers, cache=place, spare=True) as work:
        loaded, absent, skipped = _load(work, places, device, selection, explicit=bool(targets))
        loaded = _with_orders(loaded, selection, one)
        if any(compiles(target) for target in loaded):
            work.limits = with_patience(work.limits)
        cases = (one,) if one is not None else _plan(loaded, selection)
        tried = _assign(loaded, cases, single=one is not None)
        items = [
            (each, tuple(at for at, part in enumerate(tried) if number not in part.refused))
            for number, each in enumerate(cases)
        ]
        # Cases that no target takes are not run, so they do not count.
        with Progress(sum(bool(indices) for _, indices in items), shown=progress) as shown:
            if cold:
                shown.say("numba compiles its functions once; this first run takes a minute or two longer")
            whole = one is None and suite != "quick" and not any(map(options.get, ("op", "order", "alpha", "dtype")))
            tables, held, stopped = _run(work, items, loaded, shown, seed, whole=whole)
            runs = [
                replace(part, expected=known, suite=suite).answered(at, work.found, work.unasked)
                for at, part in enumerate(tried)
            ]
            records = [aggregate.record(run) for run in runs]
            skipped += [] if stopped else aggregate.unmatched(known, runs)
            kept, cache_said = _of_cache(work.tally, wanted=cache, trouble=trouble)
        try:
            if stopped is None and any(record.verdict in {Verdict.FAIL, Verdict.CRASH} for record in records):
                records = with_scripts(records, loaded, limits=limits, serial=serial)
        except Interrupted as error:
            stopped = error
    results = Results(
        passed=bool(records) and all(each.passed for each in records) and stopped is None,
        interrupted=stopped is not None,
        suite=suite if one is None else "one case",
        seed=seed if one is None else one.seed,
        command=_command(places if targets else [], selection, one, device=device, timeout=span, xfail=xfail),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        environment=held | {"processes": work.modes, "cache of truth": kept},
        skipped=[*skipped, *cache_said],
        targets=[*records, *absent],
        studies=tables,
    )
    if out is not None:
        with interruption.held():
            keep(reports.write, results, Path(out))
    if stopped is not None:
        raise stopped.with_report(out) if isinstance(stopped, Interrupted) else stopped
    return results


def _run(
    work: Runner,
    items: Sequence[tuple[Case, tuple[int, ...]]],
    loaded: list[Target],
    shown: Progress,
    seed: int,
    *,
    whole: bool,
) -> tuple[list[Table], dict[str, Any], Interrupted | ResourceError | None]:
    """Run the cases: the studies, the environment, and what ended the run early; `work` has the results."""
    environment = work.environment(with_torch=any(each.array_library == "torch" for each in loaded), seed=seed)
    studies = work.submit(_studies, seed=seed) if whole else None
    try:
        work.run(items, loaded, shown)
        work.afterwards([case for case, _ in items], loaded)
        tables = [] if studies is None else studies.result()
        return tables, environment.result(), None
    except (Interrupted, ResourceError) as error:
        work.stop()
        return [], environment_here(with_torch=False, seed=seed), error


def _of_cache(tally: truth_cache.Tally, *, wanted: bool, trouble: str) -> tuple[dict[str, Any] | str, list[str]]:
    """The entry of the cache of truth in the environment, and messages about its problems."""
    first = trouble or tally.trouble
    notes = [first] if first else []
    if tally.damaged:
        notes.append(f"{tally.damaged} damaged entries of the cache of truth; their truth was computed again")
    if not wanted:
        return "off", notes
    counts = {"read": tally.hits, "computed": tally.misses, "damaged": tally.damaged}
    return (counts if not trouble else "cannot be used"), notes


def prepared(
    target: str | Callable[..., Any],
    *,
    seed: int = 0,
    serial: bool = False,
    **options: Unpack[TargetOptions],
) -> tuple[Target, Selection, dict[str, Any]]:
    """Prepare a search on one target: describe it in a worker, and return it, the selection and the environment.

    Raises:
        DomainError: an argument is not allowed.
        TargetError: the target cannot be loaded, the order that it computes must be given, or it does not run on the
            device.
    """
    selection = selection_of(options, seed=seed)
    (place,) = places_of([target], options)
    with runner(serial=serial, workers=Workers(1)) as work:
        loaded, _, _ = _load(work, [place], options.get("device"), selection, explicit=True)
        held: dict[str, Any] = work.environment(with_torch=loaded[0].array_library == "torch", seed=seed).result()
    return _with_orders(loaded, selection, None)[0], selection, held


def _load(
    work: Runner, places: list[Place], device: str | None, selection: Selection, *, explicit: bool
) -> tuple[list[Target], list[TargetRecord], list[str]]:
    """Return the targets to run, records of those that are unavailable, and what was skipped."""
    loaded: list[Target] = []
    absent: list[TargetRecord] = []
    skipped: list[str] = []
    here: set[str] = set()
    for place, found in zip(places, work.describe(places, selection), strict=True):
        if isinstance(found, str):
            if explicit:
                msg = f"the target {place.name!r} is not available: {found}"
                raise TargetError(msg)
            skipped.append(f"{place.name}: {found}")
            absent.append(_absent(place, found))
            continue
        here |= {target.device for target in found}
        wanted = [target for target in found if device in {None, "all", target.device}]
        loaded += wanted
        if any(target.array_library == "torch" for target in found) and "cuda" not in {
            target.device for target in found
        }:
            skipped.append(f"{place.name} on cuda: no CUDA device that PyTorch can use on this machine")
        elif not wanted:
            skipped.append(f"{place.name}: it does not run on {device}")
    if not loaded and device is not None:
        msg = f"no target runs on the device {device!r} here; devices here: {', '.join(sorted(here)) or 'none'}"
        raise TargetError(msg)
    return loaded, absent, skipped


def _absent(place: Place, reason: str) -> TargetRecord:
    promised = Contract(grade="A").grade
    return TargetRecord(
        name=place.name,
        device="none",
        grade="F",
        promised=promised,
        passed=False,
        verdict=Verdict.UNAVAILABLE,
        note=reason,
    )


def _with_orders(loaded: list[Target], selection: Selection, one: Case | None) -> list[Target]:
    """Set the order of each target that does not declare it, from the arguments of the run.

    Raises:
        TargetError: a target has no parameter for the order, and the arguments do not say which one it computes.
    """
    numbers = [*selection.orders, *selection.alphas]
    if one is not None:
        if one.kernel.order < 0:
            # Negative orders are asked of who declares them, or where the user names them: the case does.
            named = Selection(
                orders=(one.order,) if one.alpha is None else (), alphas=() if one.alpha is None else (one.alpha,)
            )
            loaded = [target.within(named) for target in loaded]
        return [target.with_order(one.order or None, one.alpha) for target in loaded]
    loaded = [target.within(selection) for target in loaded]
    unknown = [target.name for target in loaded if target.order_unknown]
    if unknown and len(numbers) != 1:
        msg = f"{unknown[0]} has no parameter for the order; say which one it computes with --order or --alpha"
        raise TargetError(msg)
    order = selection.orders[0] if selection.orders and unknown else None
    alpha = selection.alphas[0] if selection.alphas and unknown else None
    return [target.with_order(order, alpha) for target in loaded]


def _plan(loaded: list[Target], selection: Selection) -> tuple[Case, ...]:
    scopes = [scope for target in loaded for scope in target.scopes]
    alpha_only = any(scope.op == "entmax" and scope.takes == ("alpha",) for scope in scopes)
    fixed = any(scope.op == "entmax" and scope.fixed for scope in scopes)
    narrowed = [each for target in loaded for each in target.selections(selection)]
    return with_fitted(loaded, union(narrowed, alpha_only=alpha_only, fixed=fixed))


def _assign(loaded: list[Target], cases: tuple[Case, ...], *, single: bool) -> list[aggregate.TargetRun]:
    tried = []
    for target in loaded:
        reasons = {number: target.refuses(case) for number, case in enumerate(cases)}
        refused = {number: reason for number, reason in reasons.items() if reason is not None}
        tried.append(aggregate.TargetRun(target, cases, {}, refused, single))
    return tried


def _studies(seed: int) -> list[Table]:
    from kernelproof.verify.studies.real_tensors import real_tensor_studies  # noqa: PLC0415 (a worker needs it, the parent does not)

    return real_tensor_studies(seed)


def _command(places: list[Place], selection: Selection, one: Case | None, **options: Any) -> str:
    """The command that repeats this run."""
    words = ["kernelproof", "verify", *(word for place in places for word in (place.name, *place.words))]
    if one is not None:
        words += ["--case", one.text]
    else:
        words += [*selection.words, "--suite", selection.suite, "--seed", str(selection.seed)]
    return shlex.join(
        [*words, *(word for name, value in options.items() if value for word in (flag(name), str(value)))]
    )
