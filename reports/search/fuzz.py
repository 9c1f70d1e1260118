"""Fuzzing as JSON, a page and Markdown: what was found, with its scripts, and what was tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from kernelproof.reports.folder import check_writable, put
from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.summary import flat
from kernelproof.reports.text import duration, number
from kernelproof.verify.fuzz.fuzz_record import Cell, Finding, FuzzResults

PLACES = 12
"""Orders and dtypes at which a check failed that the page shows."""
FUZZ_FILES = ("fuzz.json", "index.html", "fuzz.md")


def write_fuzz(results: FuzzResults, out: Path) -> None:
    """Write `FUZZ_FILES` into the folder `out`, which is made if it is missing.

    Raises:
        DomainError: `out` cannot be written; nothing has been written then.
    """
    check_writable(out, FUZZ_FILES)
    put(render_fuzz(results), out)


def render_fuzz(results: FuzzResults) -> dict[str, str]:
    """The text of each of `FUZZ_FILES`, by name; a pure function of the JSON text of `results`."""
    from kernelproof.reports.search.pages import fuzz_page  # noqa: PLC0415 (jinja2 takes long to import)

    text = fuzz_json(results)
    record = FuzzResults.model_validate_json(text)
    return dict(zip(FUZZ_FILES, (text, fuzz_page(record), fuzz_markdown(record)), strict=True))


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


@dataclass(frozen=True)
class Tried:
    """What was tried at one op, dtype and order, over `families` families."""

    op: str
    dtype: str
    order: str
    families: int
    examples: int
    rows: int
    decided: int
    undecided: int
    kappa: float


def tried(cells: Sequence[Cell]) -> list[Tried]:
    """What was tried, op by op, dtype by dtype and order by order; the JSON has every family too."""
    held: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        held[cell.op, cell.dtype, cell.order].append(cell)
    return [
        Tried(
            *key,
            families=len({cell.family for cell in found}),
            examples=sum(cell.examples for cell in found),
            rows=sum(cell.rows for cell in found),
            decided=sum(cell.decided for cell in found),
            undecided=sum(cell.undecided for cell in found),
            kappa=max(cell.kappa for cell in found),
        )
        for key, found in held.items()
    ]


def _coverage(cells: Sequence[Cell]) -> str:
    head = ["op", "dtype", "order", "families", "recipes", "rows", "decided", "undecided", "worst κ"]
    lines = ([*map(escape, line[:3]), *map(number, line[3:])] for line in map(astuple, tried(cells)))
    return table(head, lines, right=3)
