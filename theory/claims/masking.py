"""A masked key has weight 0, and the others have the weights of the row without it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies as st

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Depth = Callable[[Any], Any]
Case = tuple[list[float], draws.Order, list[bool]]


def deep(n: Any) -> Any:
    """``n``, the distance below the largest logit that is equivalent to −∞; in any arithmetic."""
    return n


def build(depth: Depth = deep, mask: Callable[[list[float]], float] = lambda _: -inf) -> Claim:
    """The claim that the logit ``mask(row)``, or ``max z − depth(n)`` at finite orders, deletes its key."""

    def no_mass(settings: Settings) -> Finding:
        n, under = sympy.Symbol("n", positive=True), sympy.Symbol("n", negative=True)
        top, z, level = sympy.symbols("M z lambda", real=True)
        e = sympy.Symbol("e", nonnegative=True)
        u, x, nu = sympy.symbols("u x nu", positive=True)
        heavy = symbolic.identities(
            ("a key d = νx below one of base u has the base u + x", (under * u - (-under) * x) / under, u + x),
            ("its weight as d → ∞, n = −ν", sympy.limit((u + x) ** -nu, x, sympy.oo), 0),
            domain="all n < 0, all logits",
            seed=settings.seed,
        )
        compact = symbolic.identities(
            ("z_i = max z − n is at most nτ, as the largest weight is at most 1", (top - depth(n)) / n, top / n - 1),
            ("a logit at or below nτ has weight 0", sympy.Max((n * z - e) / n - z, 0) ** n, 0),
            ("softmax: exp(z_i) at the mask", sympy.exp(sympy.sympify(mask([0.0, -1.0]))), 0),
            ("softmax: the weight at z_i → −∞", sympy.limit(sympy.exp(z - level), z, -sympy.oo), 0),
            domain="all n > 0 and n = ∞, all logits",
            seed=settings.seed,
        )
        return symbolic.either_sign(
            heavy,
            compact,
            variable="n",
            domain="all n ≠ 0 and n = ∞, all logits",
            detail="n > 0: τ ≥ max z/n − 1 since [max z/n − τ]₊^n ≤ 1; n < 0: the weight is 0 at −∞ alone. A key "
            "of weight 0 adds nothing to the sum that makes τ, so the row without it has the same τ and weights",
        )

    def deleted(settings: Settings) -> Finding:
        return _drawn(
            settings,
            lambda z, _: mask(z),
            infinite=True,
            detail="the oracle's weights of the row with masked keys against those of the row without them",
        )

    def far(settings: Settings) -> Finding:
        return _drawn(
            settings,
            # The logits are multiples of 1/16; for other orders the logit is rounded down to one farther away.
            lambda z, n: max(z) - float(-(-depth(n) * 64 // 1)) / 64,
            infinite=False,
            detail="keys n below the largest logit (n rounded up to a multiple of 1/64) against the row without them",
        )

    def softmax_reach(settings: Settings) -> Finding:
        weight = 1 / (1 + arb(64).exp())
        return certified.exists(
            "z = (0, −64): the softmax weight of the second key",
            weight,
            domain="two keys, n = ∞",
            detail="no finite logit deletes a key from softmax, so the second statement needs a finite order",
        )

    def heavy_reach(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            weight = draws.solved([0.0, -64.0], Fraction(-2), settings.precision)[1]
        return certified.exists(
            "z = (0, −64), n = −2: the weight of the second key",
            weight,
            domain="two keys, n = −2",
            detail="a heavy tail gives every key of a finite logit weight, however deep: at n < −1 only −∞ masks",
        )

    return Claim(
        id="masking",
        title="Masking is deletion",
        statement=r"A key with $z_i = -\infty$ has weight 0, and the other weights are those of the row without it, "
        r"for every order $n > 0$, $n = \infty$ or $n < -1$. At finite $n > 0$ the same holds for every \[z_i "
        r"\le \max_j z_j - n.\]",
        source="folklore for the mask; the finite depth: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits in $[-\infty, \infty)$, not all $-\infty$"),
            Variable("n", r"order; $\alpha = 1 + 1/n$; softmax at $\infty$"),
        ),
        assumptions=(Assumption("finite order", r"$0 < n < \infty$, for the second statement"),),
        formal=Statement(domains.domain(n=domains.orders())),
        argument="That the largest weight is at most 1 bounds the threshold, and that a key which adds nothing to "
        "the sum leaves the threshold where it is, is said.",
        checks=(
            Check("no_mass", "such a key adds nothing to the mass at the threshold", Role.PROOF, no_mass),
            Check("deleted", "the oracle with masked keys, and without them", Role.SUPPORT, deleted),
            Check("far", "the oracle with keys $n$ below the largest logit", Role.SUPPORT, far),
            Check("softmax_reach", "softmax has no such depth", Role.NECESSITY, softmax_reach, drops="finite order"),
            Check("heavy_reach", "and negative orders have none", Role.NECESSITY, heavy_reach, drops="finite order"),
        ),
    )


def _drawn(settings: Settings, low: Callable[[list[float], Any], float], *, infinite: bool, detail: str) -> Finding:
    def sides(case: Case) -> tuple[arb, arb]:
        z, n, hidden = case
        # The largest key stays, so that the row is not empty.
        off = {i for i in range(len(z)) if hidden[i] and z[i] < max(z)}
        filled = [low(z, n) if i in off else x for i, x in enumerate(z)]
        rest = iter(draws.solved([x for i, x in enumerate(z) if i not in off], n, settings.precision))
        right = [arb(0) if i in off else next(rest) for i in range(len(z))]
        return draws.worst(draws.solved(filled, n, settings.precision), right)

    return sampled.equal(
        st.tuples(
            draws.logits(),
            draws.all_orders() if infinite else draws.orders(),
            st.lists(st.booleans(), min_size=6, max_size=6),
        ),
        sides,
        settings,
        domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to "
        + ("∞ and from −32 to −9/8" if infinite else "32"),
        width=1e-20,
        detail=detail,
        show=lambda case: f"z = {case[0]}, n = {draws.name(case[1])}, masked where below the largest: {case[2]}",
    )


CLAIM = build()
FALSE = (
    FalseVariant("half the depth is enough", build(lambda n: n / 2)),
    FalseVariant("the depth is 1 for every order", build(lambda n: 0 * n + 1)),
    FalseVariant("a masked logit is 0", build(mask=lambda _: 0.0)),
    FalseVariant("a masked logit is the smallest one", build(mask=min)),
)
