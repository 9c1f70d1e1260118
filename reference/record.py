"""The base class of records: what a run found, as plain data that a command writes down and reads back."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record: frozen, and without fields that its class does not name.

    In JSON the floats NaN, ∞ and −∞ are the strings "NaN", "Infinity" and "-Infinity".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")
