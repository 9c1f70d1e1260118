"""Every figure of ``kernelproof bench`` under pytest-benchmark: ours is timed, and beside it stands the ratio.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. `extra_info` holds what was measured in turns
with the rival, on outputs that are held against the truth first.
"""

from __future__ import annotations

from typing import Any

import pytest

from kernelproof.verify.bench.figure import Figure, FigureGroup, Missing, Sizes
from kernelproof.verify.bench.runner import families, unit_of
from kernelproof.verify.bench.timing import Effort, in_turns, spread

FIGURES = [
    pytest.param(claim, figure, id=f"{family.id}/{claim.id}/{figure.id}")
    for family in families()
    for claim in family.claims
    for figure in claim.figures
]


@pytest.mark.parametrize(("claim", "figure"), FIGURES)
def test_figure(benchmark: Any, claim: FigureGroup, figure: Figure) -> None:
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    try:
        contest = figure.prepare(Sizes())
    except Missing as error:
        pytest.skip(str(error))
    try:
        agreement = contest.check(contest.ours(), contest.rival())
        assert agreement.passed, agreement.what
        benchmark.pedantic(contest.ours, rounds=5, warmup_rounds=0)
        seconds = in_turns((contest.ours, contest.rival), Effort())
    finally:
        contest.done()
    ours, rival = [
        [each / contest.ours_work for each in seconds[0]],
        [each / contest.rival_work for each in seconds[1]],
    ]
    values, best = unit_of(claim, ours, rival)
    found = spread(values)
    benchmark.extra_info.update(
        kind="faster" if claim.goal is None else claim.goal.kind,
        goal=None if claim.goal is None else claim.goal.value,
        median=found.median,
        quartiles=[found.lower, found.upper],
        shortest=best,
        outputs=agreement.what,
    )
