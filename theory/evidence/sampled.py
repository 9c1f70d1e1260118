"""Sampled evidence: Hypothesis draws inputs, encloses a property at high precision, and shrinks failures.

Samples prove nothing: at best they are CONSISTENT. A counterexample among them is a witness against the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
from flint import arb, ctx
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

from kernelproof.theory.claim import Settings
from kernelproof.theory.domain import cases
from kernelproof.theory.evidence.certified import relative_width
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict, issue


class _Violated(AssertionError):
    """The property fails at an example."""


def _explore(strategy: SearchStrategy[Any], body: Callable[[Any], None], settings: Settings) -> None:
    @hypothesis.seed(settings.seed)
    @hypothesis.settings(
        max_examples=settings.examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(strategy)
    def run(example: Any) -> None:
        body(example)

    run()


def equal(
    strategy: SearchStrategy[Any],
    sides: Callable[[Any], tuple[Any, Any]],
    settings: Settings,
    *,
    domain: str,
    width: float,
    detail: str = "",
    show: Callable[[Any], str] = repr,
) -> Finding:
    """CONSISTENT if at every example the enclosures of the two sides overlap, none wider than `width`.

    Args:
        strategy: a strategy for examples.
        sides: example -> (left, right), balls; called at ``settings.precision`` bits.
        settings: number of examples and seed.
        domain: what is drawn, in words.
        width: the largest relative width of ``left − right`` that decides an example.
        detail: what is compared.
        show: example -> a form that a reader can use.
    """
    state = _State()

    def body(example: Any) -> None:
        with ctx.workprec(settings.precision):
            left, right = sides(example)
            difference = arb(left) - arb(right)
            state.count += 1
            if not difference.contains(0):
                state.witness = f"{show(example)}: {arb(left).str(12)} ≠ {arb(right).str(12)}"
                raise _Violated
            relative = relative_width(difference, left)
            if relative <= width:
                state.decided += 1
                state.widest = max(state.widest, relative)

    return _finish(strategy, body, settings, state, Relation.EQUALITY, domain, detail)


def positive(
    strategy: SearchStrategy[Any],
    value: Callable[[Any], Any],
    settings: Settings,
    *,
    domain: str,
    detail: str = "",
    strict: bool = True,
    show: Callable[[Any], str] = repr,
) -> Finding:
    """CONSISTENT if at every example the enclosure of `value` is proved > 0 (≥ 0 if not `strict`)."""
    state = _State()

    def body(example: Any) -> None:
        with ctx.workprec(settings.precision):
            found = arb(value(example))
            state.count += 1
            if found < 0 or (strict and found <= 0):
                state.witness = f"{show(example)}: {found.str(12)}"
                raise _Violated
            if found > 0 or (not strict and found >= 0):
                state.decided += 1

    return _finish(strategy, body, settings, state, Relation.INEQUALITY, domain, detail)


class _State:
    """The results so far."""

    def __init__(self) -> None:
        self.count = self.decided = 0
        self.widest = 0.0
        self.witness: str | None = None


def _finish(
    strategy: SearchStrategy[Any],
    body: Callable[[Any], None],
    settings: Settings,
    state: _State,
    relation: Relation,
    domain: str,
    detail: str,
) -> Finding:
    violated = False
    try:
        _explore(strategy, body, settings)
    except _Violated:
        violated = True
    undecided = 0 if violated else state.count - state.decided
    consistent = state.decided > 0 and undecided == 0
    return issue(
        evidence=Evidence.SAMPLED,
        relation=relation,
        verdict=Verdict.REFUTED if violated else Verdict.CONSISTENT if consistent else Verdict.UNDECIDED,
        domain=domain,
        on=cases(state.count),
        decided=max(state.decided, 1 if violated else 0),
        undecided=undecided,
        detail=detail,
        witness=state.witness if violated else None,
        width=state.widest if relation is Relation.EQUALITY and not violated else None,
    )
