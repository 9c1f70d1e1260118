"""The report of the theory as one page that opens offline: it has no script, and mathematics is MathML."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

from kernelproof.reference.plain_text import one_line
from kernelproof.reports import text
from kernelproof.reports.renderer import templates
from kernelproof.reports.summary import flat
from kernelproof.reports.svg import MARKERS, SERIES, drawing, svg
from kernelproof.reports.theory import words
from kernelproof.reports.theory.prose import html
from kernelproof.theory.finding import Cell, Grid, Verdict
from kernelproof.theory.results import ClaimResult, TheoryResults

_TONES = {
    Verdict.PROVED: "pass",
    Verdict.DERIVED: "joined",
    Verdict.CONSISTENT: "agree",
    Verdict.REFUTED: "fail",
    Verdict.UNDECIDED: "doubt",
}
_SIGNS = {"pass": "✓", "joined": "∴", "agree": "≈", "fail": "✗", "doubt": "?", "none": "–"}


@dataclass(frozen=True)
class Section:
    """The claims of one kind, under their heading."""

    title: str
    claims: list[ClaimResult]


def page(results: TheoryResults) -> str:
    """Return `results` as an HTML page; a pure function of its argument."""
    sections = [
        Section(title, [claim for claim in results.claims if claim.kind is kind]) for kind, title in words.KIND.items()
    ]
    return (
        _environment()
        .get_template("theory.html.j2")
        .render(
            results=results,
            lede=words.lede(results),
            sections=[section for section in sections if section.claims],
            decided=sum(c.finding.decided for claim in results.claims for c in claim.checks if c.finding),
            environment=flat(results.environment),
        )
    )


def _environment() -> Environment:
    environment = templates()
    environment.filters |= {
        "number": lambda value: text.number(value, 4),
        "prose": html,
        "coverage": words.coverage,
        "domain": words.domain,
        "picture": picture,
    }
    environment.globals |= {
        "tone": lambda verdict: _TONES.get(verdict, "none"),
        "signs": _SIGNS,
        "roles": words.ROLE,
        "evidence_words": words.EVIDENCE,
    }
    return environment


def picture(grid: Grid, name: str) -> Markup | None:
    """Draw a grid whose first column is x and whose other columns are numbers; None for other grids.

    Each further column is a line, named by its head; cells that are not numbers are left out.
    """
    lines = {head: _line(grid, at) for at, head in enumerate(grid.columns) if at}
    if len(grid.rows) < 3 or not lines or any(len(line) < 3 for line in lines.values()):
        return None
    with drawing() as axes:
        for at, (head, line) in enumerate(lines.items()):
            xs, ys = zip(*line, strict=True)
            axes.plot(xs, ys, label=one_line(head), color=SERIES[at % 7], marker=MARKERS[at % 7], ms=4)
        axes.set_xlabel(one_line(grid.columns[0]))
        if len(lines) == 1:
            axes.set_ylabel(one_line(grid.columns[1]))
        else:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
        return Markup(svg(axes, name, grid.title))  # noqa: S704 (svg escapes what came from outside)


def _line(grid: Grid, column: int) -> list[tuple[float, float]]:
    return [(float(row[0]), float(row[column])) for row in grid.rows if _real(row[0]) and _real(row[column])]


def _real(value: Cell) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300
