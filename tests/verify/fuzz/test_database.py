"""The example database keeps every bit."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.database import Database, Entry, entry_of
from kernelproof.verify.records import Inputs

LINE = "entmax order=3/2 rule=adaptive:1 dtype=bfloat16 family=ties shape=1x4 feature=3 seed=0"


def held(kept: Database) -> list[Entry]:
    """The entries, none of which is left out."""
    said: list[str] = []
    found = list(kept.entries(said.append))
    assert said == []
    return found


def test_a_recipe_and_explicit_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    case = Case.parse(LINE)
    values = np.array([[0.1, -0.0, -np.inf, np.nan]], dtype=ml_dtypes.bfloat16)
    inputs = Inputs({"z": values}, {"mask": np.array([[True, False]]), "scale": 0.1}, values)
    kept = Database(tmp_path, "some target")
    kept.save(Entry("accuracy", Subject(case)))
    kept.save(Entry("kkt", Subject(case, inputs)))
    kept.save(Entry("kkt", Subject(case, inputs)))
    plain, explicit = held(Database(tmp_path, "some target"))
    assert (plain.check, plain.subject) == ("accuracy", Subject(case))
    assert explicit.subject.inputs is not None
    assert explicit.subject.inputs.arrays["z"].dtype == values.dtype
    assert explicit.subject.inputs.arrays["z"].tobytes() == values.tobytes()
    assert explicit.subject.inputs.cotangent is not None
    assert explicit.subject.inputs.options["mask"].tolist() == [[True, False]]
    assert explicit.subject.inputs.options["scale"] == 0.1


def test_targets_do_not_share_entries(tmp_path: Path) -> None:
    Database(tmp_path, "one:f").save(Entry("accuracy", Subject(Case.parse(LINE))))
    assert held(Database(tmp_path, "one_f")) == []


EXPLICIT = {
    "check": "accuracy",
    "case": LINE,
    "arrays": {"z": {"dtype": "bfloat16", "shape": [1, 4], "numbers": ["0x0p+0"] * 4}},
    "options": {},
    "cotangent": None,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "[" * 100_000,
        '{"check": "accuracy"}',
        '{"check": "no such check", "case": "' + LINE + '"}',
        '{"check": "accuracy", "case": 3}',
        json.dumps({**EXPLICIT, "arrays": 3}),
        json.dumps({**EXPLICIT, "arrays": {}}),
        json.dumps({**EXPLICIT, "case": LINE.replace("1x4", "1x5")}),
        json.dumps({**EXPLICIT, "arrays": {"z": {"dtype": "bfloat16", "shape": [1, 4], "numbers": ["0x0p+0"]}}}),
    ],
    ids=range(12),
)
def test_what_is_no_entry_is_set_aside_with_a_remark(tmp_path: Path, text: str) -> None:
    kept = Database(tmp_path, "t")
    path = kept.save(Entry("accuracy", Subject(Case.parse(LINE))))
    broken = kept.folder / "a-broken.json"
    broken.write_text(text, encoding="utf-8")
    said: list[str] = []
    assert [entry.check for entry in kept.entries(said.append)] == ["accuracy"]
    (line,) = said
    assert f"{str(broken)!r} is no entry" in line and "a-broken.broken" in line and "\n" not in line
    assert {each.name for each in kept.folder.iterdir()} == {path.name, "a-broken.broken"}
    assert (kept.folder / "a-broken.broken").read_text(encoding="utf-8") == text
    assert held(kept)


def test_a_whole_entry_is_read() -> None:
    assert entry_of(EXPLICIT).check == "accuracy"


def test_a_disk_that_fails_leaves_no_part_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Database(tmp_path, "t")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DomainError, match="No space left on device"):
        kept.save(Entry("accuracy", Subject(Case.parse(LINE))))
    assert list(kept.folder.iterdir()) == []


def test_a_target_whose_name_is_no_text_has_a_folder_too(tmp_path: Path) -> None:
    kept = Database(tmp_path, "caf\udce9.py:f")
    kept.save(Entry("kkt", Subject(Case.parse(LINE))))
    assert [entry.check for entry in held(Database(tmp_path, "caf\udce9.py:f"))] == ["kkt"]
