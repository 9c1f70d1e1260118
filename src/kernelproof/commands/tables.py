"""Print tables to a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kernelproof.reference.plain_text import clean

_STYLES = {
    "PASS": "green",
    "PROVED": "green",
    "MET": "green",
    "MISSED": "yellow",
    "WRONG": "bold red",
    "CONSISTENT": "cyan",
    "REFUTED": "bold red",
    "FAIL": "bold red",
    "XFAIL": "yellow",
    "XPASS": "bold red",
    "CRASH": "bold red",
    "UNDECIDED": "yellow",
    "UNAVAILABLE": "yellow",
    "failed": "bold red",
    "fails": "bold red",
    "no answer": "bold red",
    "undecided": "yellow",
}


def show(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print `rows` under `columns`; cells that are verdicts are coloured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Cells are plain `Text`, because a name from outside may look like markup.
        table.add_row(*(Text(clean(cell), style=_STYLES.get(cell, "")) for cell in row))
    # A pipe has no width, and the default of 80 columns would break names.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
