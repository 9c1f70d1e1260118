"""G3: every other derivative follows by the chain rule, except at the kinks of each order, where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Anchored, Fixed, Kernel, entmax, entmax_vjp, regression, regression_vjp
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.jacobian import laplacian
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import distances, dot
from kernelproof.theory.series import Series, ball, balls, compact, constant, variable
from kernelproof.theory.series import entmax as entmax_series
from kernelproof.theory.statement import Statement

Q = (0.25, -0.5)
KEYS = ((0.0, 0.25), (0.5, -0.75), (-0.375, 0.0))
V = (1.0, -2.0, 3.5)
CASES = tuple(
    (rule, order)
    for rule in (Fixed(2), Anchored(Fraction(3, 2)), Adaptive(Fraction(1, 2)))
    for order in (Fraction(1, 2), Fraction(1), Fraction(5, 2), Fraction(64), Fraction(-2))
)
FREE = ((0.5, 0.25), (0.5, 0.0, 0.125))
"""Rows of order 1 with full support, τ = −1/8."""
Slope = Callable[[Any, Any, Any], Any]


def slope(order: Any, weight: Any, room: Any) -> Any:
    """``b_i = n·w_i/ρ_i``; in any arithmetic."""
    return order * weight / room


def count(boundary: Any) -> Any:
    """The number of limiting Jacobians of a row of order 1 with `boundary` keys at the threshold; ints or symbols."""
    return 2**boundary


def build(of: Slope = slope, radial: int = 2, many: Callable[[Any], Any] = count) -> Claim:
    """The claim with b, with the factor of ``∂h²/∂h = 2h`` and with the number of limiting Jacobians."""

    def weights(settings: Settings) -> Finding:
        n = sympy.Symbol("n", real=True, nonzero=True)
        rho, other, rest = sympy.symbols("rho sigma R", positive=True)
        h, gamma, beta = sympy.symbols("h gamma beta", positive=True)
        distance, gap, score = sympy.symbols("D d s", real=True)
        total = rho**n + other**n + rest
        w, v = rho**n / total, other**n / total
        return symbolic.identities(
            ("own room", sympy.diff(w, rho), of(n, w, rho) - w * of(n, w, rho)),
            ("another's room", sympy.diff(w, other), -w * of(n, v, other)),
            ("order", sympy.diff(w, n),
             w * (sympy.log(rho) - w * sympy.log(rho) - v * sympy.log(other))),
            ("Fixed", sympy.diff(h**2 - distance, h), radial * h),
            ("Fixed, n < 0", sympy.diff(h**2 + distance, h), radial * h),
            ("Anchored", sympy.diff(gamma - gap, gamma), 1),
            ("Anchored, n < 0", sympy.diff(gamma + gap, gamma), 1),
            ("Adaptive in β", sympy.diff(beta * score, beta), score),
            ("Adaptive in s", sympy.diff(beta * score, score), beta),
            domain="every n ≠ 0, all m, rows with no key at the threshold",
            detail="w_i = ρ_i^n/Σρ_j^n on the support; R stands for the powers of all other keys, which do not move "
            "with ρ and σ "
            "and in n each add −w_i·w_j·log ρ_j; the adaptive rule has G1's Jacobian in z = βs",
            seed=settings.seed,
        )  # fmt: skip

    def points(settings: Settings) -> Finding:
        q, k = sympy.symbols("q k", real=True)
        v, w = sympy.symbols("v w", real=True)
        return symbolic.identities(
            ("D in a coordinate of q", sympy.diff((q - k) ** 2, q), 2 * (q - k)),
            ("D in a coordinate of k", sympy.diff((q - k) ** 2, k), -2 * (q - k)),
            ("s in a coordinate of q", sympy.diff(-((q - k) ** 2) / 2, q), k - q),
            ("a term of the output in v", sympy.diff(w * v, v), w),
            ("a term of the output in w", sympy.diff(w * v, w), v),
            domain="all d, all q, k and v",
            detail="sums over coordinates and keys are linear",
            seed=settings.seed,
        )

    def kinks(settings: Settings) -> Finding:
        r, w0, a, b, c, t = sympy.symbols("r W_0 a w_k w_l t", positive=True)
        tau = sympy.Symbol("tau", real=True)
        held, raised = sympy.symbols("S T", positive=True)
        u, size, j = sympy.Symbol("u", positive=True), sympy.Symbol("K", integer=True, positive=True), sympy.Symbol("j")
        moved = (held * tau + raised * (tau + t)) / (held + raised)
        return symbolic.identities(
            ("n = 1 + r: w at the threshold", sympy.limit(u**r, u, 0, "+"), 0),
            ("n = 1: threshold after the raise", moved, tau + t * raised / (held + raised)),
            ("n = 1: room of a raised key", tau + t - moved, t * held / (held + raised)),
            ("n = 1: subsets T of K keys", sympy.summation(sympy.binomial(size, j), (j, 0, size)), many(size)),
            ("n < 1: own entry of the key, w_k → ∞", sympy.limit(b - b**2 / (b + w0), b, sympy.oo), w0),
            ("n < 1: its column", sympy.limit(-a * b / (b + w0), b, sympy.oo), -a),
            ("n < 1: other entries", sympy.limit(a * c / (b + w0), b, sympy.oo), 0),
            ("n < 1, two such keys, equal w: 1/entry → 0", sympy.limit((2 * b + w0) / b**2, b, sympy.oo), 0),
            domain="rows with keys exactly at the threshold: n > 1, n = 1, n < 1",
            detail="n = 1: keys T at the threshold raised by t, the others lowered by t: Σ_S(z − τ) = 1 gives the "
            "new threshold, "
            "between τ and τ + t, so the support is S with T, and J = I − 11ᵀ/(|S| + |T|) on it; different T differ on "
            "the diagonal, and near the row no other support occurs: 2^K limits. n < 1: w = u^{n−1} → ∞ as u → 0",
            seed=settings.seed,
        )

    def derivatives(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 64):
            return certified.agree(
                _three_ways(settings, of, radial),
                domain="3 keys in the plane, 3 rules, n = 1/2, 1, 5/2, 64, −2; every derivative in q, k, v, "
                "h, γ, β and n",
                # 192 correct bits, minus the condition of a row of 3 keys: a power of 64 loses 6 bits, a log a few
                # more.
                width=2.0**-150,
                detail="the oracle's vector-Jacobian products, arb's own power series, and the formula",
            )

    def limiting(settings: Settings) -> Finding:
        return exact.equal(
            _limits(many),
            domain="n = 1, rows of 2 or 3 keys of positive weight and K = 1, 2, 3 keys at the threshold",
            detail="exact supports of the oracle at all 2^K moves up or down of the keys at the threshold",
        )

    def convention(settings: Settings) -> Finding:
        return exact.equal(
            _convention(),
            domain="the same rows, K = 1, 2, 3",
            detail="the oracle calls the row a kink and leaves these keys out",
        )  # fmt: skip

    return Claim(
        id="chain_rule",
        label="G3",
        title="All other derivatives by the chain rule, and the kinks",
        statement=r"On the support let $w_i = \rho_i^n / \sum_j \rho_j^n$ with $\rho_i = h^2 - D_i$ (fixed rule) or "
        r"$\rho_i = \gamma - d_i$ (anchored), for $n < 0$ $h^2 + D_i$ or $\gamma + d_i$, and $b_i = n "
        r"w_i/\rho_i$. Then \[\frac{\partial w_i}{\partial \rho_j} = "
        r"b_i \delta_{ij} - w_i b_j, \qquad \frac{\partial w_i}{\partial n} = w_i\Bigl(\log \rho_i - \sum_j w_j \log "
        r"\rho_j"
        r"\Bigr), \qquad \frac{\partial \rho_i}{\partial h} = 2h, \quad \frac{\partial \rho_i}{\partial \gamma} = 1, "
        r"\quad "
        r"\frac{\partial D_i}{\partial q} = 2(q - k_i) = -\frac{\partial D_i}{\partial k_i}.\] The adaptive rule has "
        r"$\partial w/\partial s = \beta J$ and $\partial w/\partial \beta = J s$, $J$ the Jacobian of entmax; "
        r"$\hat y = \sum_i w_i v_i$. Keys exactly at the threshold: for $n > 1$ the Jacobian is continuous there; at "
        r"$n = 1$ "
        r"$K$ of them give $2^K$ limiting Jacobians; for $0 < n < 1$ one has finite limits from each side, two make it "
        r"unbounded. For $n < 0$ no key ever is.",
        source="ours; the Jacobian of entmax: Peters, Niculae & Martins, ACL 2019",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i, v_i", "query, keys and values"),
            Variable("d_i", r"$\max_j s_j - s_i$, $s_i = -D_i/2$, $D_i = \|q - k_i\|^2$"),
            Variable(r"h, \gamma, \beta", "the parameters of the rules, positive"),
            Variable("n", r"order, $n \ne 0$; $n < -1$ or $n > 0$ for the adaptive rule"),
        ),
        assumptions=(
            Assumption("no kink", "for the derivatives: no key at the threshold, one nearest key (anchored)"),
        ),
        formal=Statement(
            domains.domain(n=domains.nonzero(), h=domains.positive(), gamma=domains.positive(), beta=domains.positive())
        ),
        argument="Every derivative is shown for one key and one other; the chain rule joins them. Which supports "
        "occur next to a key at the threshold, and so the number of limiting Jacobians, is said.",
        checks=(
            Check("weights", "the weights in $\\rho$, $n$, $h$, $\\gamma$ and $\\beta$", Role.PROOF, weights),
            Check("points", "distances, scores and the output", Role.PROOF, points),
            Check("kinks", "keys exactly at the threshold", Role.PROOF, kinks),
            Check("derivatives", "oracle, power series and formula agree", Role.SUPPORT, derivatives),
            Check("limiting_jacobians", "the $2^K$ supports next to a row of order 1", Role.SUPPORT, limiting),
            Check("convention", "what the oracle returns at a kink of order 1", Role.SUPPORT, convention),
        ),
    )


@dataclass(frozen=True)
class _Point:
    """A query, keys, values, the order and the rule's parameter as series, one entry of which varies."""

    q: list[Series]
    keys: list[list[Series]]
    v: list[Series]
    order: Series
    parameter: Series

    @property
    def squares(self) -> list[Series]:
        """The squared distances."""
        return distances(self.q, self.keys)


def _names() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from (("q", (c,)) for c in range(len(Q)))
    yield from (("k", (i, c)) for i in range(len(KEYS)) for c in range(len(Q)))
    yield from (("v", (i,)) for i in range(len(V)))
    yield from (("parameter", ()), ("order", ()))


def _point(rule: Any, order: Fraction, name: str, at: tuple[int, ...]) -> _Point:
    def lift(value: Any, here: bool) -> Series:
        return variable(value, 2) if here else constant(value, 2)

    return _Point(
        [lift(x, name == "q" and at == (c,)) for c, x in enumerate(Q)],
        [[lift(x, name == "k" and at == (i, c)) for c, x in enumerate(key)] for i, key in enumerate(KEYS)],
        [lift(x, name == "v" and at == (i,)) for i, x in enumerate(V)],
        lift(order, name == "order"),
        lift(rule.exact, name == "parameter"),
    )


def _weights(point: _Point, rule: Any, tau: arb) -> list[Series]:
    squares = point.squares
    side = 1 if point.order[0] > 0 else -1
    if isinstance(rule, Fixed):
        return compact([side * d / (point.parameter * point.parameter) for d in squares], point.order)
    if isinstance(rule, Anchored):
        return compact([side * gap / point.parameter for gap in _gaps(squares)], point.order)
    return entmax_series([-point.parameter * d / 2 for d in squares], point.order, tau)


def _gaps(squares: Sequence[Series]) -> list[Series]:
    nearest = min(squares, key=lambda d: float(d[0].mid()))
    return [(d - nearest) / 2 for d in squares]


def _stated(point: _Point, rule: Any, w: Sequence[arb], of: Slope, radial: int) -> arb:
    """The formula for the derivative of the output, from the directions in which D, h, γ, β, n and v vary."""
    squares = point.squares
    order, moving = point.order[0], point.order[1] if point.order.length() > 1 else arb(0)
    parameter, step = point.parameter[0], point.parameter[1]
    side = 1 if order > 0 else -1
    values, v_steps = [v[0] for v in point.v], [v[1] for v in point.v]
    if isinstance(rule, Adaptive):
        # ∂w/∂n of the adaptive rule belongs to another claim; here only s and β vary.
        logits = [-(parameter * d[1] + step * d[0]) / 2 for d in squares]
        powers = [p ** (1 - 1 / order) for p in w]
        change = [dot(row, logits) for row in laplacian(powers)]
    else:
        if isinstance(rule, Fixed):
            room = [parameter**2 - side * d[0] for d in squares]
            steps = [radial * parameter * step - side * d[1] for d in squares]
        else:
            gaps = _gaps(squares)
            room = [parameter - side * gap[0] for gap in gaps]
            steps = [step - side * gap[1] for gap in gaps]
        b = [of(order, weight, each) for weight, each in zip(w, room, strict=True)]
        total, log = dot(b, steps), [each.log() for each in room]
        mean = dot(w, log)
        change = [b[i] * steps[i] - w[i] * total + moving * w[i] * (log[i] - mean) for i in range(len(w))]
    return arb(dot(change, values) + dot(w, v_steps))


def _three_ways(settings: Settings, of: Slope, radial: int) -> Any:
    arrays = [list(Q)], [list(key) for key in KEYS], [[x] for x in V]
    bits = settings.precision + 64
    for rule, order in CASES:
        truth = regression_vjp(*arrays, [[1.0]], Kernel(order), rule, precision=bits)
        weighting = regression(*arrays, Kernel(order), rule, precision=bits).weighting
        w, tau = balls(weighting.weights.values()[0]), ball(weighting.threshold.values().item())
        if not weighting.support.all():
            msg = f"the row must have full support under {rule!r} at n = {order}"
            raise ValueError(msg)
        parameter = {Fixed: "h", Anchored: "gamma", Adaptive: "beta"}[type(rule)]
        for name, at in _names():
            point = _point(rule, order, name, at)
            series = dot(_weights(point, rule, tau), point.v)[1]
            gradient = truth[parameter if name == "parameter" else name].values()
            index = {"q": (0, *at), "v": (*at, 0)}.get(name, at)
            text = f"{rule!r}, n = {order}, {name}{list(at)}"
            yield f"{text}: oracle and series", ball(gradient[index]), series
            if not (isinstance(rule, Adaptive) and name == "order"):
                yield f"{text}: series and formula", series, _stated(point, rule, w, of, radial)


def _kinks() -> Iterator[tuple[list[float], int]]:
    """Rows of order 1 with K keys at the threshold, and the number of keys with weight."""
    for free in FREE:
        for keys in (1, 2, 3):
            yield [*free, *[(sum(free) - 1) / len(free)] * keys], len(free)


def _limits(many: Callable[[Any], Any]) -> Any:
    for z, free in _kinks():
        keys = range(free, len(z))
        step = 2.0**-20
        seen = set()
        for size in range(len(keys) + 1):
            for raised in combinations(keys, size):
                near = [each + step * ((i in raised) - (i in keys and i not in raised)) for i, each in enumerate(z)]
                support = tuple(entmax(near, order=1).support.tolist())
                yield f"z = {near}", support, tuple(i < free or i in raised for i in range(len(z)))
                seen.add(_matrix(near))
        yield f"z = {z}: limiting Jacobians", len(seen), many(len(keys))


def _matrix(z: Sequence[float]) -> tuple[Any, ...]:
    """The reference's Jacobian at order 1, in rationals."""
    eye = np.eye(len(z))
    return tuple(tuple(entmax_vjp(list(z), row.tolist(), order=1)["z"].values().tolist()) for row in eye)


def _convention() -> Any:
    for z, free in _kinks():
        row = entmax(z, order=1)
        yield f"z = {z}: kink", bool(row.kink), True
        inside = [Fraction(1) if i < free else Fraction(0) for i in range(len(z))]
        stated = tuple(
            tuple((a if i == j else Fraction(0)) - a * b / free for j, b in enumerate(inside))
            for i, a in enumerate(inside)
        )
        yield f"z = {z}: Jacobian", _matrix(z), stated


CLAIM = build()
FALSE = (
    FalseVariant("the order is missing in b", build(lambda _, weight, room: weight / room)),
    FalseVariant("the room squared", build(lambda order, weight, room: order * weight / room**2)),
    FalseVariant("h for 2h", build(radial=1)),
    FalseVariant("K + 1 limiting Jacobians", build(many=lambda boundary: boundary + 1)),
)
