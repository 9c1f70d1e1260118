"""False statements of every kind of evidence: none is PROVED, and none passes.

Each is a claim as someone would write it who is mistaken, or who would have it pass: with floats, a dropped
assumption, a smaller domain, a point of the boundary, a midpoint, a finite range, a cast, a finding made by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
import sympy
from flint import arb
from hypothesis import strategies as st
from sympy import Abs, Rational, Symbol, exp, sqrt

from kernelproof.reference.errors import KernelproofError
from kernelproof.theory.claim import Check, Claim, Kind, Role, Settings
from kernelproof.theory.domain import Domain, between, closed, domain, integers, nonnegative, orders, positive, real
from kernelproof.theory.evidence import certified, exact, sampled, symbolic
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict
from kernelproof.theory.statement import Statement
from kernelproof.theory.verdicts import judge

x, y = Symbol("x", real=True), Symbol("y", real=True)
p, n = Symbol("p", positive=True), Symbol("n", integer=True, positive=True)
u = Symbol("u", nonnegative=True)
ALL = domain(x=real())
THIRD = arb(1) / 3
UNIT = domain(x=closed(0, 1))
FROM_0 = domain(x=nonnegative())
TAIL = domain(nu=positive(), d=nonnegative())
SIGNED = Symbol("n", real=True, nonzero=True)
Run = Callable[[Statement], Finding]
Case = tuple[Domain, tuple[str, ...], Run]


def identity(left: Any, right: Any) -> Run:
    """By `symbolic.identities`, as a step of a proof."""
    return lambda _: symbolic.identities(("it", left, right), domain="as stated")


def shown(statement: Statement) -> Finding:
    """By `symbolic.proves`, from the text of the statement."""
    return symbolic.proves(statement)


def box(function: Callable[..., Any], low: Any = 0, high: Any = 1) -> Run:
    """By `certified.positive`, over x in [low, high]."""
    return lambda _: certified.positive(function, {"x": (low, high)}, domain="as stated", precision=64, parts=400)


def some(count: int) -> Run:
    """By `exact.proves`, for n from 1 to `count` alone."""
    return lambda statement: exact.proves(statement, within=domain(n=integers(1, count)))


def swallowing(x: Any) -> Any:
    """Asks for the midpoint, and hides that it was refused."""
    try:
        return (x - x.mid()) ** 2 + 1
    except KernelproofError:
        return 0 * x + 1


def searching(x: Any) -> Any:
    """Finds the middle of the ball by comparisons, and hides that they were not decided."""
    low, high = F(0), F(1)
    for _ in range(20):
        middle = (low + high) / 2
        try:
            low, high = (middle, high) if x > middle else (low, middle)
        except KernelproofError:
            high = middle
    return (arb(low.numerator) / low.denominator - THIRD) ** 2 + 0 * x


def counting() -> Callable[..., Any]:
    """A function whose value depends on how often it was called."""
    calls = iter(range(1, 10**9))
    return lambda x: 0 * x + F(1, next(calls))


def by_hand(**given: Any) -> Run:
    """A finding that no evidence function issued."""
    plain: dict[str, Any] = {
        "evidence": Evidence.SYMBOLIC, "relation": Relation.EQUALITY, "verdict": Verdict.PROVED, "domain": "all x",
        "on": ALL, "decided": 1, "subject": ["x > x"],
    }  # fmt: skip
    return lambda _: Finding(**{**plain, **given})


def changed(statement: Statement) -> Finding:
    """A finding that was UNDECIDED, with another verdict."""
    found = symbolic.proves(statement)
    return found.model_copy(update={"verdict": Verdict.PROVED, "undecided": 0, "decided": 1, "witness": None})


def of_another(statement: Statement) -> Finding:
    """A true finding on another statement, named like this one."""
    true = symbolic.proves(Statement(statement.domain, ("x**2 + 1 > 0",)))
    return true.model_copy(update={"subject": list(statement.subject)})


FALSE: dict[str, Case] = {
    # Of SymPy, with floats.
    "a float identity": (FROM_0, ("x = x*(1 + 10**-40)",), identity(1.0 * p + 1e-40 * p, p)),
    "a float in text": (FROM_0, ("1.0*x + 1e-40*x = x",), shown),
    "a float in an exponent": (ALL, ("x**2.0000000000000001 = x**2",), shown),
    "a float under a function": (ALL, ("exp(x) = exp(x*1.0000000000000001)",), identity(exp(x * 1.0), exp(x))),
    "a float of numpy": (ALL, ("x = x + 2**-60",), identity(x * np.float64(1 + 2.0**-60), x)),
    "a float alone": (domain(), ("1/10 = 3602879701896397/36028797018963968",), lambda _: symbolic.identities(
        ("it", 0.1, Rational(3602879701896397, 36028797018963968)), domain="one number")),
    "a sign by a float": (FROM_0, ("x - 10**-30 > 0",), lambda _: symbolic.positive(
        ("it", u + 1 - 1.0000000000000000001), domain="all x >= 0")),
    # Points where a side has no value, and boundaries.
    "x/|x| at 0": (FROM_0, ("x/Abs(x) = 1",), shown),
    "x/|x| at 0, simplified before it is seen": (FROM_0, ("x/Abs(x) = 1",), identity(u / Abs(u), 1)),
    "x/|x| of any sign": (ALL, ("x/Abs(x) = 1",), shown),
    "a removable singularity": (ALL, ("(x**2 - 1)/(x - 1) = x + 1",), shown),
    "a removable singularity at 0": (ALL, ("x/x = 1",), shown),
    "one in a sum": (ALL, ("1/(x - 2) - 1/(x - 2) = 0",), shown),
    "0 to a negative power": (FROM_0, ("x**-1*x**2 = x",), shown),
    "a logarithm at 0": (FROM_0, ("log(x**2) = 2*log(x)",), shown),
    "the sign at 0": (FROM_0, ("sign(x) = 1",), shown),
    "a strict sign at the boundary": (FROM_0, ("x > 0",), shown),
    "a square is above 0": (ALL, ("x**2 > 0",), shown),
    "gamma at 0": (FROM_0, ("x*gamma(x) = gamma(x + 1)",), shown),
    # Assumptions that are not there.
    "the root of a square": (ALL, ("sqrt(x**2) = x",), shown),
    "the root of a negative number": (ALL, ("sqrt(x)**2 = x",), shown),
    "a product of roots": (ALL, ("sqrt(x)*sqrt(x - 1) = sqrt(x*(x - 1))",), shown),
    "the logarithm of a product": (domain(x=real(), y=real()), ("log(x*y) = log(x) + log(y)",), shown),
    "a power of a power": (ALL, ("(x**2)**Rational(1, 2) = x",), shown),
    "positive symbols for real ones": (ALL, ("sqrt(x**2) = x",), identity(
        sqrt(Symbol("x", positive=True) ** 2), Symbol("x", positive=True))),
    "even symbols for integers": (domain(n=integers()), ("cos(pi*n) = 1",), identity(
        sympy.cos(sympy.pi * Symbol("n", even=True)), 1)),
    "a symbol that is 0": (ALL, ("x = 2*x",), identity(Symbol("x", zero=True), 2 * Symbol("x", zero=True))),
    "a condition that is not stated": (ALL, ("x + Abs(x) > 0",), lambda _: symbolic.positive(
        ("it", x + Abs(x)), domain="all x", given=(x,))),
    "integers for real numbers": (ALL, ("sin(pi*x) = 0",), identity(
        sympy.sin(sympy.pi * Symbol("x", integer=True)), 0)),
    "a small difference": (ALL, ("x = x + 1/10**50",), shown),
    "an empty list of identities": (ALL, ("x = x + 1",), lambda _: symbolic.identities(domain="all x")),
    # What leaves interval arithmetic.
    "a midpoint": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (arb(x.mid()) - THIRD) ** 2)),
    "a midpoint by arb": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (arb.mid(x) - THIRD) ** 2 + 0 * x)),
    "a float": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (arb(float(x)) - THIRD) ** 2)),
    "a float by numpy": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: arb(float(np.float64(x)) - 1 / 3) ** 2)),
    "a float by math": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: arb(math.sqrt(x)))),
    "a radius": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (x - F(1, 3)) ** 2 + x.rad() ** 2)),
    "an end": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: (x.upper() - THIRD) ** 2 + 0 * x)),
    "the digits": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: arb(str(x)))),
    "an equality": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: 0 * x if x == F(1, 3) else 0 * x + 1)),
    "membership": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: 0 * x if x in (F(1, 3), F(2, 3)) else 0 * x + 1)),
    "overlapping": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: 0 * x + (0 if x.overlaps(THIRD) else 1))),
    "a cast to int": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: 1 + 0 * x + int(x))),
    "a truth value": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda x: 0 * x + (1 if x else 2))),
    "a refusal that is swallowed": (UNIT, ("(x - 1/3)**2 > 0",), box(swallowing)),
    "a search by comparisons": (UNIT, ("(x - 1/3)**2 > 0",), box(searching)),
    "a constant of arb": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda **_: arb(1))),
    "a number": (UNIT, ("(x - 1/3)**2 > 0",), box(lambda **_: 1)),
    "a value that changes": (UNIT, ("(x - 1/3)**2 > 0",), box(counting())),
    "a comparison on a small part": (UNIT, ("(x - 1/3)**2 > 0",), box(
        lambda x: 0 * x + (0 if F(333333, 10**6) < x < F(333334, 10**6) else 1))),
    # Boxes that are not the domain.
    "a smaller box": (FROM_0, ("100 - x > 0",), box(lambda x: 100 - x)),
    "a smaller box by text": (FROM_0, ("100 - x > 0",), lambda s: certified.proves(
        s, precision=64, within=domain(x=closed(0, 1)))),
    "a box without its end": (UNIT, ("1 - x > 0",), lambda s: certified.proves(
        s, precision=64, within=domain(x=closed(0, "999999/1000000")))),
    "an open end": (domain(x=between(0, 2)), ("1 - x > 0",), lambda s: certified.proves(s, precision=64)),
    "a box of another variable": (UNIT, ("x - 1/2 > 0",), lambda _: certified.positive(
        lambda t: t, {"t": (1, 2)}, domain="as stated", precision=64)),
    "a degenerate box": (UNIT, ("x - 1/2 > 0",), box(lambda x: x, 1, 1)),
    "a double zero": (UNIT, ("(x - 1/3)**2 > 0",), lambda s: certified.proves(s, precision=64, parts=300)),
    "an equality by enclosures": (UNIT, ("x = x + 10**-30",), lambda _: certified.agree(
        [("it", arb(1), arb(1, 1e-30))], domain="x = 1", width=1e-12)),
    "a test for a proof": (UNIT, ("(x - 1/3)**2 > 0",), lambda _: certified.supported(
        lambda x: (x.mid() - arb(1) / 3) ** 2 + 1, {"x": (0, 1)}, domain="as stated", precision=64)),
    "existence for all": (UNIT, ("x - 1/2 > 0",), lambda _: certified.exists("x = 1", arb(1) / 2, domain="x = 1")),
    # Single cases and samples.
    "a finite range for all n": (domain(n=integers(1)), ("n**2 - n + 41 > n**2",), some(40)),
    "eight cases for all n": (domain(n=integers(1)), ("8 >= n",), some(8)),
    "cases in words": (domain(n=integers(1)), ("8 >= n",), lambda _: exact.holds(
        [(f"n = {k}", k <= 8) for k in range(1, 9)], domain="all n >= 1")),
    "a range without its end": (domain(n=integers(1, 9)), ("8 >= n",), some(8)),
    "integers for a real range": (domain(n=closed(1, 8)), ("(n - 1)*(n - 2) >= 0",), some(8)),
    "no case": (domain(n=integers(1)), ("n > n",), lambda _: exact.equal([], domain="all n >= 1")),
    "samples": (ALL, ("Abs(x) > 0",), lambda _: sampled.positive(
        st.integers(1, 9), arb, Settings(examples=20), domain="all x")),
    # On the other side of softmax: orders below 0, where a tail is heavy.
    "the edge of a compact kernel for a heavy tail": (
        TAIL, ("(1 + d/nu)**(-nu) = Max(1 - d/nu, 0)**nu",), shown),
    "a key without weight": (TAIL, ("0 >= (1 + d/nu)**(-nu)",), shown),
    "the Gaussian above the heavy tail": (TAIL, ("exp(-d) >= (1 + d/nu)**(-nu)",), shown),
    "the power ν − 1 for ν": (TAIL, ("(1 + d/nu)**(-nu) = (1 + d/nu)**(1 - nu)",), shown),
    "a bandwidth for every query": (
        domain(nu=positive(), beta=positive(), D=positive()), ("2*nu/beta - D > 0",), shown),
    "a bandwidth with the sign of positive orders": (
        domain(nu=positive(), beta=positive(), D=positive()), ("beta/(2*nu)*(2*nu/beta + D) = 1 - beta*D/(2*nu)",),
        shown),
    "a density for every tail": (domain(nu=positive()), ("gamma(nu - 1/2) > 0",), shown),
    "weights that grow with the order on both sides": (
        domain(n=orders(), u=positive()), ("n*u**(n - 1) > 0",), shown),
    "positive orders for both signs": (domain(n=orders()), ("n > 0",), lambda _: symbolic.positive(
        ("it", Symbol("n", positive=True)), domain="all n > 0")),
    "a condition on the order": (domain(n=orders()), ("n + 1 > 0",), lambda _: symbolic.positive(
        ("it", SIGNED + 1), domain="all n", given=(SIGNED + 1,))),
    "an order of 0 left out": (domain(n=real()), ("n**2 > 0",), lambda _: symbolic.positive(
        ("it", SIGNED**2), domain="all n but 0")),
    "one of two sides": (domain(n=orders()), ("n + 1 > 0",), lambda _: symbolic.either_sign(
        symbolic.positive(("it", -Symbol("n", negative=True)), domain="n < 0"),
        symbolic.positive(("it", -Symbol("n", positive=True)), domain="n > 0"), variable="n", domain="all n but 0")),
    # Findings, and what they are of.
    "a finding made by hand": (ALL, ("x > x",), by_hand()),
    "one made by hand that claims too much": (ALL, ("x > x",), by_hand(evidence=Evidence.SAMPLED)),
    "a finding that was changed": (ALL, ("x**2 > x",), changed),
    "the finding of another statement": (ALL, ("x > 0",), of_another),
    "another statement proved": (ALL, ("x > 0",), lambda _: symbolic.proves(Statement(ALL, ("x**2 + 1 > 0",)))),
    "one of two predicates": (ALL, ("x**2 + 1 > 0", "x > 0"), lambda _: symbolic.proves(
        Statement(ALL, ("x**2 + 1 > 0",)))),
    "the same words on a smaller domain": (ALL, ("x + 1 > 0",), lambda _: symbolic.proves(
        Statement(domain(x=positive()), ("x + 1 > 0",)))),
    "integers only": (domain(n=real()), ("n**2 >= n",), lambda _: exact.proves(
        Statement(domain(n=integers(-5, 5)), ("n**2 >= n",)))),
}  # fmt: skip


def claim(case: Case, *, words: bool = False, argument: str = "") -> Claim:
    """A theorem with one step, stated as an object or in words only."""
    on, predicates, run = case
    statement = Statement(on, predicates)
    return Claim(
        "false", "False", " and ".join(predicates), "nowhere", Kind.THEOREM,
        (Check("step", "it", Role.PROOF, lambda _: run(statement)),),
        formal=None if words else statement, argument=argument,
    )  # fmt: skip


@pytest.mark.parametrize("words", [False, True], ids=["an object", "words"])
@pytest.mark.parametrize("case", FALSE.values(), ids=FALSE)
def test_a_false_statement_is_not_proved(case: Case, words: bool) -> None:
    found = judge(claim(case, words=words))
    assert found.verdict in {Verdict.UNDECIDED, Verdict.REFUTED, Verdict.CONSISTENT}
    assert not found.passes


SMALLER = ("a smaller box", "a smaller box by text", "a box without its end", "a box of another variable",
           "eight cases for all n", "cases in words", "a range without its end", "positive symbols for real ones",
           "the same words on a smaller domain", "existence for all", "positive orders for both signs",
           "a condition on the order", "an order of 0 left out")  # fmt: skip


@pytest.mark.parametrize("name", SMALLER)
def test_an_argument_in_words_makes_no_domain_larger(name: str) -> None:
    false = claim(FALSE[name], argument="it is the same elsewhere")
    agreeing = Check("other", "it", Role.SUPPORT, lambda _: exact.equal([("1", 1, 1)], domain="one"))
    found = judge(replace(false, checks=(*false.checks, agreeing)))
    assert found.verdict is Verdict.UNDECIDED
    assert found.checks[0].lacking


def test_steps_that_words_join_are_derived_and_not_proved() -> None:
    true = claim((ALL, ("x + 1 > x",), identity(x + 1 - x, 1)), argument="1 > 0")
    agreeing = Check("other", "it", Role.SUPPORT, lambda _: exact.equal([("1", 1, 1)], domain="one"))
    found = judge(replace(true, checks=(*true.checks, agreeing)))
    assert (found.verdict, found.passes, found.argument) == (Verdict.DERIVED, True, "1 > 0")


def test_there_are_forty() -> None:
    assert len(FALSE) >= 40


TRUE: dict[str, Case] = {
    "an identity": (domain(x=real(), y=real()), ("(x + y)**2 = x**2 + 2*x*y + y**2",), shown),
    "a root where it is one": (FROM_0, ("sqrt(x)**2 = x",), shown),
    "a quotient where it has a value": (domain(x=positive()), ("x/Abs(x) = 1",), shown),
    "a sign up to the boundary": (FROM_0, ("x + 1 > 0",), shown),
    "sums of any length": (
        domain(x=real(index="j"), c=real(), m=integers(1)),
        ("Sum(exp(c + x[j]), (j, 1, m)) = exp(c)*Sum(exp(x[j]), (j, 1, m))",), shown,
    ),
    "an interval proof": (UNIT, ("x**2 - x + 1 > 0",), lambda s: certified.proves(s, precision=64)),
    "a larger box": (UNIT, ("x**2 - x + 1 > 0",), lambda s: certified.proves(
        s, precision=64, within=domain(x=closed(-1, 2)))),
    "a range with two ends": (domain(x=closed("1/2", 2)), ("2*x > x", "x**2 + x > 0"), shown),
    "a condition": (domain({"x": real()}, "x > 1"), ("(x - 1)/(x - 1) = 1", "2*x - 2 > 0"), shown),
    "orders on both sides": (domain(n=orders(), u=positive()), ("n**2*u**(n - 1) > 0", "n/n = 1"), shown),
    "a heavy tail": (TAIL, ("(1 + d/nu)**(-nu) > 0", "(1 + d/nu)**(-nu) = 1/(1 + d/nu)**nu"), shown),
    "a finite range": (domain(n=integers(1, 8)), ("9 > n", "n**2 >= n"), exact.proves),
}  # fmt: skip


@pytest.mark.parametrize("case", TRUE.values(), ids=TRUE)
def test_a_true_one_is(case: Case) -> None:
    found = judge(claim(case))
    assert found.verdict is Verdict.PROVED, (found.reason, found.checks)
    assert judge(claim(case, words=True)).verdict is Verdict.UNDECIDED
    assert judge(claim(case, argument="words")).verdict is Verdict.UNDECIDED, "no other check agrees"
