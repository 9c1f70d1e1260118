"""C3: α-entmax attention is kernel regression of order n = 1/(α − 1) with a bandwidth that adapts to the query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Kernel, attention, entmax, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    ORDERS,
    PLANTED,
    Floats,
    breaks,
    cases,
    compact_weights,
    dots_and_squares,
    mean_variation,
    mixture,
    named,
    out_of_reach,
    planted_distances,
    shares,
    width,
)
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot, variation
from kernelproof.theory.statement import Statement

Square = Callable[[Any, Any, Any], Any]


def bandwidth_squared(tau: Any, n: Any, beta: Any) -> Any:
    """``h² = −2nτ/β`` from the threshold of the logits ``−βD_i/2``; in any arithmetic."""
    return -2 * n * tau / beta


def norm_shift(q: Any, k: Any) -> Any:
    """The term that logits from dot products add to h²: ``‖q‖² + R²``, R = 0 if they keep ‖k‖²; in any arithmetic."""
    return q + k


def build(square: Square = bandwidth_squared, shift: Callable[[Any, Any], Any] = norm_shift) -> Claim:
    """The claim with the bandwidth `square`, and the term that logits from dot products add to it."""

    def algebra(settings: Settings) -> Finding:
        q, k, d = sympy.symbols("Q K D", nonnegative=True)
        x, tau = sympy.symbols("x tau", real=True)
        qi, ki = sympy.symbols("q_i k_i", real=True)
        beta, n = sympy.symbols("beta n", positive=True)
        h = square(tau, n, beta)
        return symbolic.identities(
            ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
            ("logits −βD/2", -beta * d / (2 * n) - tau, beta / (2 * n) * (h - d)),
            ("logits with ‖k‖²", beta * (x - k / 2) / n - tau, beta / (2 * n) * (shift(q, 0) + h - (q + k - 2 * x))),
            ("logits without", beta * x / n - tau, beta / (2 * n) * (shift(q, k) + h - (q + k - 2 * x))),
            domain="all n > 0, β > 0, m and d; without ‖k‖² in the logits: keys of equal norm",
            detail="Q = ‖q‖², K = ‖k‖², x = q·k, and τ the threshold of the logits in question: u_i = z_i/n − τ is "
            "(β/(2n))(h² − D_i), so [u_i]₊ > 0 exactly in the ball",
            seed=settings.seed,
        )

    def normalizes(settings: Settings) -> Finding:
        h, d = sympy.Symbol("H", positive=True), sympy.Symbol("D", nonnegative=True)
        beta, n, rest = sympy.symbols("beta n A", positive=True)
        inside = sympy.Symbol("a", positive=True)
        factor = (beta * h / (2 * n)) ** n
        return symbolic.identities(
            ("a weight is a multiple of the kernel", beta / (2 * n) * (h - d), beta * h / (2 * n) * (1 - d / h)),
            ("which cancels", factor * inside / (factor * inside + factor * rest), inside / (inside + rest)),
            domain="all n > 0, β > 0 and h² = H > 0",
            detail="Σp = 1 > 0, so some u_i > 0, and h² > D_i ≥ 0: c = βh²/(2n) > 0 and [cx]₊^n = c^n[x]₊^n; p is its "
            "own normalized form because Σp = 1",
            seed=settings.seed,
        )

    def planted(settings: Settings) -> Finding:
        del settings
        return exact.equal(
            _planted(square),
            domain=f"{len(PLANTED)} rows of order 1 to 4 with a rational threshold, each with keys outside the ball",
            detail="p_i = [z_i/n − τ]₊^n, whose sum is 1, and the weights of the kernel, in rationals",
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, square, shift),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, β from 1/4 to 4, n in "
                f"{', '.join(map(str, ORDERS))}",
                width=width(settings),
                detail="certified weights and outputs of entmax, of the adaptive rule, of attention and of regression "
                "against the kernel of the distances, with h² from the certified threshold",
            )

    def unequal(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            # q·k = (2, 1), D = (1, 0).
            far, near = map(ball, entmax([1.0, 0.5], order=1, precision=settings.precision).weights.values())
            margin = far - near
        return certified.exists(
            "q = (1, 0), keys (2, 0) and (1, 0), β = 1/2, n = 1: the farther key's weight minus the nearer's",
            margin,
            domain="two keys of norms 2 and 1; then random and real keys",
            detail="entmax of βq·k_i may give the farther key more weight, which no falling kernel of the distance "
            "does, whatever its bandwidth",
            numbers={
                **breaks("mean total variation without ‖k‖², n = 1", partial(_norm_break, n=1), settings.seed),
                **breaks("mean total variation without ‖k‖², n = 2", partial(_norm_break, n=2), settings.seed),
            },
        )

    def held(settings: Settings) -> Finding:
        # Σ[h² − D_j]₊ = 2 at D = (0, 1) and at D = (4, 9): h² = 3/2 and 6.
        squares, own, other = [Fraction(0), Fraction(1)], Fraction(3, 2), Fraction(6)
        break_ = variation(compact_weights(squares, own, Fraction(1)), compact_weights(squares, other, Fraction(1)))
        measures = {
            "relative spread of h²": _spread,
            "mean total variation from one mean h²": _held_break,
            "share of rows left empty by it": _empty_share,
        }
        numbers: dict[str, float | int | str] = {}
        for n in (1, 2):
            for name, measure in measures.items():
                numbers |= breaks(f"{name}, n = {n}", partial(measure, n=n), settings.seed)
        return certified.exists(
            "keys 0 and −1 on the line, β = n = 1: h² = 3/2 for q = 0 and 6 for q = 2; total variation of the weights "
            "of q = 0 under the two",
            ball(break_),
            domain="two queries; then random and real ones, β = 1/√d; the variation is over rows not left empty",
            detail="one h held for all queries is not entmax: it leaves far queries empty and near ones dense",
            numbers=numbers,
        )

    def negative(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            square, weight = out_of_reach(settings)
            return certified.exists(
                "q = 13, keys −1, 0, 1/2 and 2, n = −2, β = 1: the least of a key's weight and of 121 − h², "
                "h² = −2nτ/β = 117",
                weight.min(121 - square),
                domain="one row of four keys, the nearest at squared distance 121",
                detail="all keys have weight, while the ball of that h² holds none of them: at n < 0 h² has "
                "the other sign, and "
                "a bandwidth exists under a condition only (H2)",
            )

    return Claim(
        id="entmax",
        label="C3",
        title="Entmax attention is kernel regression with an adaptive bandwidth",
        statement=r"Let $\beta > 0$, $p = \mathrm{entmax}_n(z)$ with $z_i = -\beta\|q-k_i\|^2/2$, and let $\tau$ be "
        r"its threshold. Then \[p_i = \frac{K_n(\|q-k_i\|^2/h^2)}{\sum_j K_n(\|q-k_j\|^2/h^2)}, \qquad "
        r"h^2 = -\frac{2n\tau}{\beta}.\] For $z_i = \beta(q\cdot k_i - \|k_i\|^2/2)$ and its threshold, "
        r"$h^2 = \|q\|^2 - 2n\tau/\beta$; for $z_i = \beta\,q\cdot k_i$ and keys of equal norm $R$, "
        r"$h^2 = \|q\|^2 + R^2 - 2n\tau/\beta$.",
        source="arXiv:2601.22766, sparsemax, entmax and the adaptive bandwidth; entmax: Peters, Niculae & Martins, "
        "Sparse sequence-to-sequence models, ACL 2019",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("n", r"order, $0 < n < \infty$; $\alpha = 1 + 1/n$; 1 sparsemax, 2 entmax with $\alpha = 1.5$"),
            Variable(r"\mathrm{entmax}_n(z)_i", r"$[z_i/n - \tau]_+^n$ with the $\tau$ that makes their sum 1"),
            Variable("K_n(t)", r"$[1 - t]_+^n$"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$, where the logits leave out $\|k_i\|^2/2$"),
            Assumption("rule", "$h$ is that of this query and these keys"),
            Assumption("positive order", "$n > 0$"),
        ),
        formal=Statement(
            domains.domain(n=domains.positive(), beta=domains.positive(), m=domains.integers(1), d=domains.integers(1))
        ),
        argument="The identities are shown for one coordinate, and for one key; that a factor common to all keys "
        "leaves the normalized weights unchanged, and that the threshold is the one of entmax, is said.",
        checks=(
            Check("algebra", r"$z_i/n - \tau = (\beta/2n)(h^2 - D_i)$ for each kind of logits", Role.PROOF, algebra),
            Check("normalizes", "the factor cancels, and $h^2 > 0$", Role.PROOF, normalizes),
            Check("planted", "rows whose threshold is known", Role.SUPPORT, planted),
            Check("oracle", "certified weights and outputs agree at every order", Role.SUPPORT, oracle),
            Check("unequal_norms", "unequal norms break it", Role.NECESSITY, unequal, drops="equal key norms"),
            Check("negative_order", "negative orders break it", Role.NECESSITY, negative, drops="positive order"),
            Check("one_bandwidth", "one bandwidth for all queries breaks it", Role.NECESSITY, held, drops="rule"),
        ),
    )


def _planted(square: Square) -> Iterator[tuple[str, list[Fraction], Any]]:
    for n, bases in PLANTED:
        for beta in (Fraction(1), Fraction(3, 8)):
            h2, squares = planted_distances(n, bases, beta)
            # The threshold of the logits −βD/2, from the definition p_i = [z_i/n − τ]₊^n at the first key.
            tau = -beta * squares[0] / (2 * n) - Fraction(bases[0])
            p = [max(-beta * each / (2 * n) - tau, Fraction(0)) ** n for each in squares]
            if sum(p) != 1 or h2 <= 0:
                msg = f"the planted row n = {n}, {bases} does not sum to 1"
                raise ArithmeticError(msg)
            found = square(tau, n, beta)
            stated = compact_weights(squares, found, Fraction(n)) if found > min(squares) else "no kernel"
            yield f"n = {n}, β = {beta}, D = {list(map(str, squares))}", p, stated


def _pairs(settings: Settings, square: Square, shift: Any) -> Iterator[tuple[str, arb, arb]]:
    bits = settings.precision
    for order in ORDERS:
        kernel = Kernel(order)
        for equal in (False, True):
            for case in cases(settings.seed, equal_norms=equal):
                name, (q, k, v), rule = f"n = {order}, {case}", case.arrays(), Adaptive(case.beta)
                found = entmax(case.logits(key_norm_term=not equal), order=order, precision=bits)
                from_tau = square(ball(found.threshold.values()[()]), rational(order), rational(case.beta))
                norms = shift(dot(case.q, case.q), dot(case.keys[0], case.keys[0]) if equal else Fraction(0))
                right = compact_weights(case.distances, from_tau + ball(norms), order)
                yield from named(f"entmax, {name}", found.weights.values(), right)
                attended = attention(q, k, v, kernel, rule, scale=1, key_norm_term=not equal, precision=bits)
                yield from named(f"attention, {name}", attended.y.values().ravel(), mixture(right, case.values))
                if not equal:
                    bare = weights(case.scores, kernel, rule, precision=bits)
                    h2 = square(ball(bare.threshold.values()[()]), rational(order), rational(case.beta))
                    yield from named(
                        f"adaptive rule, {name}", bare.weights.values(), compact_weights(case.distances, h2, order)
                    )
                    y = regression(q, k, v, kernel, rule, precision=bits).y
                    yield from named(f"regression, {name}", y.values().ravel(), mixture(right, case.values))


def _some(values: Floats) -> Floats:
    """About eight queries of each head, so that the certified rows stay fast."""
    return values[:, :: max(1, values.shape[1] // 8)]


def _solved(z: Floats, n: int) -> tuple[Floats, Floats]:
    """Certified weights and thresholds of every row, rounded to float64."""
    found = entmax(z, order=n)
    p, tau = found.weights.round("float64"), found.threshold.round("float64")
    return np.asarray(p, dtype=np.float64), np.asarray(tau, dtype=np.float64)


def _norm_break(q: Floats, k: Floats, n: int) -> float:
    dots, squares = map(_some, dots_and_squares(q, k))
    beta = float(q.shape[-1]) ** -0.5
    return mean_variation(_solved(beta * dots, n)[0], _solved(-beta * squares / 2, n)[0])


def _adaptive(q: Floats, k: Floats, n: int) -> tuple[Floats, Floats, Floats]:
    """Squared distances, entmax weights and ``h² = −2nτ/β`` of a few queries of each head, β = 1/√d."""
    squares = _some(dots_and_squares(q, k)[1])
    beta = float(q.shape[-1]) ** -0.5
    p, tau = _solved(-beta * squares / 2, n)
    return squares, p, -2 * n * tau / beta


def _held(q: Floats, k: Floats, n: int) -> tuple[Floats, Floats]:
    """Entmax weights, and those of the kernel with the mean h² of each head."""
    squares, p, h2 = _adaptive(q, k, n)
    mean = h2.mean(axis=1)[:, None, None]
    return p, shares(np.maximum(1 - squares / mean, 0) ** n)


def _spread(q: Floats, k: Floats, n: int) -> float:
    h2 = _adaptive(q, k, n)[2]
    return float((h2.std(axis=1) / h2.mean(axis=1)).mean())


def _held_break(q: Floats, k: Floats, n: int) -> float:
    return mean_variation(*_held(q, k, n))


def _empty_share(q: Floats, k: Floats, n: int) -> float:
    return float(np.isnan(_held(q, k, n)[1]).all(axis=-1).mean())


CLAIM = build()
FALSE = (
    FalseVariant("the factor n is missing", build(lambda tau, _, beta: -2 * tau / beta)),
    FalseVariant("the factor 2 is missing", build(lambda tau, n, beta: -n * tau / beta)),
    FalseVariant("β is missing", build(lambda tau, n, _: -2 * n * tau)),
    FalseVariant("the other sign", build(lambda tau, n, beta: 2 * n * tau / beta)),
    FalseVariant("the norm of the query is missing", build(shift=lambda _, k: k)),
    FalseVariant("the norm of the keys is missing", build(shift=lambda q, _: q)),
)
