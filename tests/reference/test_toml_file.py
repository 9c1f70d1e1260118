"""Whatever is in a TOML file, reading it is a table or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reference.toml_file import table_of


def test_a_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("order = 2\n", encoding="utf-8")
    assert table_of(path, "the file") == {"order": 2}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"order = [\n", "Invalid"),
        (b"\xff", "utf-8"),
        (b"order = " + b"[" * 100_000, "nested too deeply"),
        (b"order = " + b"9" * 6000, "digits"),
    ],
    ids=["no TOML", "no text", "nested", "digits"],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(DomainError, match=f"^the file .*a.toml' cannot be read: .*{words}") as caught:
        table_of(path, "the file")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="No such file"):
        table_of(tmp_path / "none.toml", "the file")
