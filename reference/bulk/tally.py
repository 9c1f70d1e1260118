"""What went through the filter, counted while it runs; here, so that counting loads no compiled code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FilterTally:
    """Added up in the calling thread.

    Attributes:
        elements: of the batch.
        rows: of the batch.
        undecided_rows: rows that went to arb.
        undecided_elements: elements that were open.
        reasons: the filter's status -> how many rows it gave up with it.
    """

    elements: int = 0
    rows: int = 0
    undecided_rows: int = 0
    undecided_elements: int = 0
    reasons: dict[int, int] = field(default_factory=dict)
