"""`Results` as JSON text and back, and the JSON Schema of that text.

The text is canonical: reading it and writing it again gives the same bytes, so a report made from a
kept `results.json` equals the report made by the run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from kernelproof.reference.errors import DomainError
from kernelproof.verify.record.schema import SCHEMA, Results


def to_json(results: Results) -> str:
    """`results` as JSON text in UTF-8, NaN and infinities as the strings NaN, Infinity and -Infinity.

    Lone surrogates, which a target's message can hold and UTF-8 cannot, are replaced by their escapes.
    """
    try:
        text = results.model_dump_json(by_alias=True)
    except ValueError:
        plain = _without_surrogates(results.model_dump(by_alias=True))
        text = Results.model_validate(plain).model_dump_json(by_alias=True)
    return text + "\n"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def from_json(text: str) -> Results:
    """The `Results` that `text` holds.

    Raises:
        DomainError: `text` is no JSON, or not of this schema; the message names the first field that is wrong.
    """
    try:
        return Results.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text itself"
        msg = f"the results must follow the schema {SCHEMA!r}; at {place}: {first['msg']}"
        raise DomainError(msg) from None


def read(path: Path) -> Results:
    """The `Results` in the file `path`, or in `path/results.json` if `path` is a folder.

    Raises:
        DomainError: there is no such file, it cannot be read, or it does not follow the schema.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"results must be a readable results.json or a folder with one; got {str(path)!r} ({reason})"
        raise DomainError(msg) from None
    return from_json(text)


class _Schema(GenerateJsonSchema):
    """JSON has no NaN: a float is a number, or the name of a value that is not finite."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def schema_text() -> str:
    """The JSON Schema of `results.json` as text; `python -m kernelproof.reports.schema` keeps it in templates/."""
    schema = Results.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Schema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
