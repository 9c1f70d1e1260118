"""Fuzzing as JSON and Markdown: what was found, with its scripts, and what was tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.summary import flat
from kernelproof.reports.text import duration, number
from kernelproof.verify.fuzz.findings import Cell, Finding, FuzzResults

PLACES = 12
"""Orders and dtypes at which a check failed that the page shows."""
FUZZ_FILES = ("fuzz.json", "fuzz.md")


def write_fuzz(results: FuzzResults, out: Path) -> None:
    """Write `FUZZ_FILES` into the folder `out`, which is made if it is missing.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out, FUZZ_FILES)
    put({"fuzz.json": fuzz_json(results), "fuzz.md": fuzz_markdown(results)}, out)


def fuzz_json(results: FuzzResults) -> str:
    """`results` as JSON text, NaN and infinities as strings."""
    return results.model_dump_json(by_alias=True, indent=1) + "\n"


def fuzz_markdown(results: FuzzResults) -> str:
    """`results` as Markdown; everything that came from outside is escaped."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def _parts(results: FuzzResults) -> Iterator[str]:
    count = len(results.findings)
    said = "nothing found ✅" if results.passed else f"{count} found ❌" if count else "nothing decided ❔"
    yield f"# kernelproof fuzz: {said}"
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


def _finding(finding: Finding) -> Iterator[str]:
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


def _coverage(cells: list[Cell]) -> str:
    """Rows by op, dtype and order, and the families; the JSON has every cell."""
    rows: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for cell in cells:
        held = rows[cell.op, cell.dtype, cell.order]
        held[0] += cell.examples
        held[1] += cell.rows
        held[2] += cell.decided
        held[3] += cell.undecided
        held[4] = max(held[4], cell.kappa)
    families: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for cell in cells:
        families[cell.op, cell.dtype, cell.order].add(cell.family)
    head = ["op", "dtype", "order", "families", "recipes", "rows", "decided", "undecided", "worst κ"]
    lines = (
        [*map(escape, key), str(len(families[key])), *(number(int(part)) for part in held[:4]), number(float(held[4]))]
        for key, held in rows.items()
    )
    return table(head, lines, right=3)
