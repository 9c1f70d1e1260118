"""Counts of what went through the filter; a module of its own, so that counting loads no compiled code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FilterTally:
    """Counts of a batch, added up in the calling thread.

    Attributes:
        elements: elements of the batch.
        rows: rows of the batch.
        undecided_rows: rows that went to arb.
        undecided_elements: elements that the filter left open.
        reasons: status of the filter -> how many rows it gave up with that status.
    """

    elements: int = 0
    rows: int = 0
    undecided_rows: int = 0
    undecided_elements: int = 0
    reasons: dict[int, int] = field(default_factory=dict)
