"""The benchmarks as Markdown: the report beside the page, and the table of the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernelproof.reference.plain_text import one_line
from kernelproof.reports import text
from kernelproof.reports.bench import words
from kernelproof.reports.summary import flat
from kernelproof.verify.bench.bench_record import BenchResults, ClaimRecord, CostPictureRecord, Spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one_line(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def short_table(results: BenchResults) -> str:
    """Return the table of the README, one row per claim."""
    found = [words.row(claim) for family in results.families for claim in family.claims if claim.goal is not None]
    head = ("what", "beside", "goal", "measured", "furthest from the goal", "met")
    return table(head, [(row.title, row.rival, row.goal, row.measured, row.worst, row.met) for row in found])


def readme_section(results: BenchResults) -> str:
    """Return the text between the markers of the README: where the benchmarks ran, and the short table."""
    packages = results.environment.get("packages") or {}
    torch = f", torch {packages['torch']}" if "torch" in packages else ""
    where = f"{words.cpu(results)}{torch}, {results.started[:10]}"
    return f"Medians of interleaved rounds, quartiles in brackets; {where}.\n\n{short_table(results)}\n"


def markdown(results: BenchResults) -> str:
    """Return the whole report."""
    parts = ["# Benchmarks", words.lede(results), short_table(results)]
    for family in results.families:
        parts.append(f"## {family.title}")
        for claim in family.claims:
            parts += _claim(claim)
    if results.pictures:
        parts.append("## How cost grows")
        parts += [_picture(picture) for picture in results.pictures]
    environment = table(
        ("", ""), [("command", f"`{results.command}`"), ("started", results.started), *flat(results.environment)]
    )
    parts += ["## The run", environment]
    return "\n\n".join(parts) + "\n"


def _claim(claim: ClaimRecord) -> list[str]:
    kind = words.kind_of(claim)
    rows = []
    for figure in claim.figures:
        best = "–" if figure.best is None else words.amount(figure.best, kind)
        state = figure.state.value + (f", {told}" if (told := words.far(claim, figure) or figure.reason) else "")
        agreed = figure.agreement.what if figure.agreement else "–"
        measured = words.spread_text(figure.measured, kind)
        rows.append((words.setting_text(figure), figure.rival, measured, best, agreed, state))
    parts = [f"### {claim.title}: {words.goal_text(claim.goal)}"]
    if words.shared_reason(claim):
        return [*parts, f"None of the {len(rows)} figures could be measured: {words.shared_reason(claim)}."]
    parts.append(table(("at", "beside", "median (quartiles)", "shortest", "outputs", ""), rows))
    if claim.note is not None and words.state_of(claim) in words.BAD:
        parts.append(f"Tried: {claim.note.tried}\n\nIn the way: {claim.note.in_the_way}")
    return parts


def _picture(picture: CostPictureRecord) -> str:
    rows = [
        (curve.label, curve.reason or words.fit_text(curve.fit), _ends(curve.xs), _milliseconds(curve.seconds))
        for curve in picture.curves
    ]
    head = ("", "exponent (95 %)", picture.x, "shortest, ms")
    return f"### {picture.title}\n\n![{picture.title}]({picture.id}.svg)\n\n{picture.caption}\n\n{table(head, rows)}"


def _ends(xs: Sequence[float]) -> str:
    return f"{xs[0]:g} to {xs[-1]:g}" if xs else "–"


def _milliseconds(seconds: Sequence[Spread]) -> str:
    found = [1e3 * each.least for each in seconds]
    return f"{text.number(found[0])} to {text.number(found[-1])}" if found else "–"
