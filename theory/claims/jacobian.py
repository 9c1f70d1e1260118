"""G1: the Jacobian of entmax and how large it can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.output_limit import jacobian_of
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot
from kernelproof.theory.series import balls
from kernelproof.theory.statement import Statement

ORDERS = (
    Fraction(1, 2),
    Fraction(3, 4),
    Fraction(1),
    Fraction(3, 2),
    Fraction(2),
    Fraction(7),
    Fraction(1024),
    Fraction(-2),
    Fraction(-9, 8),
)
ROWS = ((0.0, 0.375, -0.25), (0.0, -0.5, 0.25, 0.125, -0.75), (1.5, 1.0, -6.0, 1.25))
STEP = 2.0**-40
Power = Callable[[Any, Any], Any]
Matrix = list[list[Any]]


def power(p: Any, inverse: Any) -> Any:
    """``p^{1 − 1/n}`` from a weight and 1/n; in any arithmetic."""
    return p ** (1 - inverse)


def laplacian(w: Sequence[Any]) -> Matrix:
    """``diag(w) − wwᵀ/Σw``; in any arithmetic."""
    total = sum(w[1:], w[0])
    return [[(each if i == j else 0) - each * other / total for j, other in enumerate(w)] for i, each in enumerate(w)]


def build(
    powered: Power = power, matrix: Callable[[Sequence[Any]], Matrix] = laplacian, half: Any = Fraction(1, 2)
) -> Claim:
    """The claim with this w of a weight, this matrix of them, and this bound on the norm relative to Σw."""

    def derivative(settings: Settings) -> Finding:
        n, z = sympy.Symbol("n", real=True, nonzero=True), sympy.symbols("z_1:4", real=True)
        u, base = sympy.symbols("u_1:4", positive=True), sympy.Symbol("b", positive=True)
        tau, held = sympy.Function("tau")(*z), sympy.Symbol("tau_0", real=True)
        finite = _implicit([(each / n - tau) ** n for each in z], z, tau, held, [n * (each + held) for each in u])
        infinite = _implicit(
            [sympy.exp(each - tau) for each in z], z, tau, held, [sympy.log(each) + held for each in u]
        )
        stated = matrix([powered(each**n, 1 / n) for each in u]), matrix([powered(each, 0) for each in u])
        kinds = [(0, 0), (0, 1), (1, 0)]
        return symbolic.identities(
            ("w = u^{n−1} is the stated power of p = u^n", base ** (n - 1), powered(base**n, 1 / n)),
            *((f"∂p_{i + 1}/∂z_{j + 1}, finite order", finite[i][j], stated[0][i][j]) for i, j in kinds),
            *((f"∂p_{i + 1}/∂z_{j + 1}, n = ∞", infinite[i][j], stated[1][i][j]) for i, j in kinds),
            domain="every n ≠ 0 and n = ∞, all rows with three keys of weight u_i^n (u_i at n = ∞) and no key at the "
            "threshold; for n > 1 and n < 0 every row",
            detail="p_i = (z_i/n − τ(z))^n, or exp(z_i − τ(z)), is differentiated, and ∂τ/∂z_j is the solution of "
            "∂(Σp)/∂z_j = 0; a further key adds to the sums only; off the support p stays 0, and for n > 1 w is "
            "continuous there too",
            seed=settings.seed,
        )

    def bounds(settings: Settings) -> Finding:
        a, b, mu, second = sympy.symbols("a b mu s", real=True)
        w, x = sympy.symbols("w_1:4", positive=True), sympy.symbols("x_1:4", real=True)
        form = dot(x, [dot(row, x) for row in matrix(w)])
        total = sum(w)
        mean = dot(w, x) / total
        ratio = sympy.Rational(half.numerator, half.denominator)
        return symbolic.identities(
            ("xᵀJx is W times a variance", form, total * (dot(w, [each**2 for each in x]) / total - mean**2)),
            ("a variance in [a, b]", second - mu**2, (b - mu) * (mu - a) - ((a + b) * mu - a * b - second)),
            ("(b − μ)(μ − a)", (b - mu) * (mu - a), (b - a) ** 2 / 4 - (mu - (a + b) / 2) ** 2),
            ("(b − a)² and a² + b²", (b - a) ** 2 / 4, ratio * (a**2 + b**2) - (a + b) ** 2 / 4),
            ("diag(w) − J", dot(w, [each**2 for each in x]) - form, dot(w, x) ** 2 / total),
            domain="every n ≠ 0, all m (sums over keys; three stand for any), all x with smallest entry a, largest b",
            detail="s is the mean of x²; the mean of (b − x)(x − a) ≥ 0 is (a + b)μ − ab − s, so xᵀJx ≤ W(a² + b²)/2 ≤ "
            "W‖x‖²/2; and 0 ≤ J ≤ diag(w), so ‖J‖ ≤ max w. At α = 1 W = Σp = 1",
            seed=settings.seed,
        )

    def values(settings: Settings) -> Finding:
        p, k = sympy.symbols("p K", positive=True)
        r = sympy.Symbol("r", positive=True)
        one = sympy.Integer(1)
        even = matrix([sympy.Rational(1, 2)] * 2)
        pair = matrix([one, one])
        w1, w2 = sympy.symbols("w_1 w_2", positive=True)
        block = matrix([w1, w2, w2])
        return symbolic.identities(
            ("α = 1, p = (1/2, 1/2): J(1, −1) = (1, −1)/2", even[0][0] - even[0][1], sympy.Rational(1, 2)),
            ("α = 2: w = 1 on the support", powered(p, one), 1),
            ("α = 2: J is a projection", (1 - 1 / k) ** 2 + (k - 1) / k**2, 1 - 1 / k),
            ("α = 2, two keys: J(1, −1) = (1, −1)", pair[0][0] - pair[0][1], 1),
            ("three keys, w = (w₁, w₂, w₂): J(0, 1, −1) = w₂(0, 1, −1)", block[1][1] - block[1][2], w2),
            ("first entry of it", block[0][1] - block[0][2], 0),
            ("α = 2 + r: 1/w₂ → 0 as p₂ → 0", sympy.limit(1 / powered(p, 1 + r), p, 0, "+"), 0),
            domain="α = 1, α = 2, every α = 2 + r, r > 0; two keys, and three from which more keys follow",
            detail="so 1/2 and 1 are attained, and for α > 2 the row (1 − 2p₂, p₂, p₂) has norm at least w₂, without "
            "bound",
            seed=settings.seed,
        )

    def below_one(settings: Settings) -> Finding:
        y, r = sympy.symbols("y r", positive=True)
        return symbolic.positive(
            ("−log w", -sympy.expand_log(sympy.log(powered(1 / (1 + y), 1 / (1 + r))))),
            domain="n = 1 + r > 1, p = 1/(1 + y) < 1",
            detail="w < 1 if p < 1, so ‖J‖ ≤ max w < 1; with p_i = 1 there is one key and J = 0; the largest norm of "
            "m keys "
            "is attained, because J is continuous on the simplex for n > 1, so it is below 1 too",
            seed=settings.seed,
        )

    def below_half(settings: Settings) -> Finding:
        y, r = sympy.symbols("y r", positive=True)
        p = 1 / (1 + y)
        return symbolic.positive(
            ("log p − log w", sympy.expand_log(sympy.log(p)) - sympy.expand_log(sympy.log(powered(p, -r)))),
            domain="1/n = −r < 0, p = 1/(1 + y) < 1",
            detail="w < p where p < 1, and all p are for m ≥ 2 because every key has weight; so W < Σp = 1 and ‖J‖ ≤ "
            "W/2 < 1/2",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _entries(settings, powered, matrix),
                domain=f"{len(ROWS)} rows, n in {', '.join(map(str, ORDERS))}, every entry",
                # 96 correct bits of the reference's weights; w loses at most 1/n of them.
                width=2.0**-80,
                detail="the oracle's vector-Jacobian products and the formula at the oracle's weights",
            )

    def quotients(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _quotients(settings, powered, matrix),
                domain=f"{len(ROWS)} rows, n in {', '.join(map(str, ORDERS))}, steps of 2⁻⁴⁰ in every logit",
                # The hull of the weights at both ends is at most 2⁻³⁰ wide, and w magnifies it by p^{−1/n} at most.
                width=2.0**-15,
                detail="a difference quotient is a value of the derivative on the way (mean value theorem), where "
                "every weight is "
                "between its two ends because it is monotone in each logit",
            )

    def random_norms(settings: Settings) -> Finding:
        def slack(case: tuple[list[float], list[int]]) -> arb:
            z, x = case
            x = (x * len(z))[: len(z)]
            rows = jacobian_of(z, 3, settings.precision)
            return arb(sum(each**2 for each in x)) - arb(dot(x, [dot(row, x) for row in rows]))

        logits = strategies.lists(strategies.integers(-32, 32).map(lambda k: k / 16), min_size=2, max_size=5)
        return sampled.positive(
            strategies.tuples(
                logits, strategies.lists(strategies.integers(-3, 3).filter(bool), min_size=2, max_size=5)
            ),
            slack,
            settings,
            domain="n = 3, rows of 2 to 5 logits in [−2, 2], integer x",
            detail="xᵀx − xᵀJx > 0 with the oracle's J",
        )

    def two_keys(settings: Settings) -> Finding:
        # With two keys the only eigenvalue is 2w₁w₂/W < 2·min(w) ≤ 2·2^r: bounded, unlike with a third key.
        with ctx.workprec(settings.precision):
            small = arb(2) ** -60
            w = [1 / (1 - small), 1 / small]
            return certified.exists(
                "p = (1 − 2⁻⁶⁰, 2⁻⁶⁰), α = 3: 2 + 2⁻⁵⁰ less the norm 2w₁w₂/(w₁ + w₂)",
                2 + arb(2) ** -50 - 2 * w[0] * w[1] / (w[0] + w[1]),
                domain="two keys, α > 2",
                detail="while w₂ = 2⁶⁰: with two keys the norm stays below 2^{1/n}, since 2w₁w₂/W < 2·min w ≤ "
                "2·(1/2)^{1−1/n}",
            )

    return Claim(
        id="jacobian",
        label="G1",
        title="The Jacobian of entmax, and its norm",
        statement=r"With $p = \mathrm{entmax}_n(z)$, $w_i = p_i^{1-1/n}$ on the support and $0$ off it, and $W = "
        r"\sum_j w_j$, "
        r"\[\frac{\partial p}{\partial z} = \mathrm{diag}(w) - \frac{ww^\top}{W}, \qquad "
        r"0 \preceq \frac{\partial p}{\partial z}, \qquad \Bigl\|\frac{\partial p}{\partial z}\Bigr\|_2 \le "
        r"\min\Bigl(\frac{W}{2},\, \max_i w_i\Bigr).\] So the norm is below $1/2$ for $\alpha < 1$, at "
        r"most $1/2$ at $\alpha = 1$ (attained), below $1$ for "
        r"$1 < \alpha < 2$, at most $1$ at $\alpha = 2$ (attained), and unbounded for $\alpha > 2$.",
        source="the Jacobian: Peters, Niculae & Martins, ACL 2019; the norms: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"a row of logits in $\mathbb{R}^m$"),
            Variable(r"n, \alpha", r"order $n > 0$ or $n < -1$, $\alpha = 1 + 1/n$; $w = p$ at $n = \infty$"),
        ),
        assumptions=(
            Assumption("no kink", "for $0 < n \\le 1$, no key exactly at the threshold"),
            Assumption(
                "three keys", r"$m \ge 3$ where the norm is said to be unbounded, $m \ge 2$ where it is attained"
            ),
        ),
        formal=Statement(domains.domain(n=domains.orders(), m=domains.integers(1))),
        argument="The Jacobian is shown by differentiating p = entmax, computed by its definition, for a row of "
        "three keys, one entry of each kind, and the norm for sums of three terms; that more keys change "
        "nothing, and that the variance bound gives the norm, is said.",
        checks=(
            Check("derivative", "the Jacobian, by differentiating $\\sum_i p_i = 1$", Role.PROOF, derivative),
            Check("bounds", "the two bounds of the norm", Role.PROOF, bounds),
            Check("values", "rows that attain them, and rows without bound", Role.PROOF, values),
            Check("below_one", "$w < 1$ for $1 < \\alpha < 2$", Role.PROOF, below_one),
            Check("below_half", "$w < p$ for $\\alpha < 1$", Role.PROOF, below_half),
            Check("oracle", "certified vector-Jacobian products", Role.SUPPORT, oracle),
            Check("quotients", "certified difference quotients", Role.SUPPORT, quotients),
            Check("random_norms", "quadratic forms of random rows at $n = 3$", Role.SUPPORT, random_norms),
            Check("two_keys", "two keys have a bounded norm", Role.NECESSITY, two_keys, drops="three keys"),
        ),
    )


def _implicit(p: Sequence[Any], z: Sequence[Any], tau: Any, held: Any, at: Sequence[Any]) -> Matrix:
    """``∂p_i/∂z_j`` of weights whose sum stays 1 because τ moves, where τ is `held` and the logits are `at`."""
    rows: Matrix = [[] for _ in p]
    there = dict(zip(z, at, strict=True))
    for each in z:
        moving = sympy.Symbol("moving")
        slopes = [sympy.diff(weight, each).subs(sympy.diff(tau, each), moving).subs(tau, held) for weight in p]
        slopes = [sympy.simplify(slope.subs(there, simultaneous=True)) for slope in slopes]
        moved = sympy.solve(sum(slopes), moving)[0]
        for row, slope in zip(rows, slopes, strict=True):
            row.append(slope.subs(moving, moved))
    return rows


def _formula(p: Sequence[arb], order: Fraction, powered: Power, matrix: Callable[[Sequence[Any]], Matrix]) -> Matrix:
    """The Jacobian of a row from its weights, exact zeros off the support."""
    inside = [i for i, each in enumerate(p) if each != 0]
    block = matrix([powered(p[i], certified.rational(1 / order)) for i in inside])
    rows: Matrix = [[arb(0)] * len(p) for _ in p]
    for a, i in enumerate(inside):
        for b, j in enumerate(inside):
            rows[i][j] = block[a][b]
    return rows


def _entries(settings: Settings, powered: Power, matrix: Callable[[Sequence[Any]], Matrix]) -> Any:
    for z in ROWS:
        for order in ORDERS:
            p = balls(entmax(list(z), order=order, precision=settings.precision).weights.values())
            stated, found = _formula(p, order, powered, matrix), jacobian_of(z, order, settings.precision)
            for i in range(len(z)):
                for j in range(len(z)):
                    yield f"z = {z}, n = {order}, entry ({i}, {j})", found[i][j], stated[i][j]


def _quotients(settings: Settings, powered: Power, matrix: Callable[[Sequence[Any]], Matrix]) -> Any:
    for z in ROWS:
        for order in ORDERS:
            for k in range(len(z)):
                ends = [list(z), [each + STEP * (j == k) for j, each in enumerate(z)]]
                found = [balls(entmax(end, order=order, precision=settings.precision).weights.values()) for end in ends]
                hull = [a.union(b) for a, b in zip(found[0], found[1], strict=True)]
                stated = _formula(hull, order, powered, matrix)
                for i in range(len(z)):
                    quotient = (found[1][i] - found[0][i]) / arb(STEP)
                    yield f"z = {z}, n = {order}, ∂p_{i}/∂z_{k}", quotient, stated[i][k]


CLAIM = build()
FALSE = (
    FalseVariant("softmax's Jacobian at every order", build(lambda p, _: p)),
    FalseVariant("p^{1/n} for p^{1 − 1/n}", build(lambda p, inverse: p**inverse)),
    FalseVariant(
        "the second term is missing",
        build(matrix=lambda w: [[(a if i == j else 0) for j, _ in enumerate(w)] for i, a in enumerate(w)]),
    ),
    FalseVariant("a fourth of W, the bound of a variance, for the norm", build(half=Fraction(1, 4))),
)
