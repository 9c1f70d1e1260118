"""A run: what becomes of a figure, what is chosen, and that nothing that is missing or wrong looks like a speed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.verify.bench import runner
from kernelproof.verify.bench.bench_record import Agreement, FigureState, Goal, Note
from kernelproof.verify.bench.figure import (
    Contest,
    CostCurve,
    CostPicture,
    Figure,
    FigureFamily,
    FigureGroup,
    Missing,
    Sizes,
)
from kernelproof.verify.bench.notes import NoteError, notes, parsed
from kernelproof.verify.bench.runner import bench, chosen, drawn, families, measured, names_of, unit_of
from kernelproof.verify.bench.timing import Effort

YES = Agreement(passed=True, compared=1, what="equal")
NO = Agreement(passed=False, compared=1, what="1 differs")


def nothing() -> int:
    return sum(range(50))


def contest(_: Sizes, agreed: Agreement = YES, done: Callable[[], None] = lambda: None) -> Contest:
    return Contest(nothing, nothing, lambda *_: agreed, done=done)


def missing(_: Sizes) -> Contest:
    msg = "no such thing here"
    raise Missing(msg)


def deadly(_: Sizes) -> Contest:
    return Contest(partial(os._exit, 3), nothing, lambda *_: YES)


def figure(prepare: Callable[[Sizes], Contest] = contest, name: str = "one", **more: Any) -> Figure:
    return Figure(name, {"order": "2"}, "ours", "the rival", prepare, **more)


def claim(goal: Goal | None, *figures: Figure) -> FigureGroup:
    return FigureGroup("claim", "a claim", goal, figures or (figure(),))


LOOSE, TIGHT = Goal(kind="times", value=1e6), Goal(kind="times", value=1e-6)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FULL", "QUICK", "POINT", "QUICK_POINT"):
        monkeypatch.setattr(runner, name, Effort(0.0, 2, 2))


@pytest.mark.parametrize(
    ("goal", "state"),
    [
        (LOOSE, FigureState.MET),
        (TIGHT, FigureState.MISSED),
        (None, FigureState.SHOWN),
        (Goal(kind="faster", value=1e-6), FigureState.MET),
        (Goal(kind="faster", value=1e6), FigureState.MISSED),
        (Goal(kind="rate", value=1.0), FigureState.MET),
        (Goal(kind="rate", value=1e15), FigureState.MISSED),
    ],
)
def test_the_goal_decides(goal: Goal | None, state: FigureState) -> None:
    found = measured(figure(), claim(goal), Sizes())
    assert found.state is state
    assert found.rounds == 2
    assert found.measured is not None
    assert found.ratio is not None


def test_a_wrong_output_is_no_met_goal_however_fast() -> None:
    found = measured(figure(partial(contest, agreed=NO)), claim(LOOSE), Sizes())
    assert found.state is FigureState.WRONG
    assert found.agreement == NO


def test_what_is_not_here_is_unavailable_with_its_reason() -> None:
    found = measured(figure(missing), claim(LOOSE), Sizes())
    assert (found.state, found.reason, found.measured) == (FigureState.UNAVAILABLE, "no such thing here", None)


def test_a_call_that_does_not_come_back_misses_and_is_never_made_here() -> None:
    found = measured(figure(deadly, memory=True, guarded=(60.0, 1 << 30)), claim(LOOSE), Sizes())
    assert found.state is FigureState.MISSED
    assert found.reason == "ours: its process ended with exit code 3"


def test_what_was_changed_is_put_right() -> None:
    told: list[str] = []
    measured(figure(partial(contest, done=lambda: told.append("done"))), claim(LOOSE), Sizes())
    assert told == ["done"]


def test_units_by_element() -> None:
    times, faster, rate = (claim(Goal(kind=kind, value=1)) for kind in ("times", "faster", "rate"))
    ours, rival = [1.0, 2.0], [4.0, 2.0]
    assert unit_of(times, ours, rival) == ([0.25, 1.0], 0.5)
    assert unit_of(faster, ours, rival) == ([4.0, 1.0], 2.0)
    assert unit_of(rate, ours, rival) == ([1.0, 0.5], 1.0)
    assert unit_of(claim(None), ours, rival) == unit_of(faster, ours, rival)


def test_work_is_counted() -> None:
    """The rival gives a thousandth of the elements in the same time: ours is a thousand times faster by element."""

    def uneven(_: Sizes) -> Contest:
        return Contest(nothing, nothing, lambda *_: YES, ours_work=1000.0, rival_work=1.0)

    found = measured(figure(uneven), claim(Goal(kind="faster", value=30)), Sizes())
    assert found.state is FigureState.MET
    assert found.measured is not None
    # The same function in both, timed within a factor of thirty of itself.
    assert 30 < found.measured.median < 30_000


def test_a_picture_without_one_curve_has_the_others() -> None:
    def absent(_: float, __: Sizes) -> Callable[[], Any]:
        msg = "not installed"
        raise Missing(msg)

    told: list[str] = []
    curves = (CostCurve("here", lambda x, _: lambda: sum(range(int(1000 * x)))), CostCurve("absent", absent))
    picture = CostPicture("p", "P", "x", lambda _: (1.0, 2.0, 4.0), curves, 2.0, "c", lambda: told.append("done"))
    found = drawn(picture, Sizes(), "f-p")
    here, gone = found.curves
    assert here.xs == [1.0, 2.0, 4.0]
    assert here.fit is not None
    assert (here.fit.first, here.fit.points) == (2.0, 2)
    assert (gone.reason, gone.xs, gone.fit) == ("not installed", [], None)
    assert told == ["done"]


def test_names_are_unique_and_every_claim_has_figures() -> None:
    names = [name for family in families() for name in names_of(family)]
    assert len(set(names)) == len(names)
    assert len(names) > 100
    for family in families():
        assert all(each.figures for each in family.claims)
        assert len({each.id for each in family.claims}) == len(family.claims)


def test_every_figure_of_the_specification_is_there() -> None:
    """Goals by claim: a goal that goes missing, or is made easier, is seen here."""
    goals = {
        f"{family.id}/{each.id}": (each.goal.kind, each.goal.value)
        for family in families()
        for each in family.claims
        if each.goal is not None
    }
    assert goals == {
        "truth/rate-integer-float32": ("rate", 3e6),
        "truth/rate-real-float32": ("rate", 1e6),
        "truth/rate-integer-float64": ("rate", 3e5),
        "truth/rate-real-float64": ("rate", 1e5),
        "truth/gradients": ("times", 3.0),
        "entmax_softmax/low-float32": ("times", 1.5),
        "entmax_softmax/low-float64": ("times", 1.5),
        "entmax_softmax/integers-float32": ("times", 3.0),
        "entmax_softmax/integers-float64": ("times", 3.0),
        "entmax_softmax/real-float32": ("times", 8.0),
        "entmax_softmax/real-float64": ("times", 8.0),
        "entmax_peers/sorts": ("faster", 30.0),
        "entmax_peers/bisection": ("faster", 200.0),
        "entmax_correct/correct": ("times", 2.0),
        "entmax_vjp/vjp-float32": ("times", 1.5),
        "entmax_vjp/vjp-float64": ("times", 1.5),
        "entmax_vjp/vjp-order-float32": ("times", 1.5),
        "entmax_vjp/vjp-order-float64": ("times", 1.5),
        "mixing/attention": ("times", 1.0),
        "mixing/regression": ("times", 1.0),
    }


def test_only_chooses_by_beginnings() -> None:
    (family,) = chosen(["entmax_peers/sorts"])
    assert [each.id for each in family.claims] == ["sorts"]
    assert family.pictures == ()
    (costs,) = chosen(["entmax_cost/cores"])
    assert (costs.claims, [each.id for each in costs.pictures]) == ((), ["cores"])


@pytest.mark.parametrize("only", [["nothing"], [""], ["truth", "nothing"]])
def test_only_must_name_something(only: list[str]) -> None:
    with pytest.raises(DomainError, match="only must be the beginning of names such as truth"):
        chosen(only)


def test_notes_name_claims() -> None:
    known = {family.id: notes(family) for family in families()}
    assert all(note.tried and note.in_the_way for held in known.values() for note in held.values())
    assert parsed("[a]\ntried='x'\nin_the_way='y'", "f.toml", {"a"}) == {"a": Note(tried="x", in_the_way="y")}


@pytest.mark.parametrize("text", ["[b]\ntried='x'\nin_the_way='y'", "[a]\ntried='x'", "[a", "a = 3"])
def test_bad_notes_are_errors(text: str) -> None:
    with pytest.raises(NoteError, match=r"^f\.toml: "):
        parsed(text, "f.toml", {"a"})


def test_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = CostPicture("grows", "G", "x", lambda _: (1.0, 2.0), (CostCurve("c", lambda *_: nothing),))
    family = FigureFamily("mine", "Mine", (claim(LOOSE, figure(), figure(missing, "two")),), (picture,))
    monkeypatch.setattr(runner, "families", lambda: [family])
    told: list[str] = []
    found = bench(only=["mine"], quick=True, done=told.append)
    assert told == ["mine/claim/one", "mine/claim/two", "mine/grows"]
    assert [each.state for each in found.families[0].claims[0].figures] == [FigureState.MET, FigureState.UNAVAILABLE]
    assert (found.command, found.quick) == ("kernelproof bench --only mine --quick", True)
    assert found.environment["cpu"]["cores"]
    assert [each.id for each in found.pictures] == ["mine-grows"]


def test_notes_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    family = FigureFamily("mine", "Mine", (claim(TIGHT),))
    monkeypatch.setattr(runner, "families", lambda: [family])
    found = bench(quick=True)
    assert found.families[0].claims[0].note is None
    note = Note(tried="x", in_the_way="y")
    monkeypatch.setattr(runner, "notes", lambda _: {"claim": note})
    assert runner.annotated(found).families[0].claims[0].note == note
    monkeypatch.setattr(runner, "families", list)
    assert runner.annotated(found) == found, "a family that is no more keeps its note"
