"""Power: a report is headed by what nothing was learned about, and says which errors it would have seen."""

from __future__ import annotations

from kernelproof.reports.power import power, seen, unlearned
from kernelproof.verify.record.schema import Accuracy, Results, Target


def with_rows(target: Target, *rows: Accuracy) -> Target:
    return target.model_copy(update={"accuracy": list(rows)})


def row_of(results: Results, **changes: object) -> Accuracy:
    values = {"compared": 100, "vacuous": 0, "zeros": 0, "resolution_half": 0.01, "resolution_most": 0.1, **changes}
    return results.targets[0].accuracy[0].model_copy(update=values)


def test_a_cell_of_which_most_would_pass_for_0_is_named(results: Results) -> None:
    target = results.targets[0]
    found = unlearned(with_rows(target, row_of(results, vacuous=51), row_of(results, vacuous=50, output="other")))
    assert (found.count, found.of) == (1, 2)
    assert "1 of 2" in found.headline
    assert len(found.lines) == 1
    assert "other" not in found.lines[0]


def test_rows_of_zeros_are_no_lack_of_a_run(results: Results) -> None:
    found = unlearned(with_rows(results.targets[0], row_of(results, vacuous=90, zeros=90)))
    assert found.count == 0
    assert found.headline == ""
    assert unlearned(with_rows(results.targets[0], row_of(results, vacuous=96, zeros=90))).count == 1


def test_the_resolution_is_that_of_the_middle_order(results: Results) -> None:
    rows = [row_of(results, order=str(n), resolution_half=half) for n, half in enumerate((0.3, 0.1, 0.2))]
    found = power(with_rows(results.targets[0], *rows))
    assert [cell and cell.half for _, _, cells in found.rows for cell in cells] == [0.2]
    assert seen(found.rows[0][2][0]) == "0.20 / 0.10"


def test_without_measurements_there_is_no_table(results: Results) -> None:
    row = row_of(results, resolution_half=None)
    assert power(with_rows(results.targets[0], row)).rows == []
