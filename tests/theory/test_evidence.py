"""Each kind of evidence says PROVED of what is true, REFUTED with a witness of what is false, UNDECIDED else."""

from __future__ import annotations

from fractions import Fraction as F
from math import inf
from typing import cast

import pytest
import sympy
from flint import acb, arb, ctx
from hypothesis import strategies as st

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.claim import Settings
from kernelproof.theory.domain import domain, nonzero, orders, positive, real
from kernelproof.theory.evidence import certified, draws, exact, quadrature, sampled, symbolic
from kernelproof.theory.finding import Finding, Verdict

x, y = sympy.symbols("x y", positive=True)
n = sympy.Symbol("n", integer=True, positive=True)


def test_an_identity_is_proved() -> None:
    found = symbolic.identities(("square", (x + y) ** 2, x**2 + 2 * x * y + y**2), domain="x, y > 0")
    assert (found.verdict, found.decided) == (Verdict.PROVED, 1)


def test_a_false_identity_is_refuted_with_a_point() -> None:
    found = symbolic.identities(("square", (x + y) ** 2, x**2 + y**2), domain="x, y > 0")
    assert found.verdict is Verdict.REFUTED
    assert found.witness is not None
    assert "x =" in found.witness


def test_a_difference_below_everyday_tolerances_is_refuted() -> None:
    found = symbolic.identities(("tiny", x, x * (1 + sympy.Rational(1, 10**25))), domain="x > 0")
    assert found.verdict is Verdict.REFUTED


def test_a_true_identity_that_sympy_does_not_see_is_undecided() -> None:
    left = sympy.Function("f")(x * (x + 1)) - sympy.Function("f")(x**2 + x)
    found = symbolic.identities(("unknown function", left, sympy.atan(x) + sympy.atan(1 / x) - sympy.pi / 2), domain="")
    assert found.verdict is Verdict.UNDECIDED


def test_a_sign_is_proved_and_refuted() -> None:
    assert symbolic.positive(("sum", x + 1 / y), domain="x, y > 0").verdict is Verdict.PROVED
    assert symbolic.positive(("difference", x - y), domain="x, y > 0").verdict is Verdict.REFUTED
    assert symbolic.positive(("square", (x - y) ** 2), domain="", strict=False).verdict is Verdict.PROVED
    assert symbolic.positive(("square", (x - 200 * y) ** 2), domain="").verdict is Verdict.UNDECIDED


def sides(power: int = 2) -> tuple[Finding, Finding]:
    """n^power > 0 of a negative and of a positive n, with a symbol that has a smaller range on one side."""
    u, z = sympy.Symbol("u", positive=True), sympy.Symbol("u", nonnegative=True)
    below = symbolic.positive(("it", sympy.Symbol("n", negative=True) ** power + z), domain="n < 0")
    return below, symbolic.positive(("it", sympy.Symbol("n", positive=True) ** power * u), domain="n > 0")


def test_both_signs_of_a_variable_make_up_all_of_it_but_0() -> None:
    below, above = sides()
    found = symbolic.either_sign(below, above, variable="n", domain="n ≠ 0")
    assert (found.verdict, found.decided) == (Verdict.PROVED, 2)
    assert found.on is not None
    assert found.on.ranges == {"n": nonzero(), "u": positive()}
    assert found.on.lacks(domain(n=orders()), shared=True) is None
    assert found.on.lacks(domain(n=real()), shared=True) is not None


def test_one_side_that_fails_is_a_failure_of_both() -> None:
    below, above = sides(power=1)
    found = symbolic.either_sign(below, above, variable="n", domain="n ≠ 0")
    assert found.verdict is Verdict.REFUTED
    assert "n = -" in str(found.witness)
    unknown = symbolic.positive(("it", (sympy.Symbol("n", negative=True) + 200 * y) ** 2), domain="n < 0")
    assert symbolic.either_sign(unknown, above, variable="n", domain="n ≠ 0").verdict is Verdict.UNDECIDED


def test_sides_that_are_not_both_signs_are_refused() -> None:
    below, above = sides()
    for pair in ((above, above), (above, below), (below, below)):
        with pytest.raises(ClaimError, match="one side is for n in"):
            symbolic.either_sign(*pair, variable="n", domain="n ≠ 0")
    with pytest.raises(ClaimError, match="steps that SymPy took"):
        symbolic.either_sign(below, exact.equal([("1", 1, 1)], domain="one"), variable="n", domain="n ≠ 0")
    by_hand = above.model_copy(update={"decided": 9})
    with pytest.raises(ClaimError, match="steps that SymPy took"):
        symbolic.either_sign(below, by_hand, variable="n", domain="n ≠ 0")


def test_points_satisfy_the_assumptions() -> None:
    for point in symbolic.points([x, n], seed=1, count=50):
        assert point[x] > 0
        assert point[n].is_Integer
        assert point[n] >= 1


def test_exact_equality() -> None:
    assert exact.equal([("a", F(1, 3), F(2, 6))], domain="one").verdict is Verdict.PROVED
    assert exact.equal([("a", F(1, 3), F(1, 3) + F(1, 10**40))], domain="one").verdict is Verdict.REFUTED
    assert exact.equal([], domain="none").verdict is Verdict.UNDECIDED
    assert exact.holds([("a", True), ("b", False)], domain="two").witness == "b"


@pytest.mark.parametrize("value", [arb(0, 1), 0.5, [F(1), arb(1)]])
def test_exact_evidence_takes_nothing_that_is_not_exact(value: object) -> None:
    with pytest.raises(ClaimError, match="exact evidence compares"):
        exact.equal([("a", value, value)], domain="one")


def test_what_holds_is_true_or_false() -> None:
    with pytest.raises(ClaimError, match="must be True or False"):
        exact.holds([("a", cast("bool", arb(0, 1)))], domain="one")


def test_an_inequality_is_proved_over_a_box() -> None:
    # x² − xy + y² > 0 away from the origin; naive evaluation needs many parts.
    found = certified.positive(
        lambda x, y: x * x - x * y + y * y, {"x": (F(1, 10), 1), "y": (-1, 1)}, domain="", precision=64
    )
    assert found.verdict is Verdict.PROVED
    assert found.volume == pytest.approx(1.8)
    assert found.decided > 1


def test_a_false_inequality_over_a_box_has_a_witness() -> None:
    found = certified.positive(lambda x: x * x - arb("0.001"), {"x": (-1, 1)}, domain="", precision=64)
    assert found.verdict is Verdict.REFUTED
    assert found.witness is not None
    assert "x = 0" in found.witness


@pytest.mark.parametrize("box", [{}, {"x": (1, 1)}, {"x": (2, 1)}])
def test_a_degenerate_box_proves_nothing(box: dict[str, tuple[int, int]]) -> None:
    assert (
        certified.positive(lambda **x: next(iter(x.values())), box, domain="", precision=64).verdict
        is Verdict.UNDECIDED
    )


def test_a_box_that_needs_too_many_parts_is_undecided() -> None:
    # Zero at the irrational √2/2 and positive elsewhere: no bisection ends.
    found = certified.positive(lambda x: (2 * x * x - 1) ** 2, {"x": (0, 1)}, domain="", precision=64, parts=200)
    assert found.verdict is Verdict.UNDECIDED


def test_a_function_without_a_value_is_not_positive() -> None:
    assert certified.positive(lambda x: x.log(), {"x": (-2, -1)}, domain="", precision=64, parts=50).verdict is (
        Verdict.UNDECIDED
    )


def test_enclosures_agree_differ_or_are_too_wide() -> None:
    third, wide = arb(1) / 3, arb("0.3333 +/- 0.1")
    assert certified.agree([("a", third, arb(1) / 3)], domain="", width=1e-12).verdict is Verdict.CONSISTENT
    assert certified.agree([("a", third, arb("0.333"))], domain="", width=1e-12).verdict is Verdict.REFUTED
    assert certified.agree([("a", third, wide)], domain="", width=1e-12).verdict is Verdict.UNDECIDED
    assert certified.agree([("a", third, arb("nan"))], domain="", width=1e-12).verdict is Verdict.UNDECIDED
    assert certified.agree([], domain="", width=1e-12).verdict is Verdict.UNDECIDED


def test_existence_needs_a_positive_value() -> None:
    assert certified.exists("x = 2", arb(1), domain="").verdict is Verdict.PROVED
    assert certified.exists("x = 2", arb(0), domain="").verdict is Verdict.UNDECIDED
    assert certified.exists("x = 2", arb("0 +/- 1"), domain="").verdict is Verdict.UNDECIDED


FRACTIONS = st.fractions(0, 1, max_denominator=64)
SETTINGS = Settings(examples=50)


def test_samples_are_consistent_with_what_is_true() -> None:
    found = sampled.equal(
        FRACTIONS, lambda q: (certified.rational(q) * 2, certified.rational(2 * q)), SETTINGS, domain="", width=1e-40
    )
    assert found.verdict is Verdict.CONSISTENT
    assert found.decided >= 20


def test_samples_refute_with_the_smallest_example() -> None:
    found = sampled.equal(
        FRACTIONS,
        lambda q: (certified.rational(q), arb(0) if q < F(1, 2) else certified.rational(q)),
        SETTINGS,
        domain="",
        width=1e-40,
    )
    assert found.verdict is Verdict.REFUTED
    assert found.witness is not None


def test_samples_that_no_precision_decides_are_undecided() -> None:
    found = sampled.positive(FRACTIONS, lambda _: arb("0 +/- 1e-9"), SETTINGS, domain="")
    assert found.verdict is Verdict.UNDECIDED


def test_an_inequality_is_sampled() -> None:
    assert (
        sampled.positive(FRACTIONS, lambda q: certified.rational(q) + 1, SETTINGS, domain="").verdict
        is Verdict.CONSISTENT
    )
    assert sampled.positive(FRACTIONS, certified.rational, SETTINGS, domain="").verdict is Verdict.REFUTED
    assert (
        sampled.positive(FRACTIONS, certified.rational, SETTINGS, domain="", strict=False).verdict is Verdict.CONSISTENT
    )


def test_drawn_rows_are_solved_to_balls_that_sum_to_one() -> None:
    for order in (F(1, 2), F(1), F(7, 3), inf):
        weights = draws.solved([0.25, 0.0, -3.0], order, 128)
        assert sum(weights, start=arb(0)).contains(1)
        assert (weights[2] > 0) == (order == inf)


def test_two_drawn_orders_rise() -> None:
    def rise(case: tuple[draws.Order, draws.Order]) -> arb:
        return arb(1 if case[0] < case[1] else 0)

    assert sampled.positive(draws.rising(), rise, SETTINGS, domain="").verdict is Verdict.CONSISTENT


def test_the_least_of_balls_that_overlap_holds_both() -> None:
    wide, narrow = arb("0 +/- 1"), arb("0.5 +/- 0.1")
    assert draws.least([narrow, wide]).contains(-1)
    assert draws.least([arb(3), arb(2)]) == 2


def test_the_worst_pair_is_one_that_differs_before_one_that_is_wide() -> None:
    wide, exact_one = arb("0 +/- 1"), arb(1)
    assert draws.worst([wide, exact_one], [wide, arb(2)]) == (arb(1), arb(2))
    assert draws.worst([exact_one, wide], [arb(1), arb(0)])[0].rad() > 0.5


def test_orders_are_balls_and_words() -> None:
    assert draws.order_ball(F(3, 2)) == 1.5
    assert draws.order_ball(inf) > 10**9
    assert (draws.name(F(3, 2)), draws.name(inf)) == ("3/2", "∞")


@pytest.mark.parametrize(("top", "bottom"), [(1, 10), (1, 2), (7, 3), (3, 1)])
def test_an_integral_with_a_real_power_at_the_end_holds_its_closed_form(top: int, bottom: int) -> None:
    with ctx.workprec(128):
        order = arb(top) / bottom
        found = quadrature.integral(lambda z, analytic: quadrature.power(1 - z, order, analytic), 0, 1, 60)
        assert found.contains(1 / (order + 1))
        assert found.rad() < 1e-16


def test_a_power_of_a_ball_around_zero_is_bounded_unless_it_must_be_analytic() -> None:
    around = acb(arb("0 +/- 0.25"))
    bounded = quadrature.power(around, arb(1) / 3, analytic=False)
    assert bounded.real.contains((arb(1) / 4) ** (arb(1) / 3))
    assert bounded.real.contains(-((arb(1) / 4) ** (arb(1) / 3)) / 2)
    assert not quadrature.power(around, arb(1) / 3, analytic=True).is_finite()
