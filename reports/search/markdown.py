"""The reports of `fuzz` and `worst-case` as Markdown; every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple

from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.overview import overview
from kernelproof.reports.search.coverage import tried
from kernelproof.reports.search.extremes import sections
from kernelproof.reports.summary import flat
from kernelproof.reports.text import INTERRUPTED, duration, number
from kernelproof.verify.fuzz.fuzz_record import CoverageCell, FuzzFinding, FuzzResults
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults

PLACES = 12
"""How many combinations of order and dtype at which a check failed a report shows; the JSON has all."""


def fuzz_markdown(results: FuzzResults) -> str:
    """Return `results` as Markdown; every text from outside is escaped."""
    return "\n\n".join(part for part in _fuzz_parts(results) if part) + "\n"


def _fuzz_parts(results: FuzzResults) -> Iterator[str]:
    count = len(results.findings)
    said = "nothing found ✅" if results.passed else f"{count} found ❌" if count else "nothing decided ❔"
    yield f"# kernelproof fuzz: {said}"
    yield INTERRUPTED if results.interrupted else ""
    yield (
        f"{escape(results.target)} on {escape(results.device)}, seed {results.seed}, {duration(results.seconds)}, "
        f"started {escape(results.started)}: {number(results.rows)} rows in {number(results.examples)} recipes, "
        f"{number(results.rows_per_second)} rows a second of one core (truth, target, checks and search). "
        f"Processes that the target ended: {results.deaths}. Kept witnesses tried first: {results.replayed}, "
        f"of which no longer fail: {results.mended}."
    )
    yield code_block(results.command)
    for note in results.notes:
        yield f"- {escape(note)}"
    for finding in results.findings:
        yield from _finding(finding)
    yield "## What was tried"
    yield _coverage(results.coverage)
    yield "## Environment"
    yield table(["", ""], ([escape(name), escape(value)] for name, value in flat(results.environment)))


def _finding(finding: FuzzFinding) -> Iterator[str]:
    yield f"## {escape(finding.op)}: {escape(finding.check)} ({escape(finding.kind)})"
    yield escape(finding.message)
    state = "shrunk to the end" if finding.shrunk else "shrinking was cut short"
    again = "it failed again in a fresh process" if finding.confirmed else "it did NOT fail again in a fresh process"
    source = "from the example database" if finding.replayed else f"after {number(finding.examples)} recipes"
    yield f"Found {source} and {duration(finding.seconds)}; {state} after {finding.judged} tries; {again}."
    yield code_block(f"{finding.recipe}\n{finding.small_recipe}")
    if finding.script:
        yield code_block(finding.script, "python")
    if finding.also:
        rows = [[escape(at.order), escape(at.dtype), number(at.count), escape(at.case)] for at in finding.also]
        yield table(["order", "dtype", "failing recipes", "the first"], rows[:PLACES])
        if len(rows) > PLACES:
            yield f"and at {len(rows) - PLACES} more combinations of order and dtype, which fuzz.json lists"


def _coverage(cells: Sequence[CoverageCell]) -> str:
    head = ["op", "dtype", "order", "families", "recipes", "rows", "decided", "undecided", "worst κ"]
    lines = ([*map(escape, line[:3]), *map(number, line[3:])] for line in map(astuple, tried(cells)))
    return table(head, lines, right=3)


def worst_case_markdown(results: WorstCaseResults) -> str:
    """Return `results` as Markdown; every text from outside is escaped."""
    return "\n\n".join(part for part in _worst_case_parts(results) if part) + "\n"


def _worst_case_parts(results: WorstCaseResults) -> Iterator[str]:
    yield f"# kernelproof worst-case: {escape(results.target)} on {escape(results.device)}"
    yield INTERRUPTED if results.interrupted else ""
    promise = "within" if results.passed else "NOT within"
    yield (
        f"The largest errors found in {number(results.rows)} rows of scores or queries, {duration(results.seconds)}, "
        f"seed {results.seed}, started {escape(results.started)}: {promise} the promised grade "
        f"{escape(results.promised)}. An ulp is the spacing of the dtype at the exact value, and has no bound where "
        f"the output is ill-conditioned; κ is the error in units of the condition (docs/theory.md §4). What was found "
        f"is a lower bound of the worst, and the worst itself only among what was tried without exception. Of q, k and "
        f"v the tables show a few digits; worst-case.json has every number, bit for bit."
    )
    yield code_block(results.command)
    seen = overview(results)
    yield table(seen.head, ([escape(cell) for cell in line] for line in seen.lines), right=2)
    yield from map(escape, seen.notes)
    for title, head, lines in sections(results):
        yield f"## {escape(title)}"
        yield table(head, ([escape(cell) for cell in line] for line in lines), right=2)
    yield "## Environment"
    yield table(["", ""], ([escape(name), escape(value)] for name, value in flat(results.environment)))
