"""The search for the worst error finds one that is known, and tries all there is where that is feasible."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernelproof
from kernelproof.reference.errors import TargetError
from kernelproof.reports.search.extremes import at
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults

FAULTY = Path(__file__).with_name("faulty.py")
OPS = Path(__file__).with_name("faulty_ops.py")


def run(name: str, order: str, dtype: str, blocks: int) -> WorstCaseResults:
    return kernelproof.worst_case(f"{FAULTY}:{name}", order=order, dtype=dtype, blocks=blocks, serial=True)


def test_a_backend_of_grade_a_stays_within_it() -> None:
    found = kernelproof.worst_case("numpy", op="entmax", order="1,2", dtype="float32", blocks=12, serial=True)
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
    assert [float.fromhex(text) for text in row.ulp.inputs["z"].bits] == [
        float(text) for text in row.ulp.inputs["z"].shown
    ]


def test_all_pairs_of_a_small_format_are_tried() -> None:
    found = kernelproof.worst_case("numpy", op="entmax", order="1", dtype="float8_e5m2", blocks=4, serial=True)
    (row,) = found.table
    assert row.every == "every z against 0: 248 rows"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_format_of_two_bytes_begins_with_its_numbers_in_turn(dtype: str) -> None:
    found = kernelproof.worst_case("numpy", op="weights", order="1", dtype=dtype, blocks=1, serial=True)
    for row in found.table:
        assert row.rows == 4096
        assert row.ulp is not None
        assert row.ulp.inputs["scores"].shown[1] in {"0", "0.0"}


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


@pytest.mark.parametrize("op", ["weights", "regression", "attention"])
def test_every_op_of_a_right_backend_stays_within_grade_a(op: str) -> None:
    found = kernelproof.worst_case("numpy", op=op, order="1/2,inf", dtype="float32,float8_e5m2", blocks=5, serial=True)
    assert found.promised == "A"
    assert found.passed
    kinds = {"adaptive", "fixed", "anchored", "nearest"}
    places = [
        (kind, order, dtype) for kind in kinds for order in ("1/2", "inf") for dtype in ("float32", "float8_e5m2")
    ]
    assert {(row.rule.partition(":")[0], row.order, row.dtype) for row in found.table} == set(places)
    for row in found.table:
        assert row.op == op
        assert ("against 0" in row.every) == (row.dtype == "float8_e5m2")
    assert any(row.ulp is not None and row.ulp.error > 0.4 for row in found.table)


@cache  # two tests ask for the same search, which says the same again: see the test of its seed
def ops(name: str, op: str, order: str, *, blocks: int = 12, seed: int = 0) -> WorstCaseResults:
    found = kernelproof.worst_case(
        f"{OPS}:{name}", op=op, order=order, dtype="float32", blocks=blocks, seed=seed, serial=True
    )
    assert found.promised == "A"
    return found


@pytest.mark.parametrize(
    ("name", "op", "order", "kind"),
    [
        ("small_values", "attention", "1", ""),
        ("bandwidth", "weights", "2", "fixed"),
        ("dots", "regression", "inf", ""),
    ],
)
def test_a_fault_of_one_op_is_found_and_the_right_one_has_none(name: str, op: str, order: str, kind: str) -> None:
    assert ops("right", op, order).passed
    # Three seeds of five reach rows far from 0 under every rule within twelve blocks; this is one of them.
    found = ops(name, op, order, seed=2 if name == "dots" else 0)
    assert not found.passed
    for row in found.table:
        assert row.kappa is not None
        assert (row.kappa.error > 4) == row.rule.startswith(kind), row.rule


def test_small_components_of_a_value_are_where_the_witness_shows_them() -> None:
    row = ops("small_values", "attention", "1").table[0]
    assert row.kappa is not None
    assert list(row.kappa.inputs) == ["q", "k", "v"]
    values = row.kappa.inputs["v"]
    shares = []
    for key in np.array([float.fromhex(text) for text in values.bits]).reshape(-1, values.shape[-1]):
        shares += [abs(each) / np.abs(key).max() for each in key if each]
    assert 0 < min(shares) <= 2.0**-12
    assert row.kappa.message.startswith("output[")


def test_the_climb_of_an_op_is_the_same_again_with_its_seed() -> None:
    first, again, other = (
        [row.model_dump_json() for row in ops.__wrapped__("right", "attention", "2", blocks=4, seed=seed).table]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_what_dies_is_told_and_does_not_pass() -> None:
    found = kernelproof.worst_case(f"{OPS}:dies", op="attention", order="1", dtype="float32", blocks=3)
    assert not found.passed
    assert found.deaths == len(found.table)
    assert all("exit code 3" in row.note for row in found.table)


def test_a_target_is_asked_only_for_the_shapes_it_takes() -> None:
    found = kernelproof.worst_case(
        f"{OPS}:narrow",
        contract={
            "op": "regression",
            "order": "1",
            "rule": "fixed:3",
            "dtypes": ["float64"],
            "most_rank": 2,
            "head_sizes": [8],
            "equal_widths": True,
            "length_multiple": 4,
            "grade": "A",
            "scores": "differences",
        },
        blocks=9,
        serial=True,
    )
    (row,) = found.table
    assert (row.op, row.rule, row.order, row.note) == ("regression", "fixed:3", "1", "")
    assert row.rows == 9
    assert found.passed
    assert row.ulp is not None
    assert row.ulp.inputs["q"].shape == [4, 8]


@pytest.mark.parametrize("square", [False, True])
def test_a_target_that_is_causal_always_is_searched(square: bool) -> None:
    found = kernelproof.worst_case(
        f"{OPS}:causal",
        contract={"op": "attention", "order": "1", "rule": "adaptive:1", "requires": ["causal", "mask"], "grade": "A"}
        | {"dtypes": ["float32"], "square": square},
        blocks=6,
        serial=True,
    )
    (row,) = found.table
    assert found.passed
    assert row.note == ""
    assert row.kappa is not None
    queries, size = row.kappa.inputs["q"].shape[-2], row.kappa.inputs["k"].shape[-2]
    assert (queries == size) == square
    assert row.kappa.options["causal"] is True
    assert np.array(row.kappa.options["mask"]).shape == (1, 1, queries, size)
    assert "mask=[…]" in at(row.kappa)


def test_a_time_that_is_up_before_a_line_has_its_turn_does_not_pass() -> None:
    found = kernelproof.worst_case("numpy", op="attention", order="1", dtype="float32", seconds=1e-9, serial=True)
    assert not found.passed
    assert {row.note for row in found.table} == {"nothing was tried: the time was up"}


@pytest.mark.parametrize(
    ("asked", "seconds", "lines"),
    [
        ({}, 120.0, 260),
        ({"whole": True}, 1236.0, 1236),
        ({"order": "1", "op": "weights"}, 60.0, 16),
        ({"order": "0,1/16,3", "dtype": "float8_e5m2,float32", "whole": True}, 64.0, 64),
        ({"blocks": 3}, None, 260),
        ({"whole": True, "seconds": 5.0}, 5.0, 1236),
    ],
)
def test_the_time_is_a_second_a_line_within_limits(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], seconds: float | None, lines: int
) -> None:
    told: list[tuple[float | None, int]] = []

    def searched(*given: Any, **more: Any) -> list[object]:
        told.append((more["seconds"], len(given[1])))
        return []

    monkeypatch.setattr("kernelproof.commands.worst_case.searched", searched)
    found = kernelproof.worst_case("numpy", serial=True, **asked)
    assert told == [(seconds, lines)]
    assert ("--whole" in found.command.split()) == ("whole" in asked)
    assert bool(found.left_out) == ("whole" not in asked)


def test_a_target_that_is_not_there_is_refused() -> None:
    with pytest.raises(TargetError, match="has no object"):
        run("absent", "2", "float64", 1)
