"""The search for the worst error finds one that is known, and tries all there is where that is feasible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kernelproof
from kernelproof.reference.errors import TargetError
from kernelproof.verify.fuzz.records import WorstResults

FAULTY = Path(__file__).with_name("faulty.py")


def run(name: str, order: str, dtype: str, blocks: int) -> WorstResults:
    return kernelproof.worst(f"{FAULTY}:{name}", order=order, dtype=dtype, blocks=blocks, serial=True)


def test_a_backend_of_grade_a_stays_within_it() -> None:
    found = kernelproof.worst("numpy", order="1,2", dtype="float32", blocks=12, serial=True)
    assert found.passed
    assert [(row.order, row.dtype) for row in found.table] == [("1", "float32"), ("2", "float32")]
    for row in found.table:
        assert row.rows == 12 * 256
        assert row.kappa is not None
        assert row.ulp is not None
        assert 0.4 < row.ulp.error < 4


def test_float32_inside_is_half_an_ulp_of_float32_in_float64() -> None:
    (row,) = run("single", "2", "float64", 12).table
    assert row.kappa is not None
    # The scores lose up to 2^-24 of themselves, which is 2^29 roundings of float64.
    assert row.kappa.error > 2**26
    assert row.ulp is not None
    assert [float.fromhex(text) for text in row.ulp.scores] == [float(text) for text in row.ulp.shown]


def test_all_pairs_of_a_small_format_are_tried() -> None:
    found = kernelproof.worst("numpy", order="1", dtype="float8_e5m2", blocks=4, serial=True)
    (row,) = found.table
    assert row.every == "every z against 0: 248 rows"


def test_the_climb_is_no_worse_than_where_it_starts_and_the_same_again() -> None:
    short, long, again = (run("coarse", "2", "float64", blocks).table[0] for blocks in (2, 16, 16))
    assert short.ulp is not None
    assert long.ulp is not None
    assert long.ulp.error >= short.ulp.error
    # As text, where NaN is NaN.
    assert long.model_dump_json() == again.model_dump_json()


def test_a_witness_shows_the_error_that_the_table_says() -> None:
    (row,) = run("single", "3", "float64", 8).table
    assert row.ulp is not None
    assert row.ulp.got is not None
    assert row.ulp.exact is not None
    measured = abs(row.ulp.got - row.ulp.exact) / np.spacing(row.ulp.exact)
    # The exact value is shown to the nearest float64: that is half an ulp.
    assert measured == pytest.approx(row.ulp.error, abs=0.5)


def test_a_target_without_weights_is_refused() -> None:
    with pytest.raises(TargetError, match="has no object"):
        run("absent", "2", "float64", 1)
