"""The Python function behind the command ``kernelproof converge``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from kernelproof.reference.errors import DomainError, ResourceError, TargetError, meant
from kernelproof.reference.formats import FORMATS
from kernelproof.reports import paper
from kernelproof.reports.folder import keep
from kernelproof.reports.paper.record import ConvergenceResults, study_passed
from kernelproof.reports.paper.style import Look
from kernelproof.theory.convergence.curves import study
from kernelproof.theory.convergence.orders import checked_orders, order_text
from kernelproof.theory.convergence.pictures import PICTURES, PictureRecord
from kernelproof.theory.convergence.records import StudyRecord
from kernelproof.theory.convergence.studies import STUDIES
from kernelproof.verify.backends import backend_names
from kernelproof.verify.process import interruption
from kernelproof.verify.process.environment import environment
from kernelproof.verify.process.gathering import gather
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.studies import convergence
from kernelproof.verify.studies.backend_records import BackendStudy
from kernelproof.verify.targets.target import Place, Target, find
from kernelproof.verify.workers.runner import Runner, runner

BACKENDS = "backends"
NAMES = (*STUDIES, BACKENDS, *PICTURES)
"""Everything that can be drawn: the studies of truth, the study of backends, and the pictures."""
Several = str | Sequence[Any] | None


def converge(
    *,
    what: Several = None,
    orders: Several = None,
    backends: Several = None,
    targets: str | Sequence[str] = (),
    dtypes: Several = None,
    style: str = "single-column",
    venue: str = "icml",
    out: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    serial: bool = False,
) -> ConvergenceResults:
    """Measure the convergence as n → ∞, and write figures, tables and captions for a paper.

    Args:
        what: names from `NAMES`; None means all.
        orders: exact numbers in [2^-20, ∞), such as ``"1/2,1,64"``; None means 2^(k/2) from 1/2 to 2^40.
        backends: names of built-in backends for the study of backends; None means all.
        targets: further targets of that study, in the form that `kernelproof.verify` takes.
        dtypes: dtypes of that study; None means float64, float32, float16 and bfloat16.
        style: single-column, double-column or slides.
        venue: the venue whose column widths to use: neurips, icml or jmlr.
        out: folder for the files; None writes nothing.
        seed: seeds everything that is drawn at random.
        progress: called with the name of each study when it has been measured, and again when it has been drawn.
        serial: run in this process, without protection from targets: for tests.

    Raises:
        DomainError: an argument is not allowed; the message says what is.
        TargetError: a target cannot be loaded, or has no parameter for the order.
        NotWritten: the reports cannot be written; the results are in the exception.
        ResourceError: processes of ours were ended from outside; the report has the studies that were measured.
    """
    chosen, look = wanted(what), Look(style, venue)
    grid = checked_orders(None if orders is None else parts(orders, "orders"))
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        msg = f"seed must be an int of at least 0; got {seed!r}"
        raise DomainError(msg)
    formats = None if dtypes is None else _known(parts(dtypes, "dtypes"), tuple(FORMATS), "dtype")
    places = _places(chosen, backends, targets)
    if formats is not None and BACKENDS not in chosen:
        msg = f"dtypes belong to the study of backends; add {BACKENDS!r} to what, which is {', '.join(chosen)}"
        raise DomainError(msg)
    if out is not None:
        paper.check_writable(Path(out), chosen)
    shown = progress or (lambda _: None)
    with runner(serial=serial) as work:
        loaded = _loaded(work, places, explicit=backends is not None)
        starts = {name: partial(_submitted, work, name, grid, seed) for name in chosen if name != BACKENDS}
        found: dict[str, Any] = {}
        drawn: dict[str, Any] = {}
        held, stopped = None, None
        try:
            gather(starts, found, shown)
            if loaded:
                held = convergence.study(work, loaded, grid, seed, formats)
                shown(BACKENDS)
        except (Interrupted, ResourceError) as error:
            work.stop()
            stopped = error
        results = _results(
            found, held, chosen, grid, look, seed, with_torch=any(t.array_library == "torch" for t in loaded)
        )
        if out is not None and stopped is None:
            try:
                draws = {s: partial(work.submit, paper.render_figure, results=results, slug=s) for s in results.slugs}
                gather(draws, drawn, shown)
            except (Interrupted, ResourceError) as error:
                stopped = error
    if stopped is not None:
        results = results.model_copy(update={"passed": False, "interrupted": True})
    if out is not None:
        figures = {name: data for slug in results.slugs for name, data in drawn.get(slug, {}).items()}
        with interruption.held():
            keep(lambda record, folder: paper.write(record, folder, figures), results, Path(out))
    if stopped is not None:
        raise stopped.with_report(out) if isinstance(stopped, Interrupted) else stopped
    return results


def wanted(what: Several) -> tuple[str, ...]:
    """The studies and pictures that `what` names, in the order of `NAMES`.

    Raises:
        DomainError: `what` names nothing, or something unknown.
    """
    if what is None:
        return NAMES
    chosen = _known(parts(what, "what"), NAMES, "what")
    return tuple(name for name in NAMES if name in chosen)


def parts(value: Any, name: str) -> list[Any]:
    """Split a text at its commas, or convert a sequence of names or numbers to a list.

    Raises:
        DomainError: the value or a part of it is empty.
    """
    found = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    if not found or any(part == "" for part in found):
        msg = f"{name} must hold at least one entry and no empty one; got {value!r}"
        raise DomainError(msg)
    return found


def _known(given: Sequence[Any], allowed: Sequence[str], name: str) -> tuple[str, ...]:
    for each in given:
        if each not in allowed:
            msg = f"{name} must be one or more of {', '.join(allowed)}; got {each!r}{meant(each, allowed)}"
            raise DomainError(msg)
    return tuple(dict.fromkeys(given))


def _places(chosen: tuple[str, ...], backends: Several, targets: str | Sequence[str]) -> list[Place]:
    """The places of the targets in the study of backends; none if `chosen` does not include that study."""
    others = [] if not targets else parts(targets, "targets")
    if BACKENDS not in chosen:
        if backends is not None or others:
            msg = f"backends and targets belong to the study of backends; add {BACKENDS!r} to what"
            raise DomainError(msg)
        return []
    allowed = tuple(backend_names())
    named = allowed if backends is None else _known(parts(backends, "backends"), allowed, "backend")
    return list(dict.fromkeys(find(name) for name in (*named, *others)))


def _loaded(work: Runner, places: list[Place], *, explicit: bool) -> list[Target]:
    """The targets at `places`; a built-in backend may be unavailable unless backends were named explicitly."""
    loaded: list[Target] = []
    builtin = set(backend_names())
    for place, found in zip(places, work.describe(places), strict=True):
        if not isinstance(found, str):
            loaded += found
        elif explicit or place.name not in builtin:
            msg = f"the target {place.name!r} is not available: {found}"
            raise TargetError(msg)
    return loaded


def picture(slug: str, seed: int) -> PictureRecord:
    """Compute the numbers of a picture; runs in a worker."""
    return PICTURES[slug].record(seed)


def _submitted(work: Runner, name: str, orders: tuple[Fraction, ...], seed: int) -> Future[Any]:
    if name in PICTURES:
        return work.submit(picture, slug=name, seed=seed)
    return work.submit(study, slug=name, orders=orders, seed=seed)


def _results(
    found: dict[str, Any],
    held: BackendStudy | None,
    chosen: tuple[str, ...],
    orders: tuple[Fraction, ...],
    look: Look,
    seed: int,
    *,
    with_torch: bool,
) -> ConvergenceResults:
    studies: list[StudyRecord] = [found[name] for name in chosen if name in STUDIES and name in found]
    return ConvergenceResults(
        passed=all(map(study_passed, studies)) and (BACKENDS not in chosen if held is None else held.passed),
        seed=seed,
        orders=[order_text(order) for order in orders],
        style=look.style,
        venue=look.venue,
        environment=environment(with_torch=with_torch, seed=seed),
        studies=studies,
        backends=held,
        pictures=[found[name] for name in chosen if name in PICTURES and name in found],
    )
