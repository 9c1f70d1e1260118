"""The report as GitHub-flavored Markdown, for a release page or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kernelproof.reference.plain_text import clean, one_line
from kernelproof.reports.power import power, seen, unlearned
from kernelproof.reports.summary import (
    Matrix,
    accuracy_matrix,
    cases,
    coverage_grids,
    flat,
    lede,
    not_tried,
    order_label,
    pairs_lines,
    recipes_grid,
    run_totals,
    totals,
    worst_kappa,
)
from kernelproof.reports.text import duration, number
from kernelproof.verify.record.schema import Check, Results, Table, Target, Verdict, Worst

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$])")
_LEADING = re.compile(r"^([#+=-](?=[#+=\s-]|$)|\d+(?=[.)](\s|$)))")
_MARKS = {
    Verdict.PASS: "✅",
    Verdict.XFAIL: "🟡",
    Verdict.XPASS: "❌",
    Verdict.FAIL: "❌",
    Verdict.CRASH: "💥",
    Verdict.UNDECIDED: "❔",
}


def escape(value: Any) -> str:
    r"""Return `value` as Markdown text on one line, with everything escaped that would be markup.

    >>> escape("a|b `c`")
    'a\\|b \\`c\\`'
    """
    text = _SPECIAL.sub(r"\\\1", one_line(number(value)))
    # These characters would begin a heading, a list or a rule if the text began a line.
    return _LEADING.sub(lambda found: f"&#{ord(text[0])};{found[0][1:]}", text)


def code_block(text: str, language: str = "text") -> str:
    """Return `text` as a fenced block, whose fence is longer than any run of backticks inside."""
    body = clean(text).rstrip("\n")
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], right: int | None = None) -> str:
    """Return a table of cells that are already escaped; columns from `right` on are aligned right."""
    names = list(head)
    rule = [":---" if right is None or at < right else "---:" for at in range(len(names))]
    lines = [names, rule, *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(results: Results) -> str:
    """Return `results` as Markdown; every text from outside is escaped."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def _parts(results: Results) -> Iterator[str]:
    found = run_totals(results)
    yield f"# kernelproof: {'passed ✅' if results.passed else 'failed ❌'}"
    yield (
        f"{lede(results)} {number(found.decided)} comparisons decided, "
        f"{number(found.failed)} failed, {number(found.undecided)} undecided. Suite {escape(results.suite)}, "
        f"seed {results.seed}, {duration(results.seconds)}, started {escape(results.started)}."
    )
    yield code_block(results.command)
    head = ["target", "device", "grade", "promised", "verdict", "worst κ", "decided", "undecided", "failed"]
    yield table(head, (_target_row(target) for target in results.targets), right=5)
    for target in results.targets:
        yield from _target(target)
    if results.studies:
        yield "## Studies"
    for study in results.studies:
        yield from _study(study)
    yield "## Not run"
    yield "\n".join(f"- {escape(reason)}" for reason in results.skipped) or "Nothing was skipped."
    yield "## Environment"
    yield table(["", ""], ([escape(name), escape(value)] for name, value in flat(results.environment)))


def _target_row(target: Target) -> list[str]:
    found = totals(target.checks)
    verdict = f"{_MARKS.get(target.verdict, '➖')} {target.verdict.value}"
    grades = [f"**{escape(target.grade)}**", escape(target.promised) + (" (default)" if target.by_default else "")]
    counts = [number(worst_kappa(target)), number(found.decided), number(found.undecided), number(found.failed)]
    return [escape(target.name), escape(target.device), *grades, verdict, *counts]


def _target(target: Target) -> Iterator[str]:
    yield f"## {escape(target.name)} on {escape(target.device)}"
    yield escape(target.note)
    empty = unlearned(target)
    if empty.count:
        yield f"**{escape(empty.headline)}**"
        yield "\n".join(f"- {escape(line)}" for line in empty.lines)
    yield from _rests_on(target)
    if target.checks:
        head = ["check", "verdict", "decided", "undecided", "vacuous", "failed", "worst ulp", "worst κ"]
        yield table(head, (_check_row(check) for check in target.checks), right=2)
    for check in target.checks:
        if check.verdict is not Verdict.PASS:
            yield from _shown(check)
    matrix = accuracy_matrix(target)
    if matrix.rows:
        yield "**Accuracy**: worst κ, in units of the condition, by order"
        yield _accuracy(matrix)
    yield from _coverage(target)


def _rests_on(target: Target) -> Iterator[str]:
    if target.rests_on:
        usual = f" Under the usual roundings its grade is {escape(target.usual_grade)}." if target.usual_grade else ""
        yield f"The grade rests on this: {escape('; '.join(target.rests_on))}.{usual}"
    found = power(target)
    if found.rows:
        yield "**Resolution**: the relative error that half of the comparisons, and 95 % of them, would have seen"
        rows = ([escape(op), escape(output), *map(seen, cells)] for op, output, cells in found.rows)
        yield table(["op", "output", *map(escape, found.dtypes)], rows, right=2)


def _check_row(check: Check) -> list[str]:
    ulp = check.worst.ulp if check.worst else None
    kappa = check.worst.kappa if check.worst else None
    verdict = f"{_MARKS.get(check.verdict, '➖')} {check.verdict.value}"
    counts = (check.decided, check.undecided, check.vacuous, check.failed, ulp, kappa)
    return [escape(check.title or check.id), verdict, *map(number, counts)]


def _shown(check: Check) -> Iterator[str]:
    if check.reasons:
        told = "Expected to fail, and passed" if check.verdict is Verdict.XPASS else "Expected to fail"
        count = f" ({number(check.expected)} of {number(check.failed)} failures)" if check.failed else ""
        yield f"**{told}: {escape(check.title or check.id)}**{count}: {escape('; '.join(check.reasons))}"
    for case in cases(check):
        yield f"**{check.verdict.value}: {escape(check.title or check.id)}.** {escape(case.message)}{_figures(case)}"
        yield code_block(f"{case.case}\n{case.reproduce}")
    if check.script:
        yield "The smallest witness found, as a script that runs as pasted:"
        yield code_block(check.script, "python")


def _figures(case: Worst) -> str:
    found = [("got", case.got), ("expected", case.expected), ("ulp", case.ulp), ("κ", case.kappa)]
    where = [f" at index {escape(str(case.index))}"] if case.index is not None else []
    said = [f" {name} {escape(value)}" for name, value in found if value is not None]
    return ("" if not where + said else " —") + ",".join(where + said)


def _accuracy(matrix: Matrix) -> str:
    head = ["op", "output", "rule", "dtype", *(escape(order_label(order)) for order in matrix.orders)]
    rows = (
        [*map(escape, key), *(number(cell.kappa_max, 2) if cell else "" for cell in cells)]
        for key, cells in matrix.rows
    )
    return table(head, rows, right=4)


def _coverage(target: Target) -> Iterator[str]:
    grids = coverage_grids(target)
    if not grids:
        return
    yield "**Coverage**: cells of order × dtype in which something was decided, of all cells"
    rows = (
        [escape(grid.op), *(f"{cell.decided}/{cell.cells}" if cell else "" for cell in grid.overview)] for grid in grids
    )
    yield table(["op", *map(escape, grids[0].families)], rows, right=1)
    grid = recipes_grid(target)
    if grid.rows:
        yield "**Recipes**: of each family, how many were tried at some order and dtype, of how many there are"
        rows = (
            [escape(op), *(f"{each.tried}/{each.known}" if each else "" for each in line)] for op, line in grid.rows
        )
        yield table(["op", *map(escape, grid.families)], rows, right=1)
    if target.pairs:
        yield "**Pairs**: levels of options, sizes, layout and dtype that occurred together where something was decided"
        yield "\n".join(f"- {escape(line)}" for line in pairs_lines(target))
    gaps = not_tried(target)
    if gaps:
        yield "**Not verified**"
        yield "\n".join(
            f"- {escape(gap.reason)}: {gap.cells} cells; {escape(', '.join(gap.ops))}; "
            f"{escape(', '.join(gap.dtypes))}; orders {escape(', '.join(map(order_label, gap.orders)))}; "
            f"{escape(', '.join(gap.families))}"
            for gap in gaps
        )


def _study(study: Table) -> Iterator[str]:
    yield f"### {escape(study.title)}"
    yield escape(study.caption)
    width = len(study.columns)
    rows = ([escape(cell) for cell in [*row, *[""] * width][:width]] for row in study.rows)
    yield table(map(escape, study.columns), rows)
