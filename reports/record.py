"""Write and read records as JSON, for all commands; write the JSON Schema of `results.json`.

The text is canonical: reading it and writing it again gives the same bytes. So a report made from a kept record equals
the report made by the run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from kernelproof.reference.errors import DomainError
from kernelproof.reference.plain_text import encodable
from kernelproof.reference.record import Record
from kernelproof.verify.record.schema import Results

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RecordFile(Generic[R]):
    """The JSON file in which a command keeps the record of a run.

    Attributes:
        kind: the class of the record; its field ``format`` holds the name of the schema.
        name: of the file.
        noun: the plural noun by which error messages call the record.
        indent: spaces for each level; None: everything on one line.
    """

    kind: type[R]
    name: str
    noun: str
    indent: int | None = 1

    @property
    def schema(self) -> str:
        """The name of the schema, such as ``kernelproof-results/1``."""
        return str(self.kind.model_fields["format"].default)

    def text_of(self, record: R) -> str:
        """Return `record` as JSON that UTF-8 can encode, with NaN and infinities as strings; see `as_text`."""
        try:
            return self._dumped(record)
        except ValueError:
            return self._dumped(self._escaped(record))

    def as_text(self, record: R) -> R:
        r"""Return `record` if UTF-8 can encode it, else a copy with lone surrogates as escapes such as ``\ud800``.

        Targets choose their messages, and a Python string may hold characters that no file can.
        """
        try:
            self._dumped(record)
        except ValueError:
            return self._escaped(record)
        return record

    def record_of(self, text: str) -> R:
        """Parse the record that `text` holds.

        Raises:
            DomainError: `text` is not JSON, or not of this schema; the message names the first wrong field.
        """
        try:
            return self.kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the text itself"
            msg = f"the {self.noun} must follow the schema {self.schema!r}; at {place}: {first['msg']}"
            raise DomainError(msg) from None

    def read(self, path: Path) -> R:
        """Read the record in the file `path`, or in the file called `name` if `path` is a folder.

        Raises:
            DomainError: there is no such file, it cannot be read, or it does not follow the schema.
        """
        file = path / self.name if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            msg = f"{self.noun} must be a readable {self.name} or a folder with one; got {str(path)!r} ({reason})"
            raise DomainError(msg) from None
        return self.record_of(text)

    def _dumped(self, record: R) -> str:
        return record.model_dump_json(by_alias=True, indent=self.indent) + "\n"

    def _escaped(self, record: R) -> R:
        return self.kind.model_validate(_without_surrogates(record.model_dump(by_alias=True)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


RESULTS = RecordFile(Results, "results.json", "results", indent=None)
"""The record of `kernelproof verify`."""


class _Schema(GenerateJsonSchema):
    """A schema in which a float is a number, or the name of a value that is not finite: JSON has no NaN."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def schema_text() -> str:
    """Return the JSON Schema of `results.json`; `python -m kernelproof.reports.schema` writes it to templates/."""
    schema = Results.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Schema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
