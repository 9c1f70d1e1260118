"""The record of a search for the worst error: the content of `worst-case.json`."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record
from kernelproof.verify.records import Array


class ExactArray(Record):
    """An array of a witness.

    Attributes:
        shape: its shape.
        bits: its numbers in C order, as hexadecimal floats.
        shown: the same in decimal, each with the fewest digits that read back as the same number.
    """

    shape: list[int]
    bits: list[str]
    shown: list[str]

    @classmethod
    def of(cls, array: Array) -> Self:
        """The record of `array`."""
        flat = array.reshape(-1)
        return cls(
            shape=list(array.shape),
            bits=[float(value).hex() for value in flat.astype(np.float64)],
            shown=[str(value) for value in flat],
        )


class Extreme(Record):
    """The worst error found, and the inputs at which it occurs.

    Attributes:
        error: in ulp of the exact value, or κ.
        inputs: z, or scores, or q, k and v, of a call with only this witness.
        options: the other arguments of the call, besides the order and the rule.
        got: the value returned; None for κ, where `message` has it.
        exact: the exact value there, to the nearest float64; None for κ.
    """

    error: float
    inputs: dict[str, ExactArray]
    options: dict[str, Any] = Field(default_factory=dict)
    got: float | None = None
    exact: float | None = None
    message: str = ""


class WorstCaseRow(Record):
    """One line of the tables.

    Attributes:
        rule: the bandwidth rule; "" for entmax, which has only one.
        rows: how many rows of scores, or queries with their own keys and values, were tried.
        every: what was tried exhaustively, such as "every z against 0: 63 488 rows", or "".
        ulp: the worst error in ulp; None if nothing was decided.
        kappa: the worst κ, as the accuracy check decides it.
        note: what ended the search early, or "".
    """

    op: str
    rule: str = ""
    order: str
    dtype: str
    rows: int
    every: str
    ulp: Extreme | None
    kappa: Extreme | None
    note: str = ""


class WorstCaseResults(HasBrief, Record):
    """Everything one search for the worst error found.

    Attributes:
        passed: every κ is within the grade that the target promises, no search ended early, and at least one
            comparison was decided for each op.
        left_out: orders and dtypes of the target that the tables leave out, in words.
    """

    format: Literal["kernelproof-worst-case/1"] = Field(default="kernelproof-worst-case/1", alias="schema")
    passed: bool
    interrupted: bool = False
    target: str
    device: str
    promised: str
    seed: int
    command: str
    started: str
    seconds: float
    rows: int
    deaths: int
    environment: dict[str, Any]
    left_out: list[str] = Field(default_factory=list)
    table: list[WorstCaseRow] = Field(default_factory=list)

    def brief(self) -> Brief:
        """Whether the errors are within the promised grade, and the largest errors."""
        verdict = "within" if self.passed else "NOT within"
        title = (
            f"kernelproof worst-case: {self.target} on {self.device}: {verdict} the promised grade {self.promised}, "
            f"{self.rows:,} rows in {self.seconds:.0f} s"
        )
        ranked = sorted(self.table, key=lambda row: row.kappa.error if row.kappa else -1.0, reverse=True)
        lines = [(row.op, row.rule or "-", row.order, row.dtype, _error(row.ulp), _error(row.kappa)) for row in ranked]
        return Brief(title, ("op", "rule", "order", "dtype", "ulp", "κ"), lines)


def _error(found: Extreme | None) -> str:
    return "-" if found is None else f"{found.error:.3g}"
