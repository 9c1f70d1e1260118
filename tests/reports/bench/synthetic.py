"""A benchmark record made by hand: every state, a note, pictures with and without an interval."""

from __future__ import annotations

from kernelproof.verify.bench.bench_record import (
    Agreement,
    BenchResults,
    ClaimRecord,
    CostCurveRecord,
    CostPictureRecord,
    FamilyRecord,
    FigureRecord,
    FigureState,
    Goal,
    Memory,
    Note,
    PowerLawFit,
    Spread,
)

HOSTILE = "<script>alert(1)</script> | **x** \x1b[31m"


def spread(middle: float) -> Spread:
    return Spread(least=middle / 2, lower=middle * 0.75, median=middle, upper=middle * 1.5, most=middle * 2)


def figure(
    name: str, state: FigureState, middle: float | None, reason: str = "", memory: Memory | None = None
) -> FigureRecord:
    known = middle is not None
    return FigureRecord(
        id=name,
        state=state,
        setting={"order": name, "shape": "4 × 8"},
        ours="ours",
        rival="theirs",
        reason=reason,
        rounds=5 if known else 0,
        measured=spread(middle) if middle is not None else None,
        best=middle,
        ratio=spread(middle) if middle is not None else None,
        ours_seconds=spread(0.001) if known else None,
        rival_seconds=spread(0.002) if known else None,
        agreement=Agreement(passed=state is not FigureState.WRONG, compared=3, what=f"compared {name}")
        if known
        else None,
        memory=memory,
    )


def results(*, quick: bool = False) -> BenchResults:
    times, faster, rate = Goal(kind="times", value=2), Goal(kind="faster", value=30), Goal(kind="rate", value=3e6)
    note = Note(tried="what was tried", in_the_way="what is in the way")
    claims = [
        ClaimRecord(
            id="met",
            title="all met",
            goal=times,
            note=note,
            figures=[figure("1", FigureState.MET, 1.0), figure("2", FigureState.MET, 1.5)],
        ),
        ClaimRecord(
            id="missed",
            title="one missed",
            goal=faster,
            note=note,
            figures=[figure("1", FigureState.MET, 40.0), figure("2", FigureState.MISSED, 10.0)],
        ),
        ClaimRecord(
            id="never",
            title="does not come back",
            goal=times,
            note=None,
            figures=[
                figure("1", FigureState.MISSED, None, "ours: no answer in 20 s"),
                figure("2", FigureState.MET, 1.0, memory=Memory(ours=2.0**20, rival=None)),
            ],
        ),
        ClaimRecord(
            id="absent",
            title="absent",
            goal=times,
            note=None,
            figures=[figure("1", FigureState.UNAVAILABLE, None, "not installed")],
        ),
    ]
    others = [
        ClaimRecord(id="wrong", title=HOSTILE, goal=rate, note=None, figures=[figure(HOSTILE, FigureState.WRONG, 5e6)]),
        ClaimRecord(id="shown", title="shown", goal=None, note=None, figures=[figure("1", FigureState.SHOWN, 700.0)]),
    ]
    fit = PowerLawFit(exponent=1.02, interval=(0.98, 1.06), first=2.0, last=4.0, points=3)
    curves = [
        CostCurveRecord(label="ours", xs=[1.0, 2.0, 4.0], seconds=[spread(0.001 * x) for x in (1, 2, 4)], fit=fit),
        CostCurveRecord(
            label="two points",
            xs=[1.0, 2.0],
            seconds=[spread(1.0), spread(2.0)],
            fit=fit.model_copy(update={"interval": None, "points": 2}),
        ),
        CostCurveRecord(label="gone", reason="not installed"),
    ]
    return BenchResults(
        command="kernelproof bench",
        started="2026-01-02T03:04:05+00:00",
        seconds=83.0,
        quick=quick,
        environment={"cpu": {"model": "A processor", "cores": 2}, "packages": {"torch": "2.13.0"}},
        families=[
            FamilyRecord(id="f", title="First", claims=claims),
            FamilyRecord(id="g", title="Second", claims=others),
        ],
        pictures=[CostPictureRecord(id="f_cost-rows", title="Rows", x="rows", caption="a caption", curves=curves)],
    )
