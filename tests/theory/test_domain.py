"""Domains are compared by the program: what is smaller, open at an end, or about something else covers nothing."""

from __future__ import annotations

import pytest
import sympy
from sympy import Symbol

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.domain import (
    Domain,
    Range,
    between,
    cases,
    closed,
    domain,
    integers,
    nonnegative,
    nonzero,
    orders,
    positive,
    real,
)
from kernelproof.theory.evidence import symbolic
from kernelproof.theory.evidence.definedness import undefined
from kernelproof.theory.evidence.points import points
from kernelproof.theory.finding import Verdict
from kernelproof.theory.statement import Statement

x, y, p = Symbol("x", real=True), Symbol("y", nonnegative=True), Symbol("p", positive=True)


@pytest.mark.parametrize(
    ("evidence", "stated", "covers"),
    [
        (closed(0, 1), closed(0, 1), True),
        (closed(0, 1), between(0, 1), True),
        (between(0, 1), closed(0, 1), False),
        (positive(), nonnegative(), False),
        (nonnegative(), positive(), True),
        (real(), integers(), True),
        (integers(), real(), False),
        (integers(1), integers(2, 9), True),
        (integers(1, 8), integers(1), False),
        (between(0, None), integers(1), True),
        (closed(0, 1), closed(0, "3/2"), False),
        (real(index="j"), real(), False),
        (nonzero(), orders(), True),
        (orders(), nonzero(), False),
        (nonzero(), real(), False),
        (real(), nonzero(), True),
        (orders(), positive(), True),
        (orders(), nonnegative(), False),
        (positive(), orders(), False),
        (between(-1, None), orders(), False),
        (orders(), between(None, -1), True),
        (orders(), Range(high="-1"), False),
        (orders(), integers(1), True),
        (orders(), integers(0), False),
    ],
)
def test_a_range_covers_another(evidence: Range, stated: Range, covers: bool) -> None:
    assert evidence.covers(stated) is covers
    assert (domain(n=evidence).lacks(domain(n=stated)) is None) is covers


def test_a_domain_lacks_what_it_does_not_name() -> None:
    assert domain(n=real(), m=real()).lacks(domain(n=real())) is not None
    assert domain(n=real()).lacks(domain(n=real(), m=real())) is not None
    assert domain({"n": real()}, "n > 0").lacks(domain(n=real())) is not None
    assert domain(n=real()).lacks(domain({"n": real()}, "n > 0")) is None
    assert cases(9).lacks(domain(n=integers(1, 9))) is not None
    assert domain(u=positive()).lacks(domain(n=real()), shared=True) is None
    assert domain(u=positive(), n=positive()).lacks(domain(n=real()), shared=True) is not None
    assert domain({"n": real()}, "n > 0").lacks(domain(n=real()), shared=True) is not None
    assert domain({"n": real()}, "n > 0").lacks(domain({"n": real()}, "n > 0"), shared=True) is None
    assert domain({"n": real(), "u": real()}, "n + u > 0").lacks(domain(n=real()), shared=True) is None


def test_a_range_with_an_interval_left_out_has_no_size_and_says_so() -> None:
    assert str(orders()) == "ℝ without [-1, 0]"
    assert str(nonzero()) == "ℝ without 0"
    assert Range(low="-3", high="3", integer=True, without=("0", "0")).size is None


def test_points_are_drawn_outside_of_an_interval_left_out() -> None:
    n = Symbol("n", real=True, nonzero=True)
    drawn = [point[n] for point in points([n], 0, 40, ranges={"n": orders()})]
    assert len(drawn) >= 40
    assert all(each > 0 or each < -1 for each in drawn)
    assert min(drawn) < -1
    assert max(drawn) > 0


def test_a_range_counts_its_numbers() -> None:
    assert (integers(1, 8).size, integers(1).size, closed(0, 1).size, closed(1, 1).size) == (8, None, None, 1)
    assert Range(low="0", high="3", open_low=True, integer=True).size == 3
    with pytest.raises(ClaimError, match="rational number"):
        closed("pi", 4)


@pytest.mark.parametrize(
    ("symbols", "seen"),
    [
        (p, "p in (0, ∞)"),
        (y, "y in [0, ∞)"),
        (x, "x in ℝ"),
        (Symbol("k", even=True), "k in ℤ; k is even"),
        (Symbol("z", nonzero=True, real=True), "z in ℝ without 0"),
        (Symbol("x", integer=True) + sympy.sin(x), "x in ℤ"),
    ],
)
def test_the_domain_of_symbolic_evidence_is_what_its_symbols_assume(symbols: sympy.Expr, seen: str) -> None:
    found = symbolic.identities(("it", symbols, symbols), domain="whatever the author says")
    assert str(found.on).startswith(seen.split(";", maxsplit=1)[0])
    assert all(each in str(found.on) for each in seen.split("; "))


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        (1 / p, 0), (1 / y, 1), (1 / (1 + y), 0), (1 / (x - 1), 1), (sympy.sqrt(y), 0), (sympy.sqrt(x), 1),
        (sympy.sqrt(x**2 + 1), 0), (sympy.log(y), 1), (sympy.log(1 + y), 0), (p**x, 0), (y**x, 1), (y**p, 0),
        (x ** Symbol("k", integer=True), 1), (sympy.gamma(p), 0), (sympy.gamma(y), 1), (sympy.zoo * p, 1),
    ],
)  # fmt: skip
def test_parts_that_may_have_no_value_are_named(expression: sympy.Expr, missing: int) -> None:
    assert bool(undefined(expression)) is bool(missing), undefined(expression)


def test_a_condition_is_part_of_the_domain() -> None:
    assert undefined(1 / (x - 1), (x - 1,)) == []
    found = symbolic.identities(("it", (x - 1) / (x - 1) ** 2, 1 / (x - 1)), domain="", given=(x - 1,))
    assert found.verdict is Verdict.PROVED
    assert found.on is not None
    assert found.on.conditions == ["x - 1 > 0"]


def test_what_a_proof_assumed_is_recorded() -> None:
    assert symbolic.identities(("it", sympy.sqrt(p**2), p), domain="").assumed == []
    q = Symbol("q", positive=True)
    assert symbolic.identities(("it", (p + q) ** 2, p**2 + 2 * p * q + q**2), domain="").assumed == []
    # One of the two must be known to be positive.
    found = symbolic.identities(("it", sympy.log(p * q), sympy.log(p) + sympy.log(q)), domain="")
    assert found.assumed == ["q in (0, ∞)"]
    found = symbolic.positive(("it", p + y), domain="")
    assert found.assumed == ["p in (0, ∞)", "y in [0, ∞)"]


def test_a_predicate_is_a_relation_of_variables_that_are_named() -> None:
    with pytest.raises(ClaimError, match="two sides"):
        _ = Statement(domain(x=real()), ("x",)).subject
    with pytest.raises(ClaimError, match="does not name"):
        _ = Statement(domain(x=real()), ("x = y",)).subject
    with pytest.raises(ClaimError, match="does not read"):
        _ = Statement(domain(x=real()), ("x +* 2 = x",)).subject
    assert Statement(domain(x=real()), ("x < 2",)).subject == Statement(domain(x=real()), ("2 > x",)).subject


def test_a_domain_reads() -> None:
    assert str(Domain()) == "no variables"
    assert str(cases(1)) == "1 single case"
    assert str(domain({"a": real(), "b": real()}, "a > b")) == "a, b in ℝ; a > b"
    assert str(domain(x=real(index="j"))) == "x in ℝ for every j"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (closed(0, 1), "1 - x >= 0"),
        (closed("1/2", "3/4"), "(x - 1/2)*(3/4 - x) >= 0"),
        (between(-1, 1), "1 - x**2 > 0"),
        (between(None, -2), "x + 2 < 0"),
        (integers(2, 5), "(x - 2)*(5 - x) >= 0"),
        (integers(None, 0), "x <= 0"),
    ],
)
def test_points_of_a_statement_lie_in_its_domain(values: Range, text: str) -> None:
    assert symbolic.proves(Statement(domain(x=values), (text,))).verdict is not Verdict.REFUTED


@pytest.mark.parametrize(
    ("values", "text"),
    [(closed(0, 1), "1 - x > 0"), (closed("1/2", 1), "x > 1/2"), (integers(1, 4), "4 > x"), (closed(-3, -2), "-2 > x")],
)
def test_the_ends_of_a_range_are_looked_at(values: Range, text: str) -> None:
    assert symbolic.proves(Statement(domain(x=values), (text,))).verdict is Verdict.REFUTED


def test_a_condition_is_a_strict_inequality() -> None:
    with pytest.raises(ClaimError, match="strict inequality"):
        symbolic.proves(Statement(domain({"x": real()}, "x >= 1"), ("x > 0",)))
