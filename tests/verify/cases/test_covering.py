"""Covering arrays have every combination that can occur, and say exactly how many there are."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from kernelproof.verify.cases.covering import Axis, Exclusion, Row, Space, cover

SPACE = Space(
    (
        Axis("mask", ("none", "boolean", "additive")),
        Axis("causal", ("no", "yes")),
        Axis("hidden", ("some", "first", "one"), frozenset({"one"})),
        Axis("width", ("1", "2", "8", "64")),
        Axis("heads", ("one", "two", "grouped")),
    ),
    (
        Exclusion({"mask": ("none",), "hidden": ("first", "one")}, "nothing is hidden"),
        # With this one, no mask leaves one width, which no pair of exclusions says: it follows from three axes.
        Exclusion({"mask": ("none",), "width": ("1", "2"), "causal": ("no", "yes")}, "for the test"),
    ),
    ("width", "heads"),
    lambda row: not (row["width"] == "64" and row["heads"] == "grouped"),
)


def rows_of(space: Space) -> list[Row]:
    names = [axis.name for axis in space.axes]
    every = (dict(zip(names, levels, strict=True)) for levels in product(*(axis.levels for axis in space.axes)))
    return [row for row in every if space.holds(row)]


@pytest.mark.parametrize("strength", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_combination_that_can_occur_is_covered_and_counted(strength: int, seed: int) -> None:
    truly = {each for row in rows_of(SPACE) for each in SPACE.covered(row, strength)}
    found = cover(SPACE, strength, seed)
    assert found.possible == truly
    assert {each for row in found.rows for each in SPACE.covered(row, strength)} == truly
    assert all(SPACE.holds(row) for row in found.rows)
    assert len(found.rows) < len(rows_of(SPACE)) / 2


def test_a_row_with_a_weak_level_covers_only_combinations_that_contain_it() -> None:
    row = {"mask": "boolean", "causal": "yes", "hidden": "one", "width": "8", "heads": "one"}
    pairs = list(SPACE.covered(row, 2))
    assert len(pairs) == 4
    assert all(("hidden", "one") in pair for pair in pairs)
    strong = {**row, "hidden": "first"}
    assert len(list(SPACE.covered(strong, 2))) == len(list(combinations(row, 2)))


def test_rows_that_are_there_are_not_made_again() -> None:
    found = cover(SPACE, 2)
    assert cover(SPACE, 2, start=found.rows).rows == ()
    half = found.rows[: len(found.rows) // 2]
    more = cover(SPACE, 2, start=half).rows
    assert {each for row in (*half, *more) for each in SPACE.covered(row, 2)} == found.possible
    # A row of another space, with an axis or a level that this one lacks, covers nothing here.
    assert len(cover(SPACE, 2, start=[{"mask": "boolean"}, {**half[0], "mask": "sparse"}]).rows) == len(found.rows)


def test_the_first_rows_cover_most() -> None:
    rows = cover(SPACE, 2).rows
    first = {each for row in rows[: len(rows) // 2] for each in SPACE.covered(row, 2)}
    assert len(first) > 0.6 * len(cover(SPACE, 2).possible)


def test_the_array_depends_on_the_seed_and_nothing_else() -> None:
    assert cover(SPACE, 2, 3) == cover(SPACE, 2, 3)
    assert cover(SPACE, 2, 3).rows != cover(SPACE, 2, 4).rows
