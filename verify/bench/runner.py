"""Run the benchmarks: measure figures one after the other in this process; a figure that cannot run has a reason."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from kernelproof.reference.errors import DomainError, meant
from kernelproof.verify.bench.bench_record import (
    BenchResults,
    ClaimRecord,
    CostCurveRecord,
    CostPictureRecord,
    FamilyRecord,
    FigureRecord,
    FigureState,
    Memory,
    Note,
    Spread,
)
from kernelproof.verify.bench.figure import (
    Contest,
    CostCurve,
    CostPicture,
    Figure,
    FigureFamily,
    FigureGroup,
    Missing,
    Sizes,
)
from kernelproof.verify.bench.isolation import Failed, peak_of
from kernelproof.verify.bench.notes import notes
from kernelproof.verify.bench.power_law import exponent
from kernelproof.verify.bench.timing import Effort, in_turns, ratios, spread
from kernelproof.verify.process.environment import environment
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.registry import collect

PACKAGE = "kernelproof.verify.bench.figures"
FULL, QUICK = Effort(), Effort(seconds=0.15, least=2, most=5)
POINT, QUICK_POINT = Effort(seconds=0.8, least=3, most=51), Effort(seconds=0.2, least=2, most=3)
"""Effort for each point of a picture, all curves together."""
TRUSTED = (120.0, 16 << 30)
"""Limits, in seconds and bytes, of a call whose memory is measured and whose figure sets no limits."""

Told = Callable[[str], None]


def families() -> list[FigureFamily]:
    """All families, by rank.

    Raises:
        SeamError: see `kernelproof.verify.registry.collect`.
    """
    return sorted(collect(PACKAGE, "FAMILY").values(), key=lambda family: (family.rank, family.id))


def chosen(only: Sequence[str] | None) -> list[FigureFamily]:
    """The families, reduced to figures and pictures whose name starts with one of `only`; None means everything.

    A name is, for example, ``truth/rate-real-float32``.

    Raises:
        DomainError: no name starts with one of them.
    """
    known = families()
    if only is None:
        return known
    names = [name for family in known for name in names_of(family)]
    for prefix in only:
        if not prefix or not any(name.startswith(prefix) for name in names):
            msg = f"only must be the beginning of names such as {', '.join(family.id for family in known)} or "
            msg += f"{names[0]}; got {prefix!r}{meant(prefix, names)}"
            raise DomainError(msg)

    def wanted(name: str) -> bool:
        return name.startswith(tuple(only))

    found = []
    for family in known:
        claims = []
        for claim in family.claims:
            figures = tuple(each for each in claim.figures if wanted(_name(family, claim, each)))
            if figures:
                claims.append(FigureGroup(claim.id, claim.title, claim.goal, figures))
        pictures = tuple(each for each in family.pictures if wanted(f"{family.id}/{each.id}"))
        if claims or pictures:
            found.append(FigureFamily(family.id, family.title, tuple(claims), pictures, family.rank))
    return found


def names_of(family: FigureFamily) -> list[str]:
    """The names of all figures and pictures of a family."""
    figures = [_name(family, claim, figure) for claim in family.claims for figure in claim.figures]
    return figures + [f"{family.id}/{picture.id}" for picture in family.pictures]


def _name(family: FigureFamily, claim: FigureGroup, figure: Figure) -> str:
    return f"{family.id}/{claim.id}/{figure.id}"


def bench(
    *,
    only: Sequence[str] | None = None,
    quick: bool = False,
    done: Told = lambda _: None,
    stopped: list[Interrupted] | None = None,
) -> BenchResults:
    """Measure and return the results.

    Args:
        only: prefixes of names, see `chosen`; None means all.
        quick: use small inputs and few rounds: to try the benchmarks, not to judge by them.
        done: called with the name of each figure and picture when it has been measured.
        stopped: takes an interruption, after which the results so far are returned; None: it is raised.

    Raises:
        DomainError: a part of `only` matches nothing.
        NoteError: a file of notes is malformed.
    """
    selected = chosen(only)
    held = {family.id: notes(family) for family in selected}
    started, clock = datetime.now(UTC), time.monotonic()
    found: dict[str, FigureRecord] = {}
    pictures: list[CostPictureRecord] = []
    try:
        _measure_all(selected, Sizes(quick), found, pictures, done)
    except Interrupted as error:
        if stopped is None:
            raise
        stopped.append(error)
    records = [record for family in selected if (record := _family(family, found, held[family.id])).claims]
    words = ["kernelproof", "bench", *(["--only", ",".join(only)] if only else []), *(["--quick"] if quick else [])]
    return BenchResults(
        command=shlex.join(words),
        interrupted=bool(stopped),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        quick=quick,
        environment=environment(with_torch=not stopped),
        families=records,
        pictures=pictures,
    )


def _measure_all(
    selected: Sequence[FigureFamily],
    sizes: Sizes,
    found: dict[str, FigureRecord],
    pictures: list[CostPictureRecord],
    done: Told,
) -> None:
    """Measure every figure into `found`, by its name, and every picture into `pictures`."""
    for family in selected:
        for claim in family.claims:
            for figure in claim.figures:
                name = _name(family, claim, figure)
                found[name] = measured(figure, claim, sizes)
                done(name)
        for picture in family.pictures:
            pictures.append(drawn(picture, sizes, f"{family.id}-{picture.id}"))
            done(f"{family.id}/{picture.id}")


def _family(family: FigureFamily, found: dict[str, FigureRecord], notes: dict[str, Note]) -> FamilyRecord:
    """The record of what was measured of a family."""
    claims = []
    for claim in family.claims:
        names = [_name(family, claim, figure) for figure in claim.figures]
        figures = [found[name] for name in names if name in found]
        if figures:
            note = notes.get(claim.id)
            claims.append(ClaimRecord(id=claim.id, title=claim.title, goal=claim.goal, note=note, figures=figures))
    return FamilyRecord(id=family.id, title=family.title, claims=claims)


def annotated(results: BenchResults) -> BenchResults:
    """Replace the notes of `results` by the current ones, so that a change of a note needs no new run.

    Raises:
        NoteError: a file of notes is malformed.
    """
    held = {family.id: notes(family) for family in families()}

    def noted(family: FamilyRecord) -> FamilyRecord:
        known = held.get(family.id)
        if known is None:
            return family
        claims = [claim.model_copy(update={"note": known.get(claim.id)}) for claim in family.claims]
        return family.model_copy(update={"claims": claims})

    return results.model_copy(update={"families": [noted(family) for family in results.families]})


def measured(figure: Figure, claim: FigureGroup, sizes: Sizes) -> FigureRecord:
    """Measure one figure and return its record."""
    base = {"id": figure.id, "setting": dict(figure.setting), "ours": figure.ours, "rival": figure.rival}
    try:
        memory = _memory(figure, sizes)
        contest = figure.prepare(sizes)
    except Missing as error:
        return FigureRecord.model_validate({**base, "state": FigureState.UNAVAILABLE, "reason": str(error)})
    except Failed as error:
        return FigureRecord.model_validate({**base, "state": FigureState.MISSED, "reason": f"{figure.ours}: {error}"})
    try:
        agreement = contest.check(contest.ours(), contest.rival())
        seconds = in_turns((contest.ours, contest.rival), QUICK if sizes.quick else FULL)
    finally:
        contest.done()
    ours, rival = ([each / work for each in side] for side, work in zip(seconds, _works(contest), strict=True))
    values, best = unit_of(claim, ours, rival)
    state = FigureState.SHOWN
    if not agreement.passed:
        state = FigureState.WRONG
    elif claim.goal is not None:
        state = FigureState.MET if claim.goal.holds(spread(values).median) else FigureState.MISSED
    return FigureRecord.model_validate(
        {
            **base,
            "state": state,
            "rounds": len(values),
            "measured": spread(values),
            "best": best,
            "ratio": spread(ratios(ours, rival)),
            "ours_seconds": spread(seconds[0]),
            "rival_seconds": spread(seconds[1]),
            "agreement": agreement,
            "memory": memory,
        }
    )


def unit_of(claim: FigureGroup, ours: Sequence[float], rival: Sequence[float]) -> tuple[list[float], float]:
    """Convert times to the unit of the claim's goal: round by round, and from the shortest time of each side.

    Args:
        claim: its goal determines the unit; without a goal the unit is how many times faster ours is.
        ours: seconds per element of ours, round by round.
        rival: seconds per element of the rival, round by round.
    """
    kind = "faster" if claim.goal is None else claim.goal.kind
    if kind == "rate":
        return [1 / each for each in ours], 1 / min(ours)
    if kind == "times":
        return ratios(ours, rival), min(ours) / min(rival)
    return ratios(rival, ours), min(rival) / min(ours)


def _works(contest: Contest) -> tuple[float, float]:
    return contest.ours_work, contest.rival_work


def _memory(figure: Figure, sizes: Sizes) -> Memory | None:
    """Measure the peak memory of both sides; raises `Failed` if ours does not return, and `Missing`."""
    if not figure.memory or sizes.quick:
        return None
    figure.prepare(sizes).done()
    seconds, memory = figure.guarded or TRUSTED
    ours = peak_of(partial(_side, figure.prepare, sizes, "ours"), seconds, memory)
    rival = None
    # A rival that does not return loses, and its memory is unknown.
    with suppress(Failed):
        rival = peak_of(partial(_side, figure.prepare, sizes, "rival"), *TRUSTED)
    return Memory(ours=ours, rival=rival)


def _side(prepare: Callable[[Sizes], Contest], sizes: Sizes, name: str) -> Callable[[], object]:
    """One side of a figure, called once on a small input so that compiling is not measured."""
    getattr(prepare(Sizes(quick=True)), name)()
    call: Callable[[], object] = getattr(prepare(sizes), name)
    return call


def drawn(picture: CostPicture, sizes: Sizes, name: str) -> CostPictureRecord:
    """Measure a picture and return its record; at each x, all curves take turns."""
    effort = QUICK_POINT if sizes.quick else POINT
    missing: dict[str, str] = {}
    points: dict[str, list[tuple[float, Spread]]] = {curve.label: [] for curve in picture.curves}
    try:
        for x in picture.xs(sizes):
            calls = {}
            for curve in picture.curves:
                try:
                    calls[curve.label] = curve.prepare(x, sizes)
                    calls[curve.label]()
                except Missing as error:
                    missing[curve.label] = str(error)
            for label, seconds in zip(calls, in_turns(list(calls.values()), effort), strict=True):
                points[label].append((x, spread(seconds)))
    finally:
        picture.done()
    curves = [_curve(curve, points[curve.label], missing.get(curve.label, ""), picture) for curve in picture.curves]
    return CostPictureRecord(id=name, title=picture.title, x=picture.x, caption=picture.caption, curves=curves)


def _curve(curve: CostCurve, points: list[tuple[float, Spread]], reason: str, picture: CostPicture) -> CostCurveRecord:
    # Fit the shortest times, because other work on the machine disturbs them least.
    fitted = [(x, each.least) for x, each in points if x >= picture.fit_from]
    fit = exponent([x for x, _ in fitted], [y for _, y in fitted]) if fitted else None
    return CostCurveRecord(
        label=curve.label, reason=reason, xs=[x for x, _ in points], seconds=[each for _, each in points], fit=fit
    )
