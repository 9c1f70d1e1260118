"""Vector-Jacobian products of every op and rule, against mpmath differentiation of the definition at two precisions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, Fixed, Kernel, Nearest

ORDERS = ["1/2", "1", "3/2", "2", "3", "8", "64", "1e4", "inf"]
SCORES = [-0.3, -0.55, -1.7, -0.9, -40.0]
COTANGENT = [0.7, -1.3, 0.4, 2.1, 5.0]


def defined(scores: list[Any], order: Any, rule: Any, parameter: Any) -> list[Any]:
    """Weights from the definitions, in mpmath: kernel profile times rule, the mass equation by bisection."""
    if isinstance(rule, Nearest):
        kept = sorted(range(len(scores)), key=lambda i: -scores[i])[: rule.k]
        inner = defined([scores[i] for i in kept], order, rule.then, parameter)
        return [inner[kept.index(i)] if i in kept else mpmath.mpf(0) for i in range(len(scores))]
    infinite = order == mpmath.inf
    if isinstance(rule, Adaptive):
        z = [parameter * s for s in scores]
        if infinite:
            terms = [mpmath.exp(x - max(z)) for x in z]
        else:
            low, high = max(z) / order - 1, max(z) / order
            for _ in range(int(mpmath.mp.prec / min(order, 1)) + 8):
                tau = (low + high) / 2
                mass = mpmath.fsum((x / order - tau) ** order for x in z if x / order > tau)
                low, high = (tau, high) if mass >= 1 else (low, tau)
            return [(x / order - low) ** order if x / order > low else mpmath.mpf(0) for x in z]
    elif isinstance(rule, Fixed):
        # D = −2s: the kernel of D/h², and the Gaussian of variance h² at n = ∞.
        t = [-2 * s / parameter**2 for s in scores]
        terms = [mpmath.exp(-x / 2) if infinite else (1 - x) ** order if x < 1 else mpmath.mpf(0) for x in t]
    else:
        gaps = [(max(scores) - s) / parameter for s in scores]
        terms = [(1 - x) ** order if x < 1 else mpmath.mpf(0) for x in gaps]
    return [term / mpmath.fsum(terms) for term in terms]


def derivative(function: Callable[[Any], Any], at: Any) -> Any:
    """Central difference; at precision P its error is about 2^(−2P/3)."""
    step = mpmath.mpf(2) ** (-mpmath.mp.prec // 3)
    return (function(at + step) - function(at - step)) / (2 * step)


@pytest.mark.parametrize("bits", [180, 240])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rule", [Adaptive(1.5), Fixed(1.75), Anchored(1.25), Nearest(3, Adaptive(0.5))], ids=str)
def test_weights_vjp_is_the_derivative(rule: Any, order: str, bits: int) -> None:
    inner = rule.then if isinstance(rule, Nearest) else rule
    if order == "inf" and isinstance(inner, Anchored):
        pytest.skip("argmax has no derivative to compare")
    found = reference.weights_vjp(SCORES, COTANGENT, Kernel(order), rule)
    name = {Adaptive: "beta", Fixed: "h", Anchored: "gamma"}[type(inner)]
    exact = reference.Kernel(order).order
    with mpmath.workprec(bits):
        n = mpmath.mpf(exact.numerator) / exact.denominator if isinstance(exact, Fraction) else mpmath.inf
        scores = [mpmath.mpf(s) for s in SCORES]
        parameter = mpmath.mpf(getattr(inner, name))

        def loss(s: list[Any], order: Any, parameter: Any) -> Any:
            return mpmath.fsum(g * w for g, w in zip(COTANGENT, defined(s, order, rule, parameter), strict=True))

        def along(i: int) -> Callable[[Any], Any]:
            return lambda x: loss([x if j == i else s for j, s in enumerate(scores)], n, parameter)

        expected = [derivative(along(i), score) for i, score in enumerate(scores)]
        close(found["scores"], expected, bits)
        close(found[name], [derivative(lambda x: loss(scores, n, x), parameter)], bits)
        if order != "inf":
            close(found["order"], [derivative(lambda x: loss(scores, x, parameter), n)], bits)


def close(found: Any, expected: list[Any], bits: int) -> None:
    # Truncation of the central difference is h²·|f‴| with h = 2^(−bits/3), and |f‴| < 2^30 on these rows.
    slack = mpmath.mpf(2) ** (30 - 2 * bits // 3)
    lo, hi = np.atleast_1d(found.lo).ravel(), np.atleast_1d(found.hi).ravel()
    for low, high, value in zip(lo, hi, expected, strict=True):
        assert mpmath.mpf(float(low)) - slack <= value <= mpmath.mpf(float(high)) + slack


@pytest.mark.parametrize("bits", [180, 240])
def test_alpha_gradient_at_softmax(bits: int) -> None:
    z, g = [0.5, -0.25, 1.0], [1.0, 2.0, -0.5]
    found = reference.entmax_vjp(z, g, alpha=1)["alpha"]
    with mpmath.workprec(bits):
        p = defined([mpmath.mpf(x) for x in z], mpmath.inf, Adaptive(1), mpmath.mpf(1))
        logs = [mpmath.log(x) for x in p]
        spread = mpmath.fsum(x * log**2 for x, log in zip(p, logs, strict=True))
        expected = mpmath.fsum(c * x * (spread - log**2) / 2 for c, x, log in zip(g, p, logs, strict=True))
        close(found, [expected], 3 * bits)
    near = reference.entmax_vjp(z, g, alpha=1 + 2.0**-30)["alpha"]
    # The derivative is continuous at α = 1 with a bounded slope: 2^-30 away it differs by about that much.
    assert abs(float(near.lo) - float(found.lo)) < 2.0**-26


def test_chain_rule_of_regression_and_attention() -> None:
    generator = np.random.default_rng(5)
    q, k, v, g = (generator.normal(size=shape) for shape in ((2, 3), (4, 3), (4, 2), (2, 2)))
    bits = 180
    for distance in (True, False):
        if distance:
            found = reference.regression_vjp(q, k, v, g, Kernel(2), Fixed(4.0))
        else:
            found = reference.attention_vjp(q[None], k[None], v[None], g[None], Kernel(2), Adaptive(1.5), scale=0.5)
        with mpmath.workprec(bits):

            def loss(arrays: dict[str, Any], distance: bool = distance) -> Any:
                total = mpmath.mpf(0)
                for t in range(2):
                    if distance:
                        scores = [
                            -mpmath.fsum((a - b) ** 2 for a, b in zip(arrays["q"][t], key, strict=True)) / 2
                            for key in arrays["k"]
                        ]
                        w = defined(scores, mpmath.mpf(2), Fixed(4.0), mpmath.mpf(4))
                    else:
                        scores = [mpmath.fdot(arrays["q"][t], key) / 2 for key in arrays["k"]]
                        w = defined(scores, mpmath.mpf(2), Adaptive(1.5), mpmath.mpf(1.5))
                    for c in range(2):
                        total += mpmath.mpf(g[t, c]) * mpmath.fsum(
                            x * row[c] for x, row in zip(w, arrays["v"], strict=True)
                        )
                return total

            base = {
                name: [[mpmath.mpf(x) for x in row] for row in array] for name, array in (("q", q), ("k", k), ("v", v))
            }
            for name in "qkv":
                for i, row in enumerate(base[name]):
                    for j, value in enumerate(row):

                        def moved(x: Any, name: str = name, i: int = i, j: int = j, base: dict[str, Any] = base) -> Any:
                            changed = {key: [list(line) for line in lines] for key, lines in base.items()}
                            changed[name][i][j] = x
                            return loss(changed)

                        expected = derivative(moved, value)
                        flat = (
                            found[name].lo.reshape(len(base[name]), -1)[i, j],
                            found[name].hi.reshape(len(base[name]), -1)[i, j],
                        )
                        slack = mpmath.mpf(2) ** (30 - 2 * bits // 3)
                        assert mpmath.mpf(flat[0]) - slack <= expected <= mpmath.mpf(flat[1]) + slack


def test_masked_keys_and_empty_rows_have_gradient_zero() -> None:
    z = [[0.0, -np.inf, 0.5], [-np.inf] * 3]
    found = reference.entmax_vjp(z, np.ones((2, 3)) * [1.0, 5.0, -2.0], order="3/2")["z"].round("float64")
    assert found[0, 1] == 0.0 and np.all(found[1] == 0.0) and found[0, 0] != 0.0


def test_mpmath_gradients_agree() -> None:
    for order in ["1/2", "1", "3/2", "8", "inf"]:
        rules: list[Any] = [Adaptive(2), Fixed(3), Anchored(2)]
        for rule in rules:
            if order == "inf" and isinstance(rule, Anchored):
                continue
            ours = reference.weights_vjp(SCORES, COTANGENT, Kernel(order), rule)
            second = reference.weights_vjp(SCORES, COTANGENT, Kernel(order), rule, arithmetic="mpmath")
            for name, enclosure in ours.items():
                assert np.all(enclosure.lo <= second[name].hi) and np.all(second[name].lo <= enclosure.hi)
