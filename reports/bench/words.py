"""Words and numbers that the reports of benchmarks share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kernelproof.reports.text import INTERRUPTED, number, short
from kernelproof.verify.bench.bench_record import (
    BenchResults,
    ClaimRecord,
    FigureRecord,
    FigureState,
    Goal,
    PowerLawFit,
    Spread,
)

UNITS = {"times": "×", "faster": "× faster", "rate": "/s"}
"""The unit after a number, by the kind of its goal."""
BAD = (FigureState.MISSED, FigureState.WRONG)


@dataclass(frozen=True)
class ClaimLine:
    """A claim as one line of the short table.

    Attributes:
        title: of the claim.
        goal: as text.
        rival: what the figures are compared with.
        measured: the range of the medians of its figures, from the best to the worst.
        worst: the figure furthest from the goal, with the quartiles of its rounds.
        met: how many figures meet the goal, such as "5 of 6".
        state: of the claim: the worst of its figures.
    """

    title: str
    goal: str
    rival: str
    measured: str
    worst: str
    met: str
    state: FigureState


def plain(value: float, kind: str) -> str:
    """Return a measured number as text.

    >>> plain(1.234, "times"), plain(3.2e6, "rate")
    ('1.23', '3.2M')
    """
    return short(round(value)) if kind == "rate" else number(float(value))


def amount(value: float, kind: str) -> str:
    """Return a measured number with its unit.

    >>> amount(1.234, "times"), amount(41.2, "faster"), amount(3.2e6, "rate")
    ('1.23×', '41.2× faster', '3.2M/s')
    """
    return plain(value, kind) + UNITS[kind]


def range_text(values: Sequence[float], kind: str) -> str:
    """Return the first and the last of sorted values, with the unit once.

    >>> range_text([40.0, 35.0, 31.5], "faster"), range_text([1.2], "times"), range_text([], "times")
    ('40.0 to 31.5× faster', '1.20×', 'not measured')
    """
    ends = list(dict.fromkeys(plain(value, kind) for value in (values[0], values[-1]))) if values else []
    return " to ".join(ends) + UNITS[kind] if ends else "not measured"


def kind_of(claim: ClaimRecord) -> str:
    """Return the kind of the goal; "faster" for a claim without one."""
    return "faster" if claim.goal is None else claim.goal.kind


def goal_text(goal: Goal | None) -> str:
    """Return the goal as text.

    >>> goal_text(Goal(kind="times", value=1.5)), goal_text(Goal(kind="rate", value=3e6)), goal_text(None)
    ('≤ 1.50×', '≥ 3.0M/s', '–')
    """
    if goal is None:
        return "–"
    return f"{'≤' if goal.kind == 'times' else '≥'} {amount(goal.value, goal.kind)}"


def spread_text(spread: Spread | None, kind: str) -> str:
    """Return the median and, in brackets, the quartiles.

    >>> spread_text(Spread(least=1, lower=1.1, median=1.2, upper=1.3, most=1.5), "times")
    '1.20× (1.10 to 1.30)'
    """
    if spread is None:
        return "–"
    return f"{amount(spread.median, kind)} ({plain(spread.lower, kind)} to {plain(spread.upper, kind)})"


def quartiles_text(spread: Spread, kind: str) -> str:
    """Return the same as `spread_text` without the unit, for a column that names it.

    >>> quartiles_text(Spread(least=1, lower=1.1, median=1.2, upper=1.3, most=1.5), "times")
    '1.20 (1.10 to 1.30)'
    """
    return f"{plain(spread.median, kind)} ({plain(spread.lower, kind)} to {plain(spread.upper, kind)})"


def fit_text(fit: PowerLawFit | None) -> str:
    """Return the exponent with its interval.

    >>> fit_text(PowerLawFit(exponent=1.02, interval=(0.98, 1.06), first=1, last=8, points=4))
    '1.02 (0.98 to 1.06)'
    """
    if fit is None:
        return "–"
    if fit.interval is None:
        return f"{fit.exponent:.2f}".replace("-", "−")
    low, high = fit.interval
    return f"{fit.exponent:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")


def state_of(claim: ClaimRecord) -> FigureState:
    """Return the worst state of the figures of a claim."""
    ranked = (FigureState.WRONG, FigureState.MISSED, FigureState.UNAVAILABLE, FigureState.MET, FigureState.SHOWN)
    return next(state for state in ranked if any(figure.state is state for figure in claim.figures))


def distance(claim: ClaimRecord, figure: FigureRecord) -> float | None:
    """By what factor the figure would have to improve; above 1 it misses its goal. None if not measured or no goal."""
    if claim.goal is None or figure.measured is None:
        return None
    return claim.goal.distance(figure.measured.median)


def far(claim: ClaimRecord, figure: FigureRecord) -> str:
    """Return how far the figure is from its goal; "" if it meets it or has none."""
    if figure.state is not FigureState.MISSED:
        return ""
    found = distance(claim, figure)
    return figure.reason if found is None else f"{number(found)} times off"


def setting_text(figure: FigureRecord) -> str:
    """Return the setting of the measurement on one line."""
    return ", ".join(f"order {text}" if name == "order" else text for name, text in figure.setting.items())


def shared_reason(claim: ClaimRecord) -> str:
    """Return why no figure of the claim could be measured, if all have the same reason; else ""."""
    reasons = {figure.reason for figure in claim.figures if figure.state is FigureState.UNAVAILABLE}
    return reasons.pop() if len(reasons) == 1 and state_of(claim) is FigureState.UNAVAILABLE else ""


def row(claim: ClaimRecord) -> ClaimLine:
    """Return the claim as one line of the short table."""
    kind = kind_of(claim)
    medians = sorted((figure.measured.median for figure in claim.figures if figure.measured), reverse=kind != "times")
    known = [(size, figure) for figure in claim.figures if (size := distance(claim, figure)) is not None]
    worst = max(known, key=lambda pair: pair[0])[1] if known else None
    farthest = "–" if worst is None else f"{setting_text(worst)}: {spread_text(worst.measured, kind)}"
    count = sum(figure.state is FigureState.MET for figure in claim.figures)
    met = "–" if claim.goal is None else f"{count} of {len(claim.figures)}"
    return ClaimLine(
        claim.title,
        goal_text(claim.goal),
        " / ".join(dict.fromkeys(figure.rival for figure in claim.figures)),
        range_text(medians, kind),
        farthest,
        met,
        state_of(claim),
    )


def counts(results: BenchResults) -> Counter[FigureState]:
    """Count the figures in each state."""
    return Counter(figure.state for family in results.families for claim in family.claims for figure in claim.figures)


def lede(results: BenchResults) -> str:
    """Return a summary of the run in one or two sentences."""
    found = counts(results)
    wrong = f", {found[FigureState.WRONG]} have wrong outputs" if found[FigureState.WRONG] else ""
    absent = f", {found[FigureState.UNAVAILABLE]} could not be measured here" if found[FigureState.UNAVAILABLE] else ""
    judged = sum(found[state] for state in (FigureState.MET, FigureState.MISSED, FigureState.WRONG))
    quick = " This was a quick run on small inputs: its numbers say that the benchmarks work, and no more."
    return (
        f"{found[FigureState.MET]} of {judged} goals are met{wrong}{absent}. Every figure is measured in turns with "
        f"its rival, and its outputs are held against the truth.{quick if results.quick else ''}"
        f"{f' {INTERRUPTED}' if results.interrupted else ''}"
    )


def has_wrong(results: BenchResults) -> bool:
    """Whether any output was wrong."""
    return counts(results)[FigureState.WRONG] > 0


def cpu(results: BenchResults) -> str:
    """Return the processor on one line."""
    held = results.environment.get("cpu") or {}
    return f"{held.get('model', 'unknown processor')}, {held.get('cores', '?')} cores"
