"""Rules and ops: each formula of docs/theory.md §1 against the definition in mpmath, ties, empty balls, shapes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest, mechanism

WRONG: Any = "fixed"
ORDERS = ["0", "1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "1e4", "1e8", "inf"]


def number(order: str) -> Any:
    exact = Kernel(order).order
    return mpmath.mpf(exact.numerator) / exact.denominator if isinstance(exact, Fraction) else mpmath.inf


def inside(found: Any, expected: list[Any], bits: int) -> None:
    """Every expected value lies in the enclosure, up to 2^-60 of bisection and float64 ends."""
    slack = mpmath.mpf(2) ** -min(bits // 2, 60)
    for low, high, value in zip(found.lo.ravel(), found.hi.ravel(), expected, strict=True):
        assert mpmath.mpf(float(low)) - slack <= value <= mpmath.mpf(float(high)) + slack


@pytest.mark.parametrize("bits", [160, 240])
@pytest.mark.parametrize("order", ORDERS)
def test_fixed_is_the_kernel_of_the_distance(order: str, bits: int) -> None:
    # D = 0.5, 1, 3.5, 4 and h = 2: the last key is exactly on the sphere.
    distances = [0.5, 1.0, 3.5, 4.0]
    found = reference.weights([-d / 2 for d in distances], Kernel(order), Fixed(2))
    with mpmath.workprec(bits):
        n = number(order)
        t = [mpmath.mpf(d) / 4 for d in distances]
        if n == mpmath.inf:
            terms = [mpmath.exp(-x / 2) for x in t]
        else:
            terms = [(1 - x) ** n if x < 1 else mpmath.mpf(n == 0) for x in t]
        inside(found.weights, [x / mpmath.fsum(terms) for x in terms], bits)
    assert found.boundary.tolist() == [False, False, False, order != "inf"]
    assert found.support.tolist() == [True, True, True, order in {"0", "inf"}]


@pytest.mark.parametrize("bits", [160, 240])
@pytest.mark.parametrize("order", ORDERS[1:])
def test_anchored_reaches_gamma_beyond_the_nearest(order: str, bits: int) -> None:
    scores = [1.0, 0.25, -0.75, -1.0]
    found = reference.weights(scores, Kernel(order), Anchored(1.75))
    with mpmath.workprec(bits):
        n = number(order)
        ratios = [1 - (mpmath.mpf(1) - s) / mpmath.mpf(1.75) for s in scores]
        terms = [mpmath.mpf(1), 0, 0, 0] if n == mpmath.inf else [x**n if x > 0 else mpmath.mpf(0) for x in ratios]
        inside(found.weights, [x / mpmath.fsum(terms) for x in terms], bits)
    assert found.support.tolist() == ([True, False, False, False] if order == "inf" else [True, True, False, False])


@pytest.mark.parametrize("order", ["1/2", "1", "2", "2.7", "64", "inf"])
def test_adaptive_is_entmax_of_beta_s_and_the_mass_equation_holds(order: str) -> None:
    scores = [-0.25, -0.5, -3.0, -0.375]
    ours = reference.weights(scores, Kernel(order), Adaptive(1.5)).weights
    entmax = reference.entmax([1.5 * s for s in scores], order=order).weights
    assert np.all(ours.lo <= entmax.hi) and np.all(entmax.lo <= ours.hi)
    if order == "inf":
        return
    n = float(Kernel(order).order)
    tau = float(reference.weights(scores, Kernel(order), Adaptive(1.5)).threshold.lo)
    # h² = −2nτ/β solves Σ [h² − D]₊^n = (2n/β)^n (docs/theory.md §1, C3 and C4).
    square = -2 * n * tau / 1.5
    mass = sum(max(square + 2 * s, 0.0) ** n for s in scores)
    # float64 evaluation of an n-th power: about 4n roundings.
    assert mass / (2 * n / 1.5) ** n == pytest.approx(1.0, rel=(4 * n + 8) * 2.0**-52 * 16)


def test_anchored_at_the_adaptive_gamma_is_entmax() -> None:
    z = [0.0, -0.25, -0.5, -2.0]
    entmax = reference.entmax(z, order=1)
    # Order 1: τ and γ = max z − τ are dyadic here, so the rule can be given γ exactly: supports {0, −1/4, −1/2}.
    gamma = Fraction(1, 3) * (1 + Fraction(3, 4))
    anchored = reference.weights(z, Kernel(1), Anchored(gamma))
    assert np.array_equal(anchored.weights.round("float64"), entmax.weights.round("float64"))


def test_nearest_keeps_k_and_ties_are_admissible_choices() -> None:
    found = reference.weights([0.0, 2.0, 1.0, 1.5], Kernel(0), Nearest(2))
    assert found.weights.round("float64").tolist() == [0.0, 0.5, 0.0, 0.5]
    assert not found.unsure
    tied = reference.weights([1.0, 2.0, 1.0], Kernel("inf"), Nearest(2))
    assert tied.unsure and tied.support.tolist() == [True, True, False]
    assert reference.weights([1.0, 2.0], Kernel("inf"), Nearest(9)).support.all()


@pytest.mark.parametrize("order", ["1", "2", "5/2"])
@pytest.mark.parametrize(
    ("empty", "expected"),
    [("zeros", [0, 0, 0]), ("nan", [np.nan] * 3), ("uniform", [1 / 3] * 3), ("nearest", [0.5, 0, 0.5])],
)
def test_an_empty_ball_is_filled_as_the_caller_says(order: str, empty: str, expected: list[float]) -> None:
    found = reference.weights([-2.0, -3.0, -2.0], Kernel(order), Fixed(2), empty=empty)
    assert found.empty
    assert np.array_equal(found.weights.round("float64"), np.array(expected), equal_nan=True)
    with pytest.raises(DomainError, match="nothing to attend to"):
        reference.weights([-2.0, -3.0], Kernel(order), Fixed(2), empty="raise")


def test_order_zero_closed_ball_at_its_edge() -> None:
    assert reference.weights([-2.0, -2.5], Kernel(0), Fixed(2)).weights.round("float64").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("bits", [160, 240])
@pytest.mark.parametrize("rule", [Fixed(5.0), Anchored(3.0), Adaptive(0.5), Nearest(3)], ids=str)
@pytest.mark.parametrize("order", ["1/2", "1", "2", "8", "inf"])
def test_regression_and_attention_are_weighted_means(rule: Any, order: str, bits: int) -> None:
    generator = np.random.default_rng(2)
    q, k, v = (generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), (6, 4), (6, 2)))
    y = reference.regression(q, k, v, Kernel(order), rule).y
    with mpmath.workprec(bits):
        exact = [[[mpmath.mpf(float(x)) for x in row] for row in array] for array in (q, k, v)]
        for t in range(3):
            scores = [-mpmath.fsum((a - b) ** 2 for a, b in zip(exact[0][t], key, strict=True)) / 2 for key in exact[1]]
            # Scores of float32 vectors are exact rationals; Fractions carry them into `weights`.
            fractions = [Fraction(int(mpmath.floor(s * 2**120)), 2**120) for s in scores]
            w = reference.solver.Solver(
                reference.Mechanism(Kernel(order), rule),
                reference.solver.choose("mpmath", reference.Mechanism(Kernel(order), rule)),
            )
            row = reference.rows.exact_row(list(fractions))
            truth = w.solve(row, bits)
            with w.working(bits):
                for c in range(2):
                    expected = mpmath.fsum(
                        x * exact[2][key][c] for key, x in zip(truth.keys, truth.weights, strict=True)
                    )
                    slack = mpmath.mpf(2) ** -60
                    assert mpmath.mpf(y.lo[t, c]) - slack <= expected <= mpmath.mpf(y.hi[t, c]) + slack
    attended = reference.attention(q[None], k[None], v[None], Kernel(order), rule, scale=1.0, key_norm_term=True)
    assert np.array_equal(attended.y.round("float64")[0], y.round("float64"))


def test_attention_options() -> None:
    generator = np.random.default_rng(4)
    q, k, v = (generator.normal(size=shape) for shape in ((2, 4, 5, 3), (2, 2, 7, 3), (2, 2, 7, 2)))
    kernel, rule = Kernel(2), Adaptive(1.0)
    mask = generator.random((2, 4, 5, 7)) < 0.7
    mask[..., 0] = True
    full = reference.attention(q, k, v, kernel, rule, mask=mask, causal=True, lengths=[7, 4])
    assert full.y.shape == (2, 4, 5, 2)
    size = np.arange(7)
    for b, h, t in [(0, 0, 0), (0, 3, 4), (1, 1, 2), (1, 2, 4)]:
        live = mask[b, h, t] & (size <= t + 2) & (size < (7, 4)[b])
        alone = reference.attention(
            q[b, h, t][None, None], k[b, h // 2][None], v[b, h // 2][None], kernel, rule, mask=live[None, None]
        )
        assert np.array_equal(alone.y.round("float64").ravel(), full.y.round("float64")[b, h, t])
        assert not full.weighting.support[b, h, t][~live].any()
    additive = reference.attention(
        q, k, v, kernel, rule, mask=np.where(mask, 0.0, -np.inf), causal=True, lengths=[7, 4]
    )
    assert np.array_equal(additive.y.round("float64"), full.y.round("float64"))
    assert np.all(full.log_normalizer.lo >= -1e-300) and np.all(full.log_normalizer.hi <= np.log(7))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reference.weights([0.0], Kernel(0), Adaptive()), "order 0"),
        (lambda: reference.weights([0.0], Kernel(1), Fixed(0)), "positive"),
        (lambda: reference.weights([0.0], Kernel(1), Fixed(float("nan"))), "nan"),
        (lambda: reference.weights([0.0], Kernel(1), Nearest(0)), "0"),
        (lambda: reference.weights([0.0], WRONG, Fixed(1)), "Kernel"),
        (lambda: reference.weights([0.0], Kernel(1), WRONG), "fixed"),
        (lambda: reference.weights([0.0], Kernel(1), Fixed(1), empty="maybe"), "maybe"),
        (
            lambda: reference.regression(np.zeros((2, 3)), np.zeros((4, 2)), np.zeros((4, 1)), Kernel(1), Fixed(1)),
            "(4, 2)",
        ),
        (
            lambda: reference.attention(
                np.zeros((3, 2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), Kernel(1), Adaptive()
            ),
            "(3, 2, 2)",
        ),
        (lambda: reference.weights_vjp([0.0, 1.0], [1.0], Kernel(1), Adaptive()), "(1,)"),
        (lambda: reference.entmax_vjp([0.0, 1.0], [1.0, np.inf]), "index (1,)"),
        (lambda: mechanism("sparsmax"), "sparsemax"),
        (lambda: mechanism("biweight", gamma=2), "gamma"),
    ],
)
def test_bad_input_says_what_came(call: Any, words: str) -> None:
    with pytest.raises(DomainError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_names_are_points_of_the_plane() -> None:
    assert mechanism("sparsemax") == (Kernel(1), Adaptive())
    assert mechanism("topk_softmax", k=3) == (Kernel("inf"), Nearest(3))
    assert mechanism("triweight", h=2) == (Kernel(3), Fixed(2))
    assert mechanism("relumax") == (Kernel(1), Anchored(1))


def test_the_radius_of_a_fraction_is_not_lost_to_underflow() -> None:
    found = reference.weights([1e304, 0.25], Kernel(1), Fixed(1.0)).weights
    heads, tails, radii = found.split()
    near, far = Fraction(1, 2) + Fraction(0.25), Fraction(1, 2) + Fraction(1e304)
    left = abs(near / (near + far) - Fraction(float(heads[1])) - Fraction(float(tails[1])))
    assert 0 < left <= Fraction(float(radii[1]))
