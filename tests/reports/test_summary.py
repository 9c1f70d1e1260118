from __future__ import annotations

import math

from kernelproof.reports import summary
from kernelproof.verify.checks import headline
from kernelproof.verify.record.schema import Results, Verdict


def test_totals_are_sums(results: Results) -> None:
    found = summary.run_totals(results)
    checks = [check for target in results.targets for check in target.checks]
    assert found.decided == sum(check.decided for check in checks)
    assert (found.undecided, found.failed) == (sum(c.undecided for c in checks), sum(c.failed for c in checks))
    assert summary.totals([]) == summary.Totals(0, 0, 0)


def test_nan_is_the_worst_error(results: Results) -> None:
    target = results.targets[0]
    rows = [target.accuracy[0].model_copy(update={"kappa_max": error}) for error in (1.0, math.nan, 1e300)]
    changed = target.model_copy(update={"accuracy": rows})
    worst = summary.worst_accuracy(changed)
    assert worst is rows[1]
    assert math.isnan(summary.worst_kappa(changed) or 0.0)


def test_the_largest_errors_come_first_and_nan_before_them(results: Results) -> None:
    target = results.targets[0]
    rows = [target.accuracy[0].model_copy(update={"kappa_max": error}) for error in (1.0, math.nan, 7.0, 3.0)]
    changed = target.model_copy(update={"accuracy": rows})
    assert summary.largest_errors(changed, 3) == [rows[1], rows[2], rows[3]]
    assert summary.largest_errors(changed, 4) == rows


def test_a_target_without_numbers_has_no_worst(results: Results) -> None:
    target = results.targets[3]
    assert summary.worst_kappa(target) is None
    assert summary.worst_accuracy(target) is None
    assert summary.first_failure(target) is None


def test_the_first_failure_is_a_failure_before_it_is_undecided(results: Results) -> None:
    target = results.targets[1]
    turned = target.model_copy(
        update={"checks": sorted(target.checks, key=lambda c: c.verdict is not Verdict.UNDECIDED)}
    )
    found = summary.first_failure(turned)
    assert found is not None
    assert found[0].verdict is Verdict.FAIL


def test_of_several_failures_the_first_is_the_one_that_names_the_fault_best(results: Results) -> None:
    target = results.targets[1]
    shown = next(check.failures for check in target.checks if check.failures)
    failing = [check.model_copy(update={"verdict": Verdict.FAIL, "failures": shown}) for check in target.checks]
    for checks in (failing, failing[::-1]):
        found = summary.first_failure(target.model_copy(update={"checks": checks}))
        assert found is not None
        assert found[0].id == headline(check.id for check in checks)


def test_orders_sort_as_numbers() -> None:
    orders = ["inf", "10000", "3/2", "x", "1/16", "2", "1e8", "64"]
    assert sorted(orders, key=summary.order_key) == ["1/16", "3/2", "2", "64", "10000", "1e8", "inf", "x"]
    assert [summary.order_label(order) for order in ("10000", "1000", "20000", "")] == ["1e4", "1000", "20000", ""]


def test_the_matrix_keeps_the_worst_of_equal_cells(results: Results) -> None:
    target = results.targets[0]
    row = target.accuracy[0]
    rows = [row.model_copy(update={"kappa_max": error}) for error in (1.0, 3.0, 2.0)]
    matrix = summary.accuracy_matrix(target.model_copy(update={"accuracy": rows}))
    assert [[cell.kappa_max if cell else None for cell in cells] for _, cells in matrix.rows] == [[3.0]]


def test_every_coverage_cell_is_in_a_grid(results: Results) -> None:
    for target in results.targets:
        grids = summary.coverage_grids(target)
        assert sum(sum(grid.counts.values()) for grid in grids) == len(target.coverage)
        shown = sum(cell.decided for grid in grids for cell in grid.overview if cell)
        assert shown == sum(cell.decided > 0 for cell in target.coverage)
        assert sum(gap.cells for gap in summary.not_tried(target)) == len(target.coverage) - shown


def test_nested_environments_are_flat() -> None:
    assert summary.flat({"a": {"b": {"c": 0}}, "d": [], "e": {}, "f": False}) == [
        ("a.b.c", "0"),
        ("d", "–"),
        ("e", "–"),
        ("f", "False"),
    ]


def test_the_run_in_one_sentence(results: Results, clean_results: Results) -> None:
    good, absent = clean_results.targets[0], results.targets[3]
    said = [
        summary.lede(results.model_copy(update={"targets": targets}))
        for targets in ([], [good], [good, good], [good, absent], [absent, absent], results.targets[1:3])
    ]
    assert said == [
        "No target was verified.",
        "The target keeps what it promises.",
        "All 2 targets keep what they promise.",
        "The target keeps what it promises. 1 is not available here.",
        "No target was verified. 2 are not available here.",
        "0 of 2 targets keep what they promise.",
    ]
