"""The table of the largest errors: a cell is the worst of its rules, and NaN is worse than all."""

from __future__ import annotations

import math

import pytest

from kernelproof.reports.overview import NOTES, overview
from kernelproof.verify.fuzz.worst_case_record import ExactArray, Extreme, WorstCaseResults, WorstCaseRow


def extreme(error: float | None) -> Extreme | None:
    number = ExactArray(shape=[1, 2], bits=["0x0.0p+0", "0x1.0p+0"], shown=["0.0", "1.0"])
    return None if error is None else Extreme(error=error, inputs={"z": number}, got=0.5, exact=0.5)


def row(
    op: str, rule: str, order: str, dtype: str, *errors: float | None, every: str = "", note: str = ""
) -> WorstCaseRow:
    ulp, kappa = map(extreme, errors)
    return WorstCaseRow(
        op=op, rule=rule, order=order, dtype=dtype, rows=9, every=every, ulp=ulp, kappa=kappa, note=note
    )


def results(*table: WorstCaseRow, left_out: tuple[str, ...] = ()) -> WorstCaseResults:
    return WorstCaseResults(
        passed=False,
        target="mine.py:f",
        device="cpu",
        promised="B",
        seed=0,
        command="kernelproof worst-case mine.py:f",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        rows=9,
        deaths=0,
        environment={},
        left_out=list(left_out),
        table=list(table),
    )


def test_a_cell_is_the_worst_of_its_rules_and_the_two_errors_are_apart() -> None:
    seen = overview(
        results(
            row("entmax", "", "inf", "float32", 0.25, 0.5),
            row("entmax", "", "3/2", "float32", 2.0, 1.0),
            row("weights", "adaptive:2", "1", "float64", 8.0, 1.0),
            row("weights", "fixed:3", "1", "float64", 0.5, 40.0),
            row("weights", "fixed:3", "1", "float32", None, None),
        )
    )
    assert seen.head == ("op", "order", "float64", "float32")
    assert seen.lines == [
        ["entmax", "3/2", "", "2.00 / 1.00"],
        ["", "∞", "", "0.250 / 0.500"],
        ["weights", "1", "8.00 / 40.0 ✗", "– / –"],
    ]
    square = seen.groups["weights"][0][1][0]
    assert square is not None
    assert (square.rule, square.grade, square.beyond) == ("fixed:3", "C", True)


@pytest.mark.parametrize("order", [(math.nan, 1.0), (1.0, math.nan)])
def test_nan_is_the_worst_and_beyond_every_grade(order: tuple[float, float]) -> None:
    seen = overview(
        results(*(row("weights", f"fixed:{at}", "1", "float32", each, each) for at, each in enumerate(order)))
    )
    ((_, (square,)),) = seen.groups["weights"]
    assert square is not None
    assert square.text == "NaN / NaN ✗"
    assert square.grade == "F"


def test_what_ended_early_was_left_out_or_tried_without_exception_is_said() -> None:
    ended = [row("weights", f"fixed:{at}", "1", "float32", 1.0, 1.0, note="gone") for at in range(NOTES + 2)]
    small = [
        row(
            "entmax",
            "",
            order,
            dtype,
            1.0,
            1.0,
            every="every z against 0: 248 rows" if order == "1" or dtype != "float16" else "",
        )
        for order in ("1", "2")
        for dtype in ("float16", "float8_e5m2")
    ]
    seen = overview(results(*small, *ended, left_out=("orders 3, 8",)))
    assert seen.lines[-1] == ["weights", "1", "1.00 / 1.00 !", "", ""]
    assert seen.notes[1:3] == [
        "Two keys, every finite number against 0: entmax in float8_e5m2.",
        "! weights, fixed:0, order 1, float32: gone",
    ]
    assert seen.notes[-2:] == ["! and 2 more", "Not tried, and in the tables with --whole: orders 3, 8."]


def test_the_smallest_order_comes_first_and_alphas_last() -> None:
    table = [
        row("entmax", "", order, "float32", 1.0, 1.0) for order in ("α=4/3", "inf", "10000", "1/16", "α=1.0001", "0")
    ]
    assert [line[1] for line in overview(results(*table)).lines] == ["0", "1/16", "1e4", "∞", "α=1.0001", "α=4/3"]
