"""A small record of a run with one claim of every verdict, and one from someone who would break the page."""

from __future__ import annotations

import pytest

from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.domain import domain, positive
from kernelproof.theory.finding import Evidence, Finding, Grid, Relation, Verdict
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, Named, TheoryResults

HOSTILE = "</style><script>alert(1)</script> | `x` _y_ \x1b[31m"


def claim(verdict: Verdict, **given: object) -> ClaimResult:
    finding = Finding(
        evidence=Evidence.SYMBOLIC if verdict in {Verdict.PROVED, Verdict.DERIVED} else Evidence.SAMPLED,
        relation=Relation.EQUALITY,
        verdict=Verdict.PROVED if verdict is Verdict.DERIVED else verdict,
        on=domain(n=positive()),
        assumed=["n in (0, ∞)"],
        domain="all n > 0 and ‖k‖ = 1",
        decided=0 if verdict is Verdict.UNDECIDED else 3,
        witness="n = 1/2: 0.25 ≠ 0.5" if verdict is Verdict.REFUTED else None,
        width=1e-30,
        numbers={"mean total variation": 0.125},
        grids=[Grid(title="best", columns=["α", "m = 2"], rows=[[1.25, 0.6], [1.5, 0.7], [1.75, 0.8]])],
    )
    check = ClaimCheckResult(id="only", says=r"that $\frac{1}{n} \le 1$", role=Role.PROOF, finding=finding)
    plain = {
        "id": verdict.value.lower(),
        "label": "C1",
        "title": f"A claim that is {verdict.value}",
        "statement": r"For $n > 0$, \[x_n = \sum_j K_n(t_j).\]",
        "source": "ours",
        "kind": Kind.THEOREM,
        "variables": [Named(name="n", text="the order, $n > 0$")],
        "assumptions": [Named(name="mass", text=r"$\sum_j x_j > 0$")],
        "why_not_more": "",
        "domain": "n in (0, ∞)",
        "argument": f"the words of {verdict.value.lower()}" if verdict is Verdict.DERIVED else "",
        "reason": "a reason of its own" if verdict is Verdict.UNDECIDED else "",
        "verdict": verdict,
        "checks": [check],
    }
    return ClaimResult.model_validate({**plain, **given})


@pytest.fixture
def results() -> TheoryResults:
    missing = ClaimCheckResult(id="referee", says="that", role=Role.REFEREE, unavailable="needs kernelproof[peers]")
    hostile = claim(
        Verdict.CONSISTENT,
        id="hostile",
        title=HOSTILE,
        source=HOSTILE,
        statement=HOSTILE + r" $\frac{$ and $<b>$",
        checks=[missing, claim(Verdict.CONSISTENT).checks[0].model_copy(update={"says": HOSTILE})],
    )
    return TheoryResults(
        passed=False,
        command="kernelproof theory",
        precision=192,
        seed=0,
        started="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        environment={"python": "3.11"},
        claims=[*(claim(verdict) for verdict in Verdict), hostile],
    )
