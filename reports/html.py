"""The report as one page that opens offline: styles and figures are embedded, and it has no script.

Every text from outside passes through `renderer.templates`, which escapes it and spells out control characters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from kernelproof.reports import summary
from kernelproof.reports.figures import Drawn, accuracy_figure, study_figures
from kernelproof.reports.power import Power, Unlearned, power, unlearned
from kernelproof.reports.renderer import templates
from kernelproof.verify.record.schema import Accuracy, Coverage, Results, Table, Target, Verdict

ROWS = 60
"""Rows of the accuracy table that the page shows in full, the largest κ first; the JSON has all."""
_SIGNS = {
    Verdict.PASS: "✓",
    Verdict.XFAIL: "~",
    Verdict.XPASS: "✗",
    Verdict.FAIL: "✗",
    Verdict.CRASH: "✗",
    Verdict.UNDECIDED: "?",
    Verdict.UNSUPPORTED: "–",
    Verdict.UNAVAILABLE: "–",
}


@dataclass(frozen=True)
class TargetView:
    """A target with everything that the page shows of it; `anchor` is its name in the links of the page."""

    anchor: str
    target: Target
    totals: summary.Totals
    worst_kappa: float | None
    worst: Any
    failure: Any
    matrix: summary.Matrix
    power: Power
    unlearned: Unlearned
    rows: list[Accuracy]
    grids: list[summary.CoverageGrid]
    recipes: summary.RecipesGrid
    pairs: list[str]
    gaps: list[summary.Gap]
    figure: Drawn | None


@dataclass(frozen=True)
class StudyView:
    """A study with its figure, if it has one."""

    anchor: str
    table: Table
    figure: Drawn | None


def page(results: Results) -> str:
    """Return `results` as an HTML page; a pure function of its argument."""
    figures = study_figures(results)
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            results=results,
            totals=summary.run_totals(results),
            lede=summary.lede(results),
            targets=[_target(target, at) for at, target in enumerate(results.targets)],
            studies=[StudyView(f"study{at}", it, figures.get(it.id)) for at, it in enumerate(results.studies)],
            environment=summary.flat(results.environment),
        )
    )


def _target(target: Target, at: int) -> TargetView:
    return TargetView(
        anchor=f"target{at}",
        target=target,
        totals=summary.totals(target.checks),
        worst_kappa=summary.worst_kappa(target),
        worst=summary.worst_accuracy(target),
        failure=summary.first_failure(target),
        matrix=summary.accuracy_matrix(target),
        power=power(target),
        unlearned=unlearned(target),
        rows=summary.largest_errors(target, ROWS),
        grids=summary.coverage_grids(target),
        recipes=summary.recipes_grid(target),
        pairs=summary.pairs_lines(target),
        gaps=summary.not_tried(target),
        figure=accuracy_figure(target, f"accuracy{at}"),
    )


def _environment() -> Environment:
    environment = templates()
    environment.filters |= {
        "order": summary.order_label,
        "tone": tone,
        "grade": grade_class,
        "heat": heat_class,
        "cases": summary.cases,
        "drawn": _drawn,
    }
    environment.globals |= {"signs": _SIGNS}
    return environment


def _drawn(figure: Drawn) -> Markup:
    return Markup(figure.svg)  # noqa: S704  figures.py made it, and escaped text from outside


def tone(verdict: Verdict) -> str:
    """Return the CSS class of a verdict: pass, fail, doubt or none."""
    tones = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.XPASS: "fail", Verdict.CRASH: "fail"}
    return {**tones, Verdict.UNDECIDED: "doubt", Verdict.XFAIL: "doubt"}.get(verdict, "none")


def grade_class(grade: str) -> str:
    """Return the CSS class of a grade, ``g-none`` if the text is not a grade."""
    return f"g-{grade.lower()}" if grade in summary.GRADES and len(grade) == 1 else "g-none"


def heat_class(cell: Coverage | None) -> str:
    """Return the CSS class of a coverage cell: h1 to h5 by the power of ten decided, or why it verified nothing."""
    if cell is None:
        return "absent"
    if cell.decided:
        return f"h{min(5, 1 + int(math.log10(cell.decided)))}"
    return summary.state(cell)
