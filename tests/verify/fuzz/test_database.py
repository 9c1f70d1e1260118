"""The example database keeps every bit."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.database import Database, Entry
from kernelproof.verify.records import Inputs

LINE = "entmax order=3/2 rule=adaptive:1 dtype=bfloat16 family=ties shape=1x4 feature=3 seed=0"


def test_a_recipe_and_explicit_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    case = Case.parse(LINE)
    values = np.array([[0.1, -0.0, -np.inf, np.nan]], dtype=ml_dtypes.bfloat16)
    inputs = Inputs({"z": values}, {"mask": np.array([[True, False]]), "scale": 0.1}, values)
    kept = Database(tmp_path, "some target")
    kept.save(Entry("accuracy", Subject(case)))
    kept.save(Entry("kkt", Subject(case, inputs)))
    kept.save(Entry("kkt", Subject(case, inputs)))
    plain, explicit = Database(tmp_path, "some target").entries()
    assert (plain.check, plain.subject) == ("accuracy", Subject(case))
    assert explicit.subject.inputs is not None
    assert explicit.subject.inputs.arrays["z"].dtype == values.dtype
    assert explicit.subject.inputs.arrays["z"].tobytes() == values.tobytes()
    assert explicit.subject.inputs.cotangent is not None
    assert explicit.subject.inputs.options["mask"].tolist() == [[True, False]]
    assert explicit.subject.inputs.options["scale"] == 0.1


def test_targets_do_not_share_entries(tmp_path: Path) -> None:
    Database(tmp_path, "one:f").save(Entry("accuracy", Subject(Case.parse(LINE))))
    assert list(Database(tmp_path, "one_f").entries()) == []


def test_a_file_that_is_no_entry_is_one_clear_line(tmp_path: Path) -> None:
    kept = Database(tmp_path, "t")
    path = kept.save(Entry("accuracy", Subject(Case.parse(LINE))))
    path.write_text('{"check": "accuracy"}', encoding="utf-8")
    with pytest.raises(DomainError, match="is no entry of an example database"):
        list(kept.entries())


def test_a_target_whose_name_is_no_text_has_a_folder_too(tmp_path: Path) -> None:
    kept = Database(tmp_path, "caf\udce9.py:f")
    kept.save(Entry("kkt", Subject(Case.parse(LINE))))
    assert [entry.check for entry in Database(tmp_path, "caf\udce9.py:f").entries()] == ["kkt"]
