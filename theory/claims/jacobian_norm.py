"""Open: the sharp bound on the norm of the Jacobian of entmax for a given number of keys, between α = 1 and α = 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil, floor
from typing import Any

import numpy as np
import sympy
from flint import arb, arb_mat, ctx
from hypothesis import strategies

from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.jacobian import laplacian
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Cell, Finding, Grid, Verdict
from kernelproof.theory.search import Row, propose

KEYS = (2, 3, 4, 8, 16, 64)
ALPHAS = (
    Fraction(11, 10),
    Fraction(5, 4),
    Fraction(4, 3),
    Fraction(3, 2),
    Fraction(5, 3),
    Fraction(7, 4),
    Fraction(19, 10),
)
GAPS = (Fraction(1, 500), Fraction(1, 200), Fraction(1, 100), Fraction(1, 20))
"""How far above the conjecture the upper bound is tried, until one is proved in `PARTS` parts."""
PARTS = 4000
BELOW = Fraction(1, 10**8)
"""How far below the float maximum the lower bound is tried: more than a float's error in it, 1e-15, by far."""
Guess = Callable[[int, Fraction], Fraction]


def two_blocks(keys: int, alpha: Fraction, rest: float) -> float:
    """The norm at ``p = (1 − rest, rest/(m−1), …)``: ``m w₁w₂/(w₁ + (m−1)w₂)``, in floats."""
    kappa = float(2 - alpha)
    first, other = (1 - rest) ** kappa, (rest / (keys - 1)) ** kappa
    return float(keys * first * other / (first + (keys - 1) * other))


@cache
def best_rest(keys: int, alpha: Fraction) -> Fraction:
    """The weight of the m − 1 equal keys at which `two_blocks` is largest, to float accuracy."""
    grid = np.linspace(0, 1, 2001)[1:-1]
    at = float(grid[int(np.argmax([two_blocks(keys, alpha, float(x)) for x in grid]))])
    low, high = at - 1 / 2000, min(at + 1 / 2000, 1 - 1e-9)
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if two_blocks(keys, alpha, left) < two_blocks(keys, alpha, right) else (low, right)
    return Fraction(low)


def conjectured(keys: int, alpha: Fraction) -> Fraction:
    """The larger of ``2^{α−2}``, for two equal keys, and the best of one key and m − 1 equal ones; from floats."""
    return Fraction(max(2.0 ** float(alpha - 2), two_blocks(keys, alpha, float(best_rest(keys, alpha)))))


def build(guess: Guess = conjectured) -> Claim:
    """The open question with the supremum `guess`."""

    def form(settings: Settings) -> Finding:
        w, lam, p, y, r = sympy.symbols("w lambda p y r", positive=True)
        kappa = sympy.Symbol("kappa", positive=True)
        power = p**kappa
        g = power / (lam - power)
        bend = kappa * p ** (kappa - 2) * lam / (lam - power) ** 3 * ((1 + kappa) * power - (1 - kappa) * lam)
        steep = sympy.diff(g, p)
        flat = 1 / steep.subs(kappa, 1 / (1 + r)).subs(p, y ** (1 + r))
        pair = laplacian([power, power])
        w1, w2 = sympy.symbols("w_1 w_2", positive=True)
        two = laplacian([w1, w2])
        return symbolic.identities(
            ("the secular equation", w**2 / (w - lam) - w, lam * w / (w - lam)),
            ("slope of g", steep, kappa * lam * p ** (kappa - 1) / (lam - power) ** 2),
            ("g is concave, then convex", sympy.diff(g, p, 2), bend),
            ("g is infinitely steep at 0", sympy.limit(flat, y, 0, "+"), 0),
            ("the eigenvalue of two keys", two[0][0] - two[0][1], 2 * w1 * w2 / (w1 + w2)),
            ("and its bound", (w1 + w2) / 2 - 2 * w1 * w2 / (w1 + w2), (w1 - w2) ** 2 / (2 * (w1 + w2))),
            ("two equal keys", (pair[0][0] - pair[0][1]).subs(p, sympy.Rational(1, 2)), sympy.Rational(1, 2) ** kappa),
            given=(lam - power, w - lam),
            domain="all m, κ = 2 − α in (0, 1), λ > p^κ; w > λ",
            detail="Jx = λx with x_i = w_i/(w_i − λ) where Σ w_i/(w_i − λ) = 0, so w₁/(w₁ − λ) = Σ_{i>1} g(p_i) with "
            "w₂ < λ < w₁ "
            "(if w₁ = w₂, λ = w₁ ≤ 2^{−κ}); the left rises and the right falls in λ, so at a maximizer p₂, …, p_m "
            "maximize "
            "Σg at fixed sum: no p_i is 0, at most one lies where g is convex, and the others, where g′ falls, are "
            "equal. "
            "So a maximizer is (p₁, p₂, q, …, q) with p₂ ≥ q, or the norm is 2^{α−2}",
            seed=settings.seed,
        )  # fmt: skip

    def lower(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            worst = arb(1)
            for alpha in ALPHAS:
                for keys in KEYS:
                    value = _lower(keys, alpha)
                    slack = value - certified.rational(guess(keys, alpha) * (1 - BELOW))
                    worst = worst.min(slack)
            at = best_rest(64, Fraction(3, 2))
            return certified.exists(
                f"m = 64, α = 3/2, p₁ = 1 − {float(at):.17g} and 63 equal weights, x = (63, −1, …, −1), and so on; the "
                "least of xᵀJx/xᵀx less the stated value, over the table",
                worst,
                domain=f"m in {KEYS}, α in {', '.join(map(str, ALPHAS))}",
                detail="Rayleigh quotients at exact rational weights, enclosed",
            )

    def upper(settings: Settings) -> Finding:
        return _uppers(guess)

    def random_rows(settings: Settings) -> Finding:
        def slack(case: tuple[list[int], Fraction]) -> arb:
            counts, alpha = case
            bound = certified.rational(guess(len(counts), alpha) * (1 + Fraction(1, 10**6)))
            w = [certified.rational(Fraction(each, sum(counts))) ** certified.rational(2 - alpha) for each in counts]
            rows = [[bound * (i == j) - each for j, each in enumerate(row)] for i, row in enumerate(laplacian(w))]
            # Sylvester: the matrix is positive definite iff every leading minor is positive.
            minors = [arb_mat([row[:k] for row in rows[:k]]).det() for k in range(1, len(w) + 1)]
            least = minors[0]
            for minor in minors[1:]:
                least = least.min(minor)
            return least

        return sampled.positive(
            strategies.tuples(
                strategies.lists(strategies.integers(1, 10**4), min_size=2, max_size=6), strategies.sampled_from(ALPHAS)
            ),
            slack,
            settings,
            domain="rows of 2 to 6 rational weights, the α of the table",
            detail="bound·I − J is positive definite at the stated value + 10⁻⁶, by leading minors",
        )

    def search(seconds: float, settings: Settings) -> Finding:
        return _search(seconds, settings, guess)

    return Claim(
        id="jacobian_norm",
        label="open",
        title="The sharp bound of the norm of entmax's Jacobian",
        statement=r"For given $m$ and $1 < \alpha < 2$, what is $S(m, \alpha) = \sup_z "
        r"\|\partial\,\mathrm{entmax}(z)/\partial z\|_2$? "
        r"It is attained at two equal weights $1/2$ or at weights $(p_1, p_2, q, \dots, q)$. Conjecture: the latter "
        r"have "
        r"$p_2 = q$, one key against $m - 1$ equal ones, so \[S(m, \alpha) = \max\Bigl(2^{\alpha-2},\ \max_{0 < "
        r"\delta < 1} "
        r"\frac{m\,w_1 w_2}{w_1 + (m-1) w_2}\Bigr), \qquad w_1 = (1 - \delta)^{2-\alpha}, \quad "
        r"w_2 = \Bigl(\frac{\delta}{m-1}\Bigr)^{2-\alpha}.\]",
        source="ours",
        kind=Kind.OPEN,
        variables=(
            Variable("m", r"number of keys, $m \ge 2$"),
            Variable(r"\alpha", r"$1 + 1/n$; at $\alpha = 1$ the sup is $1/2$, at $\alpha = 2$ it is $1$"),
        ),
        assumptions=(Assumption("range", r"$1 < \alpha < 2$"),),
        checks=(
            Check("lower", "rows whose norm reaches the conjecture", Role.SUPPORT, lower),
            Check(
                "upper", "no row of a maximizer's form exceeds it by more than the table says", Role.SUPPORT, upper
            ),
            Check("form", "what a maximizer looks like", Role.SUPPORT, form),
            Check("random_rows", "random rows stay below it", Role.SUPPORT, random_rows),
        ),
        why_not_more="The sup is enclosed for the m and α of the table only; that p₂ = q, and a closed form of the "
        "best δ, are open.",
        search=search,
    )  # fmt: skip


def rayleigh(p: Sequence[Fraction], x: Sequence[Fraction | int], alpha: Fraction) -> arb:
    """``xᵀJx/xᵀx`` at exact rational weights, 0 where a weight is: a lower bound of the norm."""
    kappa = certified.rational(2 - alpha)
    w = [certified.rational(each) ** kappa if each else arb(0) for each in p]
    y = [certified.rational(Fraction(each)) for each in x]
    first = sum((a * b for a, b in zip(w, y, strict=True)), arb(0))
    second = sum((a * b * b for a, b in zip(w, y, strict=True)), arb(0))
    return (second - first * first / sum(w, arb(0))) / sum((b * b for b in y), arb(0))


def _lower(keys: int, alpha: Fraction) -> arb:
    rest = best_rest(keys, alpha)
    pair = [Fraction(1, 2)] * 2 + [Fraction(0)] * (keys - 2)
    block = [1 - rest] + [rest / (keys - 1)] * (keys - 1)
    found = rayleigh(pair, [1, -1] + [0] * (keys - 2), alpha), rayleigh(block, [keys - 1] + [-1] * (keys - 1), alpha)
    return found[0].max(found[1])


def _upper(keys: int, alpha: Fraction, bound: Fraction, parts: int) -> Finding:
    """Whether no row in the form of a maximizer has the norm `bound`, which is above 2^{α−2}."""
    kappa = 2 - alpha
    least = Fraction(floor(float(bound) ** (1 / float(kappa)) * 10**6) - 1, 10**6)

    def slack(p: Ball, share: Ball) -> Any:
        lam = bound
        w1, w2 = p**kappa, ((1 - p) * share).power(kappa)
        w3 = ((1 - p) * (1 - share) / (keys - 2)).power(kappa)
        return w1 * (lam - w2) * (lam - w3) - (w1 - lam) * (w2 * (lam - w3) + (keys - 2) * w3 * (lam - w2))

    return certified.positive(
        slack,
        {"p": (least, 1), "share": (Fraction(1, keys - 1), 1)},
        domain=f"m = {keys}, α = {alpha}, p₁ = p in [{float(least):.6f}, 1], p₂ = share·(1 − p), the rest equal",
        precision=64,
        detail="w₁/(w₁ − λ) > Σ_{i>1} w_i/(λ − w_i), cleared of denominators: the norm is below λ",
        parts=parts,
    )


def _uppers(guess: Guess, *, gaps: Sequence[Fraction] = GAPS, parts: int = PARTS, lowers: Any = None) -> Finding:
    """The table of proved bounds; REFUTED if a row exceeds the value by more than every gap."""
    rows, proofs = list[list[Cell]](), list[Finding]()
    for alpha in ALPHAS:
        for keys in KEYS:
            value = guess(keys, alpha)
            proved = Fraction(1)
            if keys == 2:
                # One eigenvalue 2w₁w₂/(w₁ + w₂) ≤ (w₁ + w₂)/2 ≤ 2^{−κ}, by the concavity of the power: sharp.
                proved = Fraction(2.0 ** float(alpha - 2))
            for gap in gaps if keys > 2 else ():
                bound = Fraction(ceil(value * (1 + gap) * 10**6), 10**6)
                if bound >= 1:
                    break
                found = _upper(keys, alpha, bound, parts)
                if found.verdict is Verdict.REFUTED:
                    return found
                if found.verdict is Verdict.PROVED:
                    proofs.append(found)
                    proved = bound
                    break
            with ctx.workprec(128):
                low = _lower(keys, alpha) if lowers is None else lowers(keys, alpha)
            shape = "two equal" if float(low) < 2.0 ** float(alpha - 2) * (1 + 1e-9) else "one against m − 1"
            bottom, top = floor(float(low) * 10**6) / 10**6, float(ceil(proved * 10**6)) / 10**6
            rows.append([keys, str(alpha), f"{bottom:.6f}", f"{top:.6f}", shape])
    title = "Norm of the Jacobian of entmax: its largest value lies between the bounds"
    return certified.united(
        proofs,
        domain=f"m in {KEYS}, α in {', '.join(map(str, ALPHAS))}",
        detail="interval proofs that every row (p₁, p₂, q, …, q), the form of a maximizer, has a norm below the "
        "upper bound",
    ).with_tables(
        Grid(title=title, columns=["m", "α", "lower", "upper", "shape of the lower"], rows=rows), _by_alpha(rows)
    )


def _by_alpha(rows: list[list[Cell]]) -> Grid:
    """The lower bounds again, with a row per α and a column per m, for a figure."""
    lower = {(row[0], row[1]): float(row[2]) for row in rows}
    return Grid(
        title="The largest norm known, a proved lower bound, against α",
        columns=["α", *(f"m = {keys}" for keys in KEYS)],
        rows=[[float(alpha), *(lower[keys, str(alpha)] for keys in KEYS)] for alpha in ALPHAS],
    )


def _norm(row: Row, alpha: Fraction) -> float:
    p = np.exp(row - row.max())
    w = (p / p.sum()) ** float(2 - alpha)
    return float(np.linalg.eigvalsh(np.diag(w) - np.outer(w, w) / w.sum())[-1])


def _certified(row: Row, alpha: Fraction) -> arb:
    """A lower bound of the norm at the row, from its float eigenvector, both taken as exact."""
    p = np.exp(row - row.max())
    w = (p / p.sum()) ** float(2 - alpha)
    x = np.linalg.eigh(np.diag(w) - np.outer(w, w) / w.sum())[1][:, -1]
    exact = [Fraction(float(each)) for each in p]
    return rayleigh([each / sum(exact) for each in exact], [Fraction(float(each)) for each in x], alpha)


def _search(seconds: float, settings: Settings, guess: Guess) -> Finding:
    """Compare rows of every kind with the conjecture; then prove upper bounds as close as a finer cover allows."""
    each = seconds / (len(KEYS) * len(ALPHAS))
    best: dict[tuple[int, Fraction], arb] = {}
    beaten: list[tuple[str, arb]] = []
    with ctx.workprec(settings.precision):
        for alpha in ALPHAS:
            for keys in KEYS:
                row = propose(lambda z, alpha=alpha: _norm(z, alpha), keys, each / 2, settings)  # type: ignore[misc]
                value, known = _certified(row, alpha), _lower(keys, alpha)
                if value > known + arb(2) ** -40:
                    beaten.append((f"m = {keys}, α = {alpha}, logits {row.tolist()}: {value.str(12)}", value - known))
                best[keys, alpha] = value.max(known)
    if beaten:
        return certified.exists(
            f"{'; '.join(name for name, _ in beaten)}: the first norm less the conjecture",
            beaten[0][1],
            domain=f"m in {KEYS}, α in {', '.join(map(str, ALPHAS))}",
            detail="rows whose norm is above the conjecture, certified",
        )
    # About 2·10⁴ parts are tried per second.
    gaps = (Fraction(1, 10**5), Fraction(1, 10**4), *GAPS)
    return _uppers(guess, gaps=gaps, parts=max(PARTS, int(each * 4000)), lowers=lambda m, alpha: best[m, alpha])


CLAIM = build()


def _only(claim: Claim, *ids: str) -> Claim:
    return replace(claim, checks=tuple(check for check in claim.checks if check.id in ids))


FALSE = (
    FalseVariant(
        "two equal keys at every m", _only(build(lambda _, alpha: Fraction(2.0 ** float(alpha - 2))), "upper")
    ),
    FalseVariant(
        "one key against m − 1 at every m",
        _only(build(lambda m, a: Fraction(two_blocks(m, a, float(best_rest(m, a))))), "upper"),
    ),
    FalseVariant("1/2, as at α = 1", _only(build(lambda _, __: Fraction(1, 2)), "upper")),
    FalseVariant("1, as at α = 2", _only(build(lambda _, __: Fraction(1)), "lower"), refuted=False),
)
