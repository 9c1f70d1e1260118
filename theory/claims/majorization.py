"""M2: at fixed logits the weights of a smaller order majorize those of a larger one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sympy
from flint import arb
from hypothesis import strategies as st

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Row = list[arb]
KEYS = 4
"""Keys of the rows for which the step from one crossing to partial sums is computed."""


def weight_slope(c: Any, inverse: Any) -> Any:
    """``c^(1 − 1/n)`` from 1/n: the rate at which a weight c grows with its logit while the threshold stays."""
    return c ** (1 - inverse)


def build(slope: Callable[[Any, Any], Any] = weight_slope, *, sign: int = 1) -> Claim:
    """The claim with the slope `slope` of a weight; if `sign` is −1, that the smaller 1/n majorizes."""

    def slopes(settings: Settings) -> Finding:
        u, c = sympy.symbols("u c", positive=True)
        # The order 1/e: a symbol of another name, as 1/n = 0 is softmax, the second line.
        e, x = sympy.Symbol("e", real=True, nonzero=True), sympy.Symbol("x", real=True)
        return symbolic.identities(
            ("finite order, u = z/n − τ", sympy.diff((u + e * x) ** (1 / e), x).subs(x, 0), slope(u ** (1 / e), e)),
            ("softmax", sympy.diff(c * sympy.exp(x), x).subs(x, 0), slope(c, 0)),
            domain="all 1/n = e ≠ 0 and 1/n = 0, every weight c > 0",
            detail="a weight as a function of its logit z alone, [z/n − τ]₊^n or exp(z − λ), the threshold of its own "
            "row held: where it is c > 0 its slope depends on c and n only",
            seed=settings.seed,
        )

    def steeper(settings: Settings) -> Finding:
        h, t = sympy.symbols("h t", positive=True)
        inverse, c = sympy.Symbol("epsilon", real=True), sympy.exp(-t)
        ratio = sympy.expand_log(sympy.log(slope(c, inverse + h)), force=True) - sympy.expand_log(
            sympy.log(slope(c, inverse)), force=True
        )
        return symbolic.positive(
            ("log of the ratio of the slopes, 1/n = 1/n′ + h", sign * sympy.simplify(ratio)),
            domain="all ε = 1/n′, 0 and negative ones too, h > 0 and c = exp(−t) in (0, 1)",
            detail="f and g are the weights at 1/n > 1/n′ as functions of the logit. Where both are c in (0, 1), "
            "f − g rises, so once f − g is > 0 it stays so: at the first return to 0 both would be some c > 0 "
            "while f − g falls. (c = 1 happens at n > 0 and the largest logit only, which then has all mass: p "
            "majorizes all)",
            seed=settings.seed,
        )

    def partial_sums(settings: Settings, crossing: int) -> Finding:
        e = sympy.symbols(f"e_1:{KEYS}", nonnegative=True)
        p, q = sympy.symbols(f"p_1:{KEYS}", nonnegative=True), sympy.symbols(f"q_1:{KEYS}", nonnegative=True)
        # Up to the crossing p exceeds q by e, beyond it q exceeds p; the last weights are what is left of 1.
        larger = [q[i] + e[i] if i < crossing else p[i] for i in range(KEYS - 1)]
        other = [q[i] if i < crossing else p[i] + e[i] for i in range(KEYS - 1)]
        larger, other = [*larger, 1 - sum(larger)], [*other, 1 - sum(other)]
        return symbolic.positive(
            *(
                (f"the {k} largest, order n minus n′", sign * sympy.expand(sum(larger[:k]) - sum(other[:k])))
                for k in range(1, KEYS)
            ),
            given=(sympy.expand(other[-1] - larger[-1]),),
            domain=f"all rows of {KEYS} weights of sum 1 by descending logit, where p_i ≥ q_i for the first "
            f"{crossing} and "
            "q_i ≥ p_i for the others; were the last two equal, it would be a row of one key fewer",
            detail="both rows descend with the logit, so these are the sums of the k largest; more keys on "
            "either side of "
            "the crossing add terms of the same signs",
            seed=settings.seed,
            strict=False,
        )

    def oracle(settings: Settings) -> Finding:
        return _sampled(settings, sign, _partial_margin, "the least of Σ of the k largest weights, order n minus n′")

    def entropies(settings: Settings) -> Finding:
        return _sampled(settings, sign, _entropy_margin, "Shannon's entropy and 1 − Σ p², order n′ minus n")

    def box(settings: Settings) -> Finding:
        def both(a: Ball, b: Ball, n: Ball, h: Ball) -> Any:
            # In the row with weights a > b > 1 − a − b at order n, the threshold that keeps the largest (smallest)
            # weight at order n + h makes the sum of the weights too large (small): the true one is smaller (larger).
            p = (a, b, 1 - a - b)
            top, low = (_excess(p, i, n, n + h) for i in (0, 2))
            return (sign * top).min(-sign * low)

        return certified.positive(
            both,
            {"a": ("1/2", "3/5"), "b": ("1/4", "3/10"), "n": ("1/2", 1), "h": (1, 3)},
            domain="every row of three keys whose weights at order n are in [1/2, 3/5], [1/4, 3/10] and the rest; "
            "n in [1/2, 1], n′ − n in [1, 3]",
            precision=settings.precision,
            detail="the largest weight falls and the smallest rises, which is majorization of three keys",
        )

    return Claim(
        id="majorization",
        label="M2",
        title="A larger 1/n majorizes a smaller one",
        statement=r"For $1/n > 1/n' > -1$ and any $z$, $p = \mathrm{entmax}_n(z)$ majorizes "
        r"$q = \mathrm{entmax}_{n'}(z)$: for every $k$ \[\sum_{i \le k} p_{(i)} \ge \sum_{i \le k} q_{(i)},\] with "
        r"the weights in descending order. So from sparse weights over softmax, at $1/n = 0$, to heavy tails, at "
        r"$1/n < 0$, the largest weight falls and every Schur-concave entropy rises.",
        source="ours; majorization and Schur-concavity: Marshall, Olkin & Arnold, Inequalities, 2nd ed., Springer 2011",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$, the same at both orders"),
            Variable("n, n'", r"orders; $\alpha = 1 + 1/n$; softmax at $\infty$"),
        ),
        formal=Statement(domains.domain(epsilon=domains.between(-1, None))),
        argument="From slopes to one crossing: a difference that rises at each of its zeros has one zero at most. "
        "From one crossing to partial sums: computed for rows of four keys and every place of the crossing, of which "
        "other rows differ by more terms of the same signs.",
        checks=(
            Check("slopes", "a weight $c$ grows with its logit at the rate $c^{1-1/n}$", Role.PROOF, slopes),
            Check(
                "single_crossing",
                "$c^{1-1/n} > c^{1-1/n'}$ for $1/n > 1/n'$, $0 < c < 1$: one crossing",
                Role.PROOF,
                steeper,
            ),
            *(
                Check(
                    f"crossing_{after}",
                    f"one crossing, after key {after} of {KEYS}, and equal sums give majorization",
                    Role.PROOF,
                    partial(partial_sums, crossing=after),
                )
                for after in range(1, KEYS)
            ),
            Check("oracle", "the sums of the $k$ largest weights fall", Role.SUPPORT, oracle),
            Check("entropies", "entropies rise", Role.SUPPORT, entropies),
            Check("box", "three keys, over a box of weights and orders", Role.SUPPORT, box),
        ),
    )


def _excess(p: tuple[Any, ...], at: int, n: Ball, then: Ball) -> Any:
    """By how much the weights of order `then` would exceed a sum of 1 if weight `at` kept its value of order n."""
    total: Any = 0
    for j, weight in enumerate(p):
        if j != at:
            # z_j − z_at = n(p_j^(1/n) − p_at^(1/n)), from the weights at order n.
            base = p[at] ** (1 / then) + n / then * (weight ** (1 / n) - p[at] ** (1 / n))
            total += base.power(then) - weight
    return total


def _sampled(settings: Settings, sign: int, margin: Callable[[Row, Row], Row], detail: str) -> Finding:
    def value(case: tuple[list[float], tuple[draws.Order, draws.Order]]) -> arb:
        z, (n, then) = case
        p, q = (sorted(draws.solved(z, order, settings.precision), key=float, reverse=True) for order in (n, then))
        margins = [sign * each for each in margin(p, q)]
        return draws.least(margins) if margins else arb(1)

    return sampled.positive(
        st.tuples(draws.logits(unique=True), draws.toward_heavy()),
        value,
        settings,
        domain="rows of 2 to 6 different logits, multiples of 1/16 in [−4, 4], orders 1/n > 1/n′, from n = "
        "1/4 over ∞ to −9/8; where "
        "order n′ has one key, both orders have the same weights",
        detail=detail,
        show=lambda case: f"z = {case[0]}, n = {draws.name(case[1][0])}, n′ = {draws.name(case[1][1])}",
    )


def _live(row: Row) -> int:
    return sum(1 for weight in row if weight > 0)


def _partial_margin(p: Row, q: Row) -> Row:
    # From k = the support of q on both sums are 1; below it different logits make the inequality strict.
    return [sum(p[:k], start=arb(0)) - sum(q[:k], start=arb(0)) for k in range(1, _live(q))]


def _entropy_margin(p: Row, q: Row) -> Row:
    if _live(q) == 1:
        return []
    squares = sum((x * x for x in p), start=arb(0)) - sum((x * x for x in q), start=arb(0))
    return [_shannon(q) - _shannon(p), squares]


def _shannon(row: Row) -> arb:
    return -sum((x * x.log() for x in row if x > 0), start=arb(0))


CLAIM = build()
FALSE = (
    FalseVariant("the slope has the power 1 + 1/n", build(lambda c, inverse: c ** (1 + inverse))),
    FalseVariant("the smaller 1/n majorizes", build(sign=-1)),
)
