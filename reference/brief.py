"""Results in a few readable lines: as text for a prompt, as a table for a notebook."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from kernelproof.reference.plain_text import one_line

LINES = 8
"""Lines of a brief that are shown; more are counted."""


class Brief(NamedTuple):
    """What a reader wants to know first.

    Attributes:
        title: one line.
        head: the columns of `lines`.
        lines: the most important ones first.
    """

    title: str
    head: tuple[str, ...] = ()
    lines: Sequence[tuple[str, ...]] = ()


class HasBrief:
    """A record whose repr is its brief, and not everything that it holds."""

    @abstractmethod
    def brief(self) -> Brief:
        """What a reader wants to know first."""

    def __repr__(self) -> str:
        title, head, lines = self.brief()
        pairs = [zip(head, line, strict=True) for line in lines]
        shown = [" ".join(f"{one_line(name)}={one_line(cell)}" for name, cell in line) for line in pairs]
        return "\n  ".join([f"<{one_line(title)}>", *shown[:LINES], *_left_out(shown)])

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        """The brief as HTML, for notebooks; everything in it is escaped."""
        title, head, lines = self.brief()
        rows = [_row("td", line) for line in lines[:LINES]]
        table = f"<table><thead>{_row('th', head)}</thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""
        rest = "".join(f"<p>{escape(each)}</p>" for each in _left_out(lines))
        return f"<div><p><b>{escape(one_line(title))}</b></p>{table}{rest}</div>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(one_line(cell))}</{kind}>' for cell in cells)}</tr>"


def _left_out(lines: Sequence[object]) -> list[str]:
    return [f"and {len(lines) - LINES} more"] if len(lines) > LINES else []
