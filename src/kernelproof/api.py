"""`kernelproof.verify(...)`: what the command ``kernelproof verify`` does, from Python."""

from __future__ import annotations

import inspect
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernelproof import reports
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify import aggregate
from kernelproof.verify.case import OPS, Case
from kernelproof.verify.discovery import backend_names
from kernelproof.verify.environment import numba_is_cold
from kernelproof.verify.fuzz.scripting import with_scripts
from kernelproof.verify.progress import Progress
from kernelproof.verify.results import Results, Table, Verdict
from kernelproof.verify.results import Target as TargetRecord
from kernelproof.verify.runner import Runner, Workers, runner, with_patience
from kernelproof.verify.seams import Contract
from kernelproof.verify.suites import SUITES, Selection, parse_numbers, plan
from kernelproof.verify.targets import BUILT_IN, Place, Target, find
from kernelproof.verify.worker import Limits

DEVICES = ("cpu", "cuda", "all")
COLD_SECONDS = 300.0
"""Time limit of a case while numba compiles for the first time."""

PRELOAD = {BUILT_IN + "torch": ("torch", "torch._dynamo"), BUILT_IN + "numba": ("numba",)}
"""What the built-in backends import late; each worker does it at its start, at the same time as the others."""

Several = str | int | float | Sequence[Any] | None


def verify(
    *targets: str | Callable[..., Any],
    op: str | Sequence[str] | None = None,
    order: Several = None,
    alpha: Several = None,
    dtype: str | Sequence[str] | None = None,
    device: str | None = None,
    suite: str = "standard",
    seed: int = 0,
    case: str | None = None,
    out: str | Path | None = None,
    serial: bool = False,
    progress: bool = False,
    limits: Limits | None = None,
) -> Results:
    """Hold implementations against the certified truth and return what was found.

    Args:
        targets: names of backends, ``"file.py:object"``, ``"package.module:object"``, or functions that a
            module holds; none means all built-in backends.
        op: one or more of entmax, weights, regression, attention.
        order: one or more orders, such as ``"1/2,1,inf"``.
        alpha: one or more values of α instead; then entmax only.
        dtype: one or more dtypes.
        device: "cpu", "cuda" or "all"; None means what is here.
        suite: "quick", "standard" or "exhaustive".
        seed: of every case.
        case: the text of one case to run, instead of a suite.
        out: folder for the reports; None writes nothing.
        serial: in this process, without protection from the targets: for tests.
        progress: show how far it is on standard error.
        limits: time and memory of a case.

    Raises:
        DomainError: an argument is not one of what is allowed; the message says what is.
        TargetError: a target cannot be loaded, or not without an order.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    selection = _selection(op, order, alpha, dtype, suite, seed)
    if device is not None and device not in DEVICES:
        msg = f"device must be one of {', '.join(DEVICES)}; got {device!r}"
        raise DomainError(msg)
    one = None if case is None else _one_case(case, op, order, alpha, dtype)
    places = [find(_text(target)) for target in targets] or [find(name) for name in backend_names()]
    places = list(dict.fromkeys(places))
    if out is not None:
        reports.check_writable(Path(out))
    cold = any(place.name == "numba" for place in places) and numba_is_cold()
    chosen = with_patience(limits or Limits(), COLD_SECONDS) if cold else limits or Limits()
    preload = tuple(name for place in places for name in PRELOAD.get(place.module, ()))
    with runner(preload=preload, serial=serial, limits=chosen) as work:
        loaded, absent, skipped = _load(work, places, device, explicit=bool(targets))
        cases = (one,) if one is not None else _plan(loaded, selection)
        tried = _assign(loaded, cases, selection, single=one is not None)
        with Progress(len(cases), shown=progress) as shown:
            if cold:
                shown.say("numba compiles its functions once; this first run takes a minute or two longer")
            with_torch = any(target.array == "torch" for target in loaded)
            environment = work.environment(with_torch=with_torch, seed=seed)
            whole = one is None and suite != "quick" and not (op or order or alpha or dtype)
            studies = work.submit(_studies, seed=seed) if whole else None
            items = [
                (each, tuple(at for at, part in enumerate(tried) if number not in part.refused))
                for number, each in enumerate(cases)
            ]
            found = work.run(items, loaded, shown)
            records = [aggregate.record(_with(part, aggregate.split(found, at))) for at, part in enumerate(tried)]
            tables = [] if studies is None else studies.result()
            held = environment.result()
        if any(record.verdict in {Verdict.FAIL, Verdict.CRASH} for record in records):
            records = with_scripts(records, loaded, limits=chosen, serial=serial)
    results = Results(
        passed=bool(records) and all(each.passed for each in records),
        suite=suite if one is None else "one case",
        seed=seed if one is None else one.seed,
        command=_command(places if targets else [], selection, one, device),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        environment=held,
        skipped=skipped,
        targets=[*records, *absent],
        studies=tables,
    )
    if out is not None:
        reports.write(results, Path(out))
    return results


def prepared(
    target: str | Callable[..., Any],
    *,
    op: str | Sequence[str] | None = None,
    order: Several = None,
    alpha: Several = None,
    dtype: str | Sequence[str] | None = None,
    seed: int = 0,
    device: str | None = None,
    serial: bool = False,
) -> tuple[Target, Selection, dict[str, Any]]:
    """One target as a search needs it: described where it cannot hurt, what is asked of it, and the environment.

    Raises:
        DomainError: an argument is not one of what is allowed.
        TargetError: the target cannot be loaded, or not without an order, or it does not run on the device.
    """
    selection = _selection(op, order, alpha, dtype, "standard", seed)
    place = find(_text(target))
    with runner(preload=PRELOAD.get(place.module, ()), serial=serial, workers=Workers(1)) as work:
        loaded, _, _ = _load(work, [place], device, explicit=True)
        held: dict[str, Any] = work.environment(with_torch=loaded[0].array == "torch", seed=seed).result()
    _check_order(loaded, selection)
    return loaded[0], selection, held


def _selection(op: Any, order: Several, alpha: Several, dtype: Any, suite: str, seed: int) -> Selection:
    if suite not in SUITES:
        msg = f"suite must be one of {', '.join(SUITES)}; got {suite!r}"
        raise DomainError(msg)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        msg = f"seed must be an int of at least 0; got {seed!r}"
        raise DomainError(msg)
    if order is not None and alpha is not None:
        msg = f"pass order or alpha, not both; got order={order!r}, alpha={alpha!r}"
        raise DomainError(msg)
    ops = _names(op, "op", OPS)
    if alpha is not None and ops and ops != ("entmax",):
        msg = f"alpha belongs to entmax; got op={op!r} with alpha={alpha!r}; pass order for the other ops"
        raise DomainError(msg)
    return Selection(
        suite=suite,
        seed=seed,
        ops=("entmax",) if alpha is not None else ops,
        orders=() if order is None else parse_numbers(_joined(order), "order"),
        alphas=() if alpha is None else parse_numbers(_joined(alpha), "alpha"),
        dtypes=_names(dtype, "dtype", tuple(FORMATS)),
    )


def _joined(value: Several) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(str(each) for each in value)


def _names(value: str | Sequence[str] | None, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    found = tuple(part.strip() for part in _joined(value).split(","))
    for part in found:
        if part not in allowed:
            msg = f"{name} must be one of {', '.join(allowed)}; got {part!r}"
            raise DomainError(msg)
    return tuple(dict.fromkeys(found))


def _one_case(text: str, *others: Any) -> Case:
    if any(other is not None for other in others):
        msg = "a case says its own op, order, alpha and dtype; pass case alone"
        raise DomainError(msg)
    case = Case.parse(text)
    try:
        case.inputs()
    except DomainError:
        raise
    except Exception as error:  # noqa: BLE001 (a recipe that no family can build is bad input)
        msg = f"the family {case.family} cannot build the case {text!r}: {type(error).__name__}: {error}"
        raise DomainError(msg) from None
    return case


def _text(target: str | Callable[..., Any]) -> str:
    """The text that names a target; a function is named by the module or file that holds it."""
    if isinstance(target, str):
        return target
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not module or not name or "<" in name:
        msg = f"a target must be a name, or a function that a module holds under its own name; got {target!r}"
        raise TargetError(msg)
    if module != "__main__" and module in sys.modules:
        return f"{module}:{name}"
    with suppress(TypeError, OSError):
        return f"{inspect.getfile(target)}:{name}"
    msg = f"a target must come from a file; {target!r} has none"
    raise TargetError(msg)


def _load(
    work: Runner, places: list[Place], device: str | None, *, explicit: bool
) -> tuple[list[Target], list[TargetRecord], list[str]]:
    """The targets to run, records of those that are not available, and what was skipped."""
    loaded: list[Target] = []
    absent: list[TargetRecord] = []
    skipped: list[str] = []
    here: set[str] = set()
    for place, found in zip(places, work.describe(places), strict=True):
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
        if any(target.array == "torch" for target in found) and "cuda" not in {target.device for target in found}:
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


def _check_order(loaded: list[Target], selection: Selection) -> bool:
    """Whether one of the targets has no parameter for the order; an error, if the run does not say what it computes."""
    silent = [target.name for target in loaded if target.fixed and "entmax" in target.ops]
    numbers = [*selection.orders, *selection.alphas]
    if silent and len(numbers) != 1:
        msg = f"{silent[0]} has no parameter for the order; say which one it computes with --order or --alpha"
        raise TargetError(msg)
    return bool(silent)


def _plan(loaded: list[Target], selection: Selection) -> tuple[Case, ...]:
    fixed = _check_order(loaded, selection)
    return plan(selection, alpha_only=any(target.takes == ("alpha",) for target in loaded), fixed=fixed)


def _assign(
    loaded: list[Target], cases: tuple[Case, ...], selection: Selection, *, single: bool
) -> list[aggregate.Tried]:
    order = selection.orders[0] if len(selection.orders) == 1 else None
    alpha = selection.alphas[0] if len(selection.alphas) == 1 else None
    tried = []
    for target in loaded:
        reasons = {
            number: target.refuses(
                case,
                case.order or None if single else order,
                case.alpha if single else alpha,
            )
            for number, case in enumerate(cases)
        }
        refused = {number: reason for number, reason in reasons.items() if reason is not None}
        tried.append(aggregate.Tried(target, cases, {}, refused, single))
    return tried


def _with(part: aggregate.Tried, results: Any) -> aggregate.Tried:
    return aggregate.Tried(part.target, part.cases, results, part.refused, part.single)


def _studies(seed: int) -> list[Table]:
    from kernelproof.verify.studies import real_tensor_studies  # noqa: PLC0415 (a worker needs it, the parent does not)

    return real_tensor_studies(seed)


def _command(places: list[Place], selection: Selection, one: Case | None, device: str | None) -> str:
    """The command that does this run again."""
    words = ["kernelproof", "verify", *(place.name for place in places)]
    if one is not None:
        words += ["--case", one.text]
    else:
        lists = {"op": selection.ops, "order": selection.orders, "alpha": selection.alphas, "dtype": selection.dtypes}
        words += [word for name, held in lists.items() if held for word in (f"--{name}", ",".join(held))]
        words += ["--suite", selection.suite, "--seed", str(selection.seed)]
    return shlex.join([*words, *(("--device", device) if device else ())])
