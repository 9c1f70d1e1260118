"""The two row cores against bisection in mpmath, in condition units, and against each other."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from kernelproof.verify.backends._arrays.core import KINDS, Law, RowCore
from kernelproof.verify.backends.numba.careful import careful_core as compiled
from kernelproof.verify.backends.numpy import core as dense

Floats = NDArray[np.float64]
CORES: dict[str, RowCore] = {"numpy": dense.CORE, "numba": compiled.CORE}
ORDERS = (1 / 16, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 8.0, 64.0, 1e4, 1e8, np.inf)
HEAVY = (-1 - 2.0**-52, -1.5, -2.0, -64.0, -1e6)
U = 2.0**-53
# Grade A; the unit is the condition of the problem (docs/theory.md §4).
KAPPA = 4.0


@pytest.fixture(params=sorted(CORES))
def core(request: pytest.FixtureRequest) -> RowCore:
    return CORES[request.param]


def truth(gaps: list[mpmath.mpf], n: float) -> tuple[list[mpmath.mpf], list[mpmath.mpf]]:
    """p and ``w = p^(1 − 1/n)`` by bisection on the definition, in the threshold below the top."""
    if n == np.inf:
        terms = [mpmath.exp(-d) for d in gaps]
        p = [t / mpmath.fsum(terms) for t in terms]
        return p, p
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    order = mpmath.mpf(n)
    for _ in range(mpmath.mp.prec - 20):
        u = (low + high) / 2
        mass = mpmath.fsum((u - d / order) ** order for d in gaps if d / order < u)
        low, high = (low, u) if mass > 1 else (u, high)
    u = (low + high) / 2
    parts = [max(u - d / order, mpmath.mpf(0)) for d in gaps]
    return [t**order for t in parts], [t ** (order - 1) if t else mpmath.mpf(0) for t in parts]


def rows_for(n: float, rng: np.random.Generator) -> list[Floats]:
    """Random at several scales, near ties, ties, and supports planted 1 part in 1e3 to 1e10 from their edge."""
    reach = min(n, 50.0)
    rows = [rng.normal(size=7) * scale for scale in (1e-3, 0.05, 1.0, 30.0, 1e3)]
    rows += [rng.normal() + rng.normal(size=6) * 10.0**-power for power in (4, 9, 15)]
    rows += [np.zeros(5), np.array([3.0]), np.array([0.0, -np.inf, -0.01, -np.inf])]
    rows += [-reach * np.array([0.0, 1 - 10.0**-power, 1 - 10.0**-power]) for power in (3, 6, 10)]
    return rows


def precision(n: float) -> int:
    """Bits at which bisection still sees weights of 1e-12: p = u^n."""
    return 260 if n >= 1 else int(200 + 50 / n)


@pytest.mark.parametrize("n", ORDERS)
def test_weights_are_within_grade_a(core: RowCore, n: float) -> None:
    rng = np.random.default_rng(7)
    with mpmath.workprec(precision(n)):
        for row in rows_for(n, rng):
            found = core.forward(row[None], Law("adaptive", n, 1.0))
            finite = row > -np.inf
            gaps = [mpmath.mpf(float(row.max())) - mpmath.mpf(float(s)) for s in row[finite]]
            p, w = truth(gaps, n)
            total, spread = mpmath.fsum(w), mpmath.fsum(a * d for a, d in zip(w, gaps, strict=True))
            for got, p_i, w_i, d in zip(found.weights[0][finite], p, w, gaps, strict=True):
                if p_i < 1e-12:  # below what the bisection resolves for n < 1
                    assert got < 2e-12
                    continue
                unit = p_i + w_i * ((1 - 2 * w_i / total) * d + spread / total)
                assert abs(mpmath.mpf(float(got)) - p_i) <= KAPPA * U * unit, (row, got, p_i)
            assert not found.weights[0][~finite].any()
            assert abs(found.weights.sum() - 1) <= 4 * U


@pytest.mark.parametrize("n", [1.5, 2.0, 8.0, 1e4, 1e8, np.inf])
def test_gradients_match_differences_of_the_truth(core: RowCore, n: float) -> None:
    rng = np.random.default_rng(3)
    step = mpmath.mpf(2) ** -80  # with 260 bits central differences are good to 2^-100
    for _ in range(3):
        row, cotangent = rng.normal(size=5), rng.normal(size=5)
        got = core.backward(row[None], cotangent[None], Law("adaptive", n, 1.25))
        with mpmath.workprec(260):
            s = [mpmath.mpf(float(value)) for value in row]

            def value(s: list[mpmath.mpf], beta: mpmath.mpf, g: Floats = cotangent) -> mpmath.mpf:
                p, _ = truth([beta * (max(s) - a) for a in s], n)
                return mpmath.fsum(a * mpmath.mpf(float(b)) for a, b in zip(p, g, strict=True))

            beta = mpmath.mpf(1.25)
            expected = []
            for i in range(5):
                up, down = list(s), list(s)
                up[i] += step
                down[i] -= step
                expected.append(float((value(up, beta) - value(down, beta)) / (2 * step)))
            of_beta = float((value(s, beta + step) - value(s, beta - step)) / (2 * step))
        # Numbers of order 1 with condition of order 10: 64 roundings.
        np.testing.assert_allclose(got.scores[0], expected, rtol=0, atol=64 * U)
        np.testing.assert_allclose(got.parameter[0], of_beta, rtol=0, atol=64 * U)


@pytest.mark.parametrize("alpha", [1.0625, 1.25, 1.5, 2.0, 3.0])
def test_gradient_in_alpha_matches_differences(core: RowCore, alpha: float) -> None:
    row, cotangent = np.array([0.3, 0.0, -0.2, 0.25]), np.array([1.0, -0.5, 0.25, 2.0])
    n = 1 / (alpha - 1)
    got = core.backward(row[None], cotangent[None], Law("adaptive", n, 1.0))
    with mpmath.workprec(400):
        gaps = [mpmath.mpf(0.3) - mpmath.mpf(float(s)) for s in row]
        step = mpmath.mpf(2) ** -100

        def value(a: mpmath.mpf) -> mpmath.mpf:
            p, _ = truth(gaps, 1 / (a - 1))
            return mpmath.fsum(x * mpmath.mpf(float(y)) for x, y in zip(p, cotangent, strict=True))

        expected = float((value(mpmath.mpf(alpha) + step) - value(mpmath.mpf(alpha) - step)) / (2 * step))
    np.testing.assert_allclose(got.alpha[0], expected, rtol=0, atol=64 * U * max(1, abs(expected)))
    np.testing.assert_allclose(got.order[0], -expected / n**2, rtol=0, atol=64 * U * max(1, abs(expected)) / n**2)


def test_gradient_in_alpha_at_softmax(core: RowCore) -> None:
    row, cotangent = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    p = np.exp(row - 2.0) / np.exp(row - 2.0).sum()
    logs = np.log(p)
    expected = (cotangent * p * ((p * logs**2).sum() - logs**2) / 2).sum()
    at_infinity = core.backward(row[None], cotangent[None], Law("adaptive", np.inf, 1.0))
    near = core.backward(row[None], cotangent[None], Law("adaptive", 1e8, 1.0))
    np.testing.assert_allclose(at_infinity.alpha[0], expected, rtol=32 * U)
    assert at_infinity.order[0] == 0
    # A weight at order n is that of ∞ but for (1 + d)²/n of it, to d = 3, and the gradient is a sum of such terms.
    np.testing.assert_allclose(near.alpha[0], expected, rtol=4 * (1 + 3) ** 2 / 1e8)


@pytest.mark.parametrize(("kind", "n"), list(itertools.product(KINDS, (0.0, *ORDERS, *HEAVY))))
def test_the_cores_agree(kind: str, n: float) -> None:
    rng = np.random.default_rng(11)
    scores = rng.normal(size=(6, 9)) * 2
    scores[0, 3], scores[1], scores[2, 1:] = -np.inf, -np.inf, -np.inf
    cotangent = rng.normal(size=scores.shape)
    for parameter in (0.7, 3.0, 1e-120, 1e120):
        law = Law(kind, n, parameter)  # type: ignore[arg-type] # KINDS are the literals
        a, b = dense.CORE.forward(scores, law), compiled.CORE.forward(scores, law)
        # Both are within 4 condition units, which here are at most some 100 roundings.
        np.testing.assert_allclose(a.weights, b.weights, rtol=800 * U, atol=0)
        np.testing.assert_array_equal(a.support, b.support)
        np.testing.assert_array_equal(a.empty, b.empty)
        np.testing.assert_allclose(a.log_normalizer, b.log_normalizer, rtol=800 * U, atol=800 * U)
        alive = ~a.empty
        np.testing.assert_allclose(a.reach[alive], b.reach[alive], rtol=800 * U)
        if n != 0:
            c, d = dense.CORE.backward(scores, cotangent, law), compiled.CORE.backward(scores, cotangent, law)
            for name in ("scores", "order", "alpha", "parameter"):
                one, two = getattr(c, name), getattr(d, name)
                assert np.isfinite(one).all()
                np.testing.assert_allclose(one, two, rtol=1e5 * U, atol=1e4 * U * np.abs(one).max(initial=1e-300))


@pytest.mark.parametrize("n", [1.0, 2.0, 3.0])
def test_ties_at_the_kink_of_integer_orders_are_decided(core: RowCore, n: float) -> None:
    rows = np.array([[0.0, -n, -n], [5.0, 5.0 - n, 0.0], [1e3, 1e3 - n + 2**-40, 0.0]])
    found = core.forward(rows, Law("adaptive", n, 1.0))
    assert found.support.tolist() == [[True, False, False], [True, False, False], [True, True, False]]
    np.testing.assert_array_equal(found.weights[:2], [[1, 0, 0], [1, 0, 0]])


def test_fixed_decides_the_edge_of_the_ball_exactly(core: RowCore) -> None:
    h = 0.1  # h² is no float64: D = fl(h²) lies above it
    edge = -0.1 * 0.1 / 2
    scores = np.array([[0.0, edge, np.nextafter(edge, 0)]])
    for order in (0.0, 1.0, 0.5, 1e8):
        support = core.forward(scores, Law("fixed", order, h)).support
        assert support.tolist() == [[True, False, True]]
    exact = core.forward(np.array([[0.0, -4.5]]), Law("fixed", 0.0, 3.0)).support
    assert exact.tolist() == [[True, True]]  # the ball of order 0 is closed
    assert core.forward(np.array([[0.0, -4.5]]), Law("fixed", 1.0, 3.0)).support.tolist() == [[True, False]]


@pytest.mark.parametrize("n", [0.5, 1.0, 1.5, 2.0, 64.0, np.inf])
def test_gaps_that_overflow_are_outside(core: RowCore, n: float) -> None:
    scores = np.array([[1e308, -1e308, -np.inf], [1e30, -1e30, 1e30]])
    found = core.forward(scores, Law("adaptive", n, 1.0)).weights
    np.testing.assert_allclose(found, np.array([[1, 0, 0], [0.5, 0, 0.5]]), rtol=4 * U)
    small = core.forward(scores[:1, :2], Law("adaptive", n, 1e-308)).weights
    same = core.forward(np.array([[1.0, -1.0]]), Law("adaptive", n, 1.0)).weights
    # 1e308·1e-308 is 1 to a rounding or two, and n = 2 has its kink there.
    np.testing.assert_allclose(small, same, rtol=64 * U, atol=U)


@pytest.mark.parametrize("n", [0.5, 1.0, 2.0, np.inf, -1.5, -2.0])
def test_subnormal_scores_are_uniform(core: RowCore, n: float) -> None:
    found = core.forward(np.array([[5e-324, 0.0, -5e-324, 1e-310]]), Law("adaptive", n, 1.0)).weights
    np.testing.assert_allclose(found, 0.25, rtol=4 * U)


@pytest.mark.parametrize("n", [1 / 16, 0.5, 1.0, 2.0])
def test_kinks_give_numbers_in_gradients(core: RowCore, n: float) -> None:
    rows = np.array([[0.0, -n, -n], [0.0, 0.0, 0.0], [0.0, -n * (1 - 1e-15), -n * (1 - 1e-15)]])
    for kind in KINDS:
        found = core.backward(rows, np.ones_like(rows) + np.eye(3), Law(kind, n, 1.0))
        for part in (found.scores, found.order, found.alpha, found.parameter):
            assert np.isfinite(part).all()


def test_long_rows_sum_to_one(core: RowCore) -> None:
    scores = np.random.default_rng(0).normal(size=(1, 100_000)) * 1e-3
    for n in (1.5, 8.0, np.inf, -2.0, -64.0):
        weights = core.forward(scores, Law("adaptive", n, 1.0)).weights
        assert abs(mpmath.fsum(float(w) for w in weights[0]) - 1) <= 4 * U


def test_extreme_orders_do_not_fail(core: RowCore) -> None:
    row = np.array([[0.0, -1e-3, -0.5, -30.0]])
    for n in (1e-300, 1e-2, 1e12, 1e300, -1e12, -1e300):
        weights = core.forward(row, Law("adaptive", n, 1.0)).weights
        assert abs(weights.sum() - 1) <= 4 * U
        assert np.isfinite(core.backward(row, row, Law("adaptive", n, 1.0)).alpha).all()
