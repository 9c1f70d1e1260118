"""Each guard of the evidence is taken away: a false statement is then PROVED, so the guard is what stops it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F

import pytest
import sympy
from flint import arb
from tests.meta.test_false_statements import FALSE, UNIT, box, claim

from kernelproof.theory import verdicts
from kernelproof.theory.domain import Domain, Range
from kernelproof.theory.evidence import ball, definedness, points, symbolic
from kernelproof.theory.finding import Finding, Verdict
from kernelproof.theory.statement import Statement
from kernelproof.theory.verdicts import judge

Patch = pytest.MonkeyPatch


def domains_are_not_compared(patch: Patch) -> None:
    patch.setattr(Domain, "lacks", lambda *_, **__: None)


def ends_are_not_looked_at(patch: Patch) -> None:
    def covers(mine: Range, other: Range) -> bool:
        # As if an end that is left out, and the reals between integers, were no difference.
        return (mine.low, mine.high) == (other.low, other.high)

    patch.setattr(Range, "covers", covers)


def a_range_counts_as_all(patch: Patch) -> None:
    patch.setattr(Range, "covers", lambda mine, other: mine.low == other.low)


def inclusion_is_not_tested(patch: Patch) -> None:
    patch.setattr("kernelproof.theory.evidence.certified._Sample.outside", lambda _: None)


def _middle(x: ball.Ball) -> arb:
    value = ball.unguard(x)
    assert value is not None
    return value.mid()


def midpoints_are_given(patch: Patch) -> None:
    patch.setattr(ball.Ball, "mid", lambda x: ball.guard(_middle(x)))
    # The value of a part is then that of its middle, which the test of inclusion finds as well.
    inclusion_is_not_tested(patch)


def comparisons_that_are_not_decided_are_false(patch: Patch) -> None:
    patch.setattr(ball, "_decide", lambda yes, _: yes)


def floats_are_numbers(patch: Patch) -> None:
    patch.setattr(symbolic, "_floats", lambda _: False)
    patch.setattr(symbolic, "exceeds", lambda *_: False)


def values_are_taken_for_granted(patch: Patch) -> None:
    patch.setattr(symbolic, "undefined", lambda *_: [])
    patch.setattr(symbolic, "number_at", lambda *_: points.number_at(sympy.Integer(0), {}))


def hand_made_findings_count(patch: Patch) -> None:
    patch.setattr(verdicts, "is_issued", lambda _: True)


def whatever_was_decided_is_the_statement(patch: Patch) -> None:
    patch.setattr(verdicts, "_closed", lambda *_: True)


PLANTED: dict[str, tuple[Callable[[Patch], None], str]] = {
    "a smaller box": (domains_are_not_compared, "a smaller box by text"),
    "a finite range": (domains_are_not_compared, "eight cases for all n"),
    "an exact range without its end": (a_range_counts_as_all, "a range without its end"),
    "an exact range for all n": (a_range_counts_as_all, "a finite range for all n"),
    "an end of the domain": (ends_are_not_looked_at, "integers for a real range"),
    "inclusion": (inclusion_is_not_tested, "a value that changes"),
    "the guarded ball": (midpoints_are_given, "a midpoint that is given"),
    "undecided comparisons": (comparisons_that_are_not_decided_are_false, "a comparison that is not decided"),
    "floats": (floats_are_numbers, "a float in text"),
    "places without a value": (values_are_taken_for_granted, "a removable singularity at 0"),
    "findings": (hand_made_findings_count, "a finding that was changed"),
    "the statement": (whatever_was_decided_is_the_statement, "another statement proved"),
}
MORE = {
    "a midpoint that is given": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (x.mid() - x / 3 - x.mid() / 5) ** 2 + 1)),
    "a comparison that is not decided": (UNIT, ("(x - 1/3)**2 > 0",), box(
        lambda x: 0 * x + (0 if x < F(1, 10**9) else 1))),
}  # fmt: skip


def step(name: str) -> Finding:
    """What the step of the false claim finds."""
    on, predicates, run = {**FALSE, **MORE}[name]
    return run(Statement(on, predicates))


@pytest.mark.parametrize(("fault", "name"), PLANTED.values(), ids=PLANTED)
def test_without_its_guard_a_false_statement_is_proved(
    fault: Callable[[Patch], None], name: str, monkeypatch: Patch
) -> None:
    case = {**FALSE, **MORE}[name]
    assert judge(claim(case)).verdict is not Verdict.PROVED
    before = step(name).verdict
    definedness.nonzero.cache_clear()
    fault(monkeypatch)
    # A box of the author's own function proves its step, and never the statement.
    after = step(name).verdict if name in MORE or name == "a value that changes" else judge(claim(case)).verdict
    assert after is Verdict.PROVED
    if name in MORE or name == "a value that changes":
        assert before is not Verdict.PROVED
