"""How the time of a search for the worst error is shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.fuzz import hill_climb, search
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Here
from kernelproof.verify.targets.target import describe, find

CASES = [
    Case("entmax", order, None, "adaptive:1", dtype, "random", (1, 2), "1")
    for order, dtype in (("1", "float32"), ("1", "float8_e5m2"), ("2", "float32"))
]


@pytest.fixture
def judge() -> Here:
    found = describe(find("numpy"))
    assert not isinstance(found, str)
    return Here(found[0])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The place of each block, in turn; the clock has moved by a second when it is measured."""
    seen: list[tuple[str, str]] = []
    measure = hill_climb.Climber.measure

    def recorded(self: hill_climb.Climber, *block: object) -> None:
        seen.append((self.case.order, self.case.dtype))
        measure(self, *block)  # type: ignore[arg-type]  # what the climber drew

    monkeypatch.setattr(hill_climb.Climber, "measure", recorded)
    monkeypatch.setattr("kernelproof.verify.fuzz.search.time.monotonic", lambda: float(len(seen)))
    return seen


def places(cases: list[Case]) -> Iterator[tuple[str, str]]:
    yield from ((case.order, case.dtype) for case in cases)


def test_each_has_a_block_then_what_is_without_exception_then_a_share(
    judge: Here, measured: list[tuple[str, str]]
) -> None:
    told: list[int] = []
    rows = search.searched(judge, CASES, 0, seconds=10.0, tell=told.append)
    one, small, two = places(CASES)
    # 248 numbers of the small format against 0 are one block, the sample of pairs another; six seconds are left.
    assert measured == [one, small, two, small, *[one] * 2, *[small] * 2, *[two] * 2]
    assert [row.every for row in rows] == ["", "every z against 0: 248 rows", ""]
    assert told[-3:] == [1, 2, 3]
    assert set(told[:-3]) == {0}


def test_a_short_time_leaves_no_hole_as_long_as_there_is_a_block_for_each(
    judge: Here, measured: list[tuple[str, str]]
) -> None:
    rows = search.searched(judge, CASES, 0, seconds=3.0)
    assert measured == list(places(CASES))
    assert all(row.rows and not row.note for row in rows)


def test_a_number_of_blocks_gives_the_same_whoever_else_is_searched(judge: Here) -> None:
    whole = search.searched(judge, CASES, 5, blocks=3)
    (alone,) = search.searched(judge, CASES[2:], 5, blocks=3)
    assert whole[2].model_dump_json() == alone.model_dump_json()
    assert [row.rows for row in whole] == [3 * 256, 248 + 4096 + 256, 3 * 256]


def test_what_ends_early_leaves_its_time_to_the_others(judge: Here, measured: list[tuple[str, str]]) -> None:
    class Dies(Here):
        def ask(self, question: Question, *, seconds: float | None = None) -> Any:
            return "gone" if question.subject.case.order == "2" else super().ask(question, seconds=seconds)

    rows = search.searched(Dies(judge.target), [CASES[2], CASES[0]], 0, seconds=8.0)
    assert [row.note for row in rows] == ["gone", ""]
    assert measured == [("2", "float32"), *[("1", "float32")] * 7]
