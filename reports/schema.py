"""Write the JSON Schema of `results.json`: ``python -m kernelproof.reports.schema``.

The file is in reports/templates/ so that it ships with the package; a test compares it with the models.
"""

from __future__ import annotations

from pathlib import Path

from kernelproof.reference.files import write_whole
from kernelproof.reports.record import schema_text

SCHEMA_FILE = Path(__file__).resolve().parent / "templates" / "results.schema.json"


def main() -> None:
    """Write `SCHEMA_FILE`."""
    write_whole(SCHEMA_FILE, schema_text().encode("utf-8"))


if __name__ == "__main__":
    main()
