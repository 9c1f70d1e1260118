"""Entmax is the optimal trade-off between score and entropy: the unique maximizer of ⟨p, z⟩ + H_α(p)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isinf
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx
from hypothesis import assume
from hypothesis import strategies as st
from scipy.optimize import nnls

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.finding import Evidence, Finding
from kernelproof.theory.statement import Statement

Cost = Callable[[Any, Any], Any]
Case = tuple[list[float], draws.Order, list[int]]


def tsallis_cost(p: Any, alpha: Any) -> Any:
    """``p^α/(α(α − 1))``, the amount by which a weight reduces the entropy; in any arithmetic."""
    return p**alpha / (alpha * (alpha - 1))


def build(cost: Cost = tsallis_cost, *, sign: int = 1) -> Claim:
    """The claim with the entropy ``const − Σ cost(p_i, α)``; if `sign` is −1, the claim of a minimum."""

    def stationary(settings: Settings) -> Finding:
        u, c, p = sympy.symbols("u c p", positive=True)
        e = sympy.Symbol("epsilon", real=True, nonzero=True)
        slope = sympy.diff(cost(p, 1 + e), p).subs(p, u ** (1 / e))
        return symbolic.identities(
            ("slope of the cost at p = u^n, u = z/n − τ", slope, u / e),
            ("slope of Shannon's cost at p = c·exp(z)", sympy.diff(p * sympy.log(p), p).subs(p, c), sympy.log(c) + 1),
            given=(1 + e,),
            domain="all ε = 1/n = α − 1 above −1 but 0, u > 0; α = 1: all c > 0",
            detail="at p = entmax_n(z) the slope φ′(p_i) of the cost φ is z_i − μ on the support, with μ = nτ (α = 1: "
            "log p_i + 1 = z_i − μ); off it, which occurs for n > 0 only, φ′(0) = 0 ≥ z_i − μ",
            seed=settings.seed,
        )

    def split(settings: Settings) -> Finding:
        z, mu, p, r, there, here = sympy.symbols("z mu p r phi_r phi_p", real=True)
        key = p * z - here - r * z + there
        return symbolic.identities(
            ("a key of the support, φ′(p) = z − μ", key, there - here - (z - mu) * (r - p) - mu * (r - p)),
            ("a key off it, p = φ(0) = 0", key.subs({p: 0, here: 0}), there + r * (mu - z) - mu * r),
            domain="all rows r of the simplex, key by key",
            detail="objective at p minus objective at r; the terms μ(r_i − p_i) sum to 0, as both rows sum to 1. "
            "What is left is a Bregman divergence on the support, and φ(r_i) + r_i(μ − z_i) ≥ 0 off it",
            seed=settings.seed,
        )

    def bregman(settings: Settings) -> Finding:
        p, x = sympy.symbols("p x", positive=True)
        rate = sympy.Symbol("epsilon", real=True, nonzero=True)
        alpha = 1 + rate
        phi = cost(x, alpha)
        at_one = sympy.diff(phi, x).subs(x, 1)
        divergence = phi - phi.subs(x, 1) - at_one * (x - 1)
        scaled = cost(p * x, alpha) - cost(p, alpha) - sympy.diff(cost(x, alpha), x).subs(x, p) * (p * x - p)
        return symbolic.identities(
            ("r = px: the divergence is p^α times that of x from 1", scaled, p**alpha * divergence),
            ("at x = 1", divergence.subs(x, 1), 0),
            ("its slope at x = 1", sympy.diff(divergence, x).subs(x, 1), 0),
            ("r = 0", -cost(p, alpha) + p * sympy.diff(cost(x, alpha), x).subs(x, p), p**alpha / alpha),
            ("α = 1, r = px", p * x * sympy.log(p * x) - p * sympy.log(p) - (sympy.log(p) + 1) * (p * x - p),
             p * (x * sympy.log(x) - x + 1)),
            ("α = 1, r = 0", sympy.limit(p * (x * sympy.log(x) - x + 1), x, 0, "+"), p),
            given=(alpha,),
            domain="all α > 0, p > 0, and r = 0 or x = r/p > 0",
            detail="by Taylor, with the sign of the second derivative, the divergence is above 0 unless r = p; at "
            "r = 0 it is p^α/α, or p",
            seed=settings.seed,
        )  # fmt: skip

    def convex(settings: Settings) -> Finding:
        x, rate = sympy.Symbol("x", positive=True), sympy.Symbol("epsilon", real=True, nonzero=True)
        return symbolic.positive(
            ("second derivative of the cost, α = 1 + ε", sign * sympy.simplify(sympy.diff(cost(x, 1 + rate), x, 2))),
            ("of Shannon's", sign * sympy.diff(x * sympy.log(x), x, 2)),
            given=(1 + rate,),
            domain="all α > 0 and x > 0",
            detail="the cost is strictly convex, so the difference is above 0 for every r ≠ p: a maximum, and only one",
            seed=settings.seed,
        )

    def competitors(settings: Settings) -> Finding:
        shares = st.lists(st.integers(0, 12), min_size=6, max_size=6)
        return sampled.positive(
            st.tuples(draws.logits(), draws.all_orders(), shares),
            lambda case: sign * _lead(cost, case, settings.precision),
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to ∞ and −32 to −9/8, "
            "rational rows r ≠ p",
            detail="objective at the oracle's weights minus objective at r",
            show=lambda case: f"z = {case[0]}, n = {draws.name(case[1])}, r ∝ {case[2][: len(case[0])]}",
        )

    def program(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_programs(settings))
        return certified.agree(
            pairs,
            domain="40 seeded rows of 2 to 12 logits from N(0, 1), n = 1",
            width=1e-7,
            evidence=Evidence.SAMPLED,
            detail="sparsemax against the quadratic program min ‖r − z‖² on the simplex, solved by scipy.optimize.nnls "
            "as Lawson and Hanson's least-distance problem; its answer is allowed the rounding of a least-squares "
            "solution, 4mκ²(1 + Σ|z_i|)·2^−52 over the last residual, κ the condition number of the columns it chose",
        )

    return Claim(
        id="variational",
        title="Entmax maximizes score plus entropy",
        statement=r"Let $\alpha = 1 + 1/n$. $\mathrm{entmax}_n(z)$ is the only maximizer of "
        r"\[\langle p, z\rangle + H_\alpha(p), \qquad H_\alpha(p) = \frac{1 - \sum_i p_i^\alpha}{\alpha(\alpha - 1)}\] "
        r"over the simplex; $H_1$, at $n = \infty$, is Shannon's entropy $-\sum_i p_i \log p_i$.",
        source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, ACL 2019; softmax: Gibbs' inequality",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$"),
            Variable("p", r"$p_i \ge 0$, $\sum_i p_i = 1$"),
            Variable(r"\alpha", r"$0 < \alpha < \infty$; below 1 the order is $n < -1$"),
        ),
        formal=Statement(domains.domain({"epsilon": domains.nonzero()}, "epsilon + 1 > 0")),
        argument="The objective is a sum over keys; each term of the difference is shown, and its sign by Taylor's "
        "theorem from the second derivative. That the terms with the multiplier cancel because both rows "
        "sum to 1 is said.",
        checks=(
            Check("stationary", r"at entmax the slope of the cost is $z_i - \mu$", Role.PROOF, stationary),
            Check("split", "the lead over any other row is a sum of divergences", Role.PROOF, split),
            Check("divergence", "a divergence and its slope vanish at equality", Role.PROOF, bregman),
            Check("convex", "the cost is strictly convex", Role.PROOF, convex),
            Check("competitors", "no row drawn does better than the oracle's weights", Role.SUPPORT, competitors),
            Check("quadratic_program", "SciPy's solution of sparsemax's program", Role.REFEREE, program),
        ),
    )


def _lead(cost: Cost, case: Case, precision: int) -> arb:
    z, order, shares = case
    part = shares[: len(z)]
    assume(sum(part) > 0)
    p = draws.solved(z, order, precision)
    r = [arb(share) / sum(part) for share in part]
    # If the two rows are equal, or their balls overlap, there is nothing to compare.
    assume(any(not a.overlaps(b) for a, b in zip(p, r, strict=True)))

    def objective(row: list[arb]) -> arb:
        return sum((w * arb(x) - value(w) for w, x in zip(row, z, strict=True) if not w.is_zero()), start=arb(0))

    def value(w: arb) -> arb:
        return w * w.log() if isinf(order) else cost(w, 1 + 1 / draws.order_ball(order))

    return objective(p) - objective(r)


def _programs(settings: Settings) -> Iterator[tuple[str, arb, arb]]:
    generator = np.random.default_rng(settings.seed)
    for _ in range(40):
        z = generator.normal(size=generator.integers(2, 13))
        found, radius = _projection(z)
        exact = draws.solved(z.tolist(), 1.0, settings.precision)
        for i, (weight, near) in enumerate(zip(exact, found, strict=True)):
            yield f"z = {z.tolist()}, key {i}", weight, arb(float(near), radius)


def _projection(z: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """The nearest point of the simplex by non-negative least squares, and a bound on its rounding error.

    Source: Lawson & Hanson, Solving Least Squares Problems, Prentice-Hall 1974, chapter 23.
    """
    m = len(z)
    # y = p − z of least norm with p ≥ 0 and Σ p = 1, the equality as two inequalities.
    sides = np.vstack([np.eye(m), np.ones(m), -np.ones(m)])
    bounds = np.concatenate([-z, [1 - z.sum()], [z.sum() - 1]])
    matrix = np.vstack([sides.T, bounds])
    aim = np.zeros(m + 1)
    aim[m] = 1
    multipliers, _ = nnls(matrix, aim)
    rest = matrix @ multipliers - aim
    condition = np.linalg.cond(matrix[:, multipliers > 0])
    # The sums in `bounds`, the solution, its residual and the division each add at most m·2^−52 of the entries' size,
    # the first two magnified by κ².
    size = 1 + np.abs(z).sum()
    return z - rest[:m] / rest[m], float(4 * m * condition**2 * size * 2.0**-52 / abs(rest[m]))


CLAIM = build()
FALSE = (
    FalseVariant("the entropy lacks the factor 1/α", build(lambda p, alpha: p**alpha / (alpha - 1))),
    FalseVariant("the entropy has the power 2α", build(lambda p, alpha: p ** (2 * alpha) / (alpha * (alpha - 1)))),
    FalseVariant("a minimum", build(sign=-1)),
)
