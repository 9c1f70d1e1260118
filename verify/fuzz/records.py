"""The record of a search for the worst error: what `worst.json` holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

WORST_SCHEMA = "kernelproof-worst/1"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")


class Extreme(_Record):
    """The worst error found, and where.

    Attributes:
        error: in ulp of the exact value, or κ.
        scores: the row, as hexadecimal floats.
        shown: the row in decimal, each number as short as it reads back.
        got: what came; None for κ, where `message` says it.
        exact: the exact value there, to the nearest float64; None for κ.
    """

    error: float
    scores: list[str]
    shown: list[str]
    got: float | None = None
    exact: float | None = None
    message: str = ""


class WorstRow(_Record):
    """One line of the table.

    Attributes:
        rows: how many rows were tried.
        every: what was tried without exception, such as "every z against 0: 63 488 rows", or "".
        ulp: the worst error in ulp; None if nothing was decided.
        kappa: the worst κ, as the check of accuracy decides it.
        note: what ended the search early, or "".
    """

    op: str
    order: str
    dtype: str
    rows: int
    every: str
    ulp: Extreme | None
    kappa: Extreme | None
    note: str = ""


class WorstResults(_Record):
    """Everything one search for the worst error found.

    Attributes:
        passed: every κ is within the grade that the target promises, and something was decided everywhere.
    """

    format: Literal["kernelproof-worst/1"] = Field(default="kernelproof-worst/1", alias="schema")
    passed: bool
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
    table: list[WorstRow] = Field(default_factory=list)
