"""G2: the derivative of entmax in α, in a form that loses no digits at any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import sympy
from flint import arb, arb_series, ctx
from hypothesis import strategies
from numpy.typing import NDArray

from kernelproof.reference import entmax, entmax_vjp
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.finding import Cell, Finding, Grid
from kernelproof.theory.rows import dot
from kernelproof.theory.series import ball, balls, constant, digits
from kernelproof.theory.series import entmax as entmax_series
from kernelproof.theory.statement import Statement

ORDERS = (*map(Fraction, ("1/2", "1", "4/3", "2", "8", "-2")), *map(Fraction, (2**10, 2**27, -(2**27))))
ROWS = ((0.0, 0.375, -0.25), (0.0, -0.125, 0.25, 0.125, -0.0625), (0.5, 0.25, 0.25, 0.375))
FLOAT_ROW = (0.0, 0.5, -1.25, 1.0, 0.25, -0.75, 1.5, -2.0)
Stretch = Callable[[Any, Any], Any]
AtOne = Callable[[Any, Any, Any], Any]


def stretch(u: Any, log: Any) -> Any:
    """``φ(u − 1) = log u − (u − 1)/u`` from u and log u; in any arithmetic."""
    return log - (u - 1) / u


def at_one(p: Any, log: Any, mean: Any) -> Any:
    """The derivative at α = 1, ``p_i(E − ℓ_i²)/2``; in any arithmetic."""
    return p * (mean - log**2) / 2


def stable(p: Sequence[Any], u: Sequence[Any], phi: Sequence[Any], order: Any) -> list[Any]:
    """``−n²[p_i φ_i − (w_i/W) Σ_j p_j φ_j]`` with w = p/u; in any arithmetic."""
    w = [each / base for each, base in zip(p, u, strict=True)]
    centre = dot(p, phi) / sum(w[1:], w[0])
    return [-(order**2) * (each * f - other * centre) for each, f, other in zip(p, phi, w, strict=True)]


def build(phi: Stretch = stretch, value: AtOne = at_one) -> Claim:
    """The claim with this φ and this value at α = 1."""

    def derivative(settings: Settings) -> Finding:
        u, p, total, mean = sympy.symbols("u p W M", positive=True)
        z, c = sympy.symbols("z c", real=True)
        n, rate = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("epsilon", real=True, nonzero=True)
        tau = sympy.Function("tau")(n)
        move = sympy.diff(n * sympy.log(z / n - tau), n).subs(z, n * (u + tau))
        slope = sympy.diff(tau, n)
        centre = sympy.solve(mean - 1 + c * total, c)[0]
        return symbolic.identities(
            ("slope of log p", move, sympy.log(u) - 1 - (tau + n * slope) / u),
            ("the part that all keys share keeps the sum", p * (sympy.log(u) - 1) + centre * p / u,
             p * phi(u, sympy.log(u)) - p / u / total * (mean - 1 + total)),
            ("a term of Σ p·φ", p * phi(u, sympy.log(u)), p * (sympy.log(u) - 1) + p / u),
            ("dn/dα", sympy.diff(1 / rate, rate), -1 / rate**2),
            domain="every n = 1/ε ≠ 0, ε = α − 1, all m; for 0 < n ≤ 1 no key at the threshold; on the "
            "support, u = p^{1/n}; off it the "
            "derivative is 0",
            detail="∂p_i/∂n = p_i(log u_i − 1) + c·w_i with one c = −(τ + nτ′); with M = Σp·log u the sum over i is "
            "M − 1 + cW = 0; Σp·φ = M − 1 + W by the third line, so the second is the stated form; then −n² for dn/dα; "
            "for n > 1 [z/n − τ]₊^n has continuous derivatives in n and τ at 0 too, both 0 there",
            seed=settings.seed,
        )  # fmt: skip

    def textbook(settings: Settings) -> Finding:
        n = sympy.Symbol("n", real=True, nonzero=True)
        u = sympy.symbols("u_1:4", positive=True)
        log = [sympy.log(each) for each in u]
        # Σp = 1 makes the two forms equal; the last weight is the remainder, without a power of its own.
        p = list(sympy.symbols("p_1:3", positive=True))
        p.append(1 - p[0] - p[1])
        found = stable(p, u, [phi(each, at) for each, at in zip(u, log, strict=True)], n)
        stated = _textbook(p, u, log, n)
        return symbolic.identities(
            ("the first key", found[0], stated[0]),
            ("the last key", found[2], stated[2]),
            given=(p[2],),
            domain="every n ≠ 0, keys with any u > 0 and Σp = 1 (sums over keys; three stand for any)",
            detail="the textbook form (p − w/W)/(α − 1)² + (h − (w/W)Σh)/(α − 1), h = −p·log p, with log p = n·log u",
            seed=settings.seed,
        )

    def limit(settings: Settings) -> Finding:
        e = sympy.Symbol("epsilon", real=True, nonzero=True)
        log, mean, p = sympy.symbols("l E p", real=True)
        u = sympy.exp(e * log)
        scaled = sympy.limit(phi(u, e * log) / e**2, e, 0, "+-")
        return symbolic.identities(
            ("n²φ → ℓ²/2", scaled, log**2 / 2),
            ("value at α = 1", -(p * log**2 / 2 - p * mean / 2), value(p, log, mean)),
            domain="all m, all logits; n → ±∞",
            detail="u = p^{1/n} = e^{ℓ/n}, w → p and W → 1; the weights and so ℓ tend to those of softmax",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return certified.agree(
                _oracle(settings, phi, value),
                domain=f"{len(ROWS)} rows, n in {', '.join(map(str, ORDERS))} and ∞, every key",
                # 288 bits minus those that n² and the cancellation of φ take, 4·27 bits at n = 2^27.
                width=2.0**-100,
                detail="the oracle's derivative and the formula at the oracle's weights",
            )

    def series(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return certified.agree(
                _series(settings, phi),
                domain=f"{len(ROWS)} rows of full support, n in {', '.join(map(str, ORDERS))}, every key",
                width=2.0**-100,
                detail="power series of the weights in α, differentiated by arb, and the formula",
            )

    def random_rows(settings: Settings) -> Finding:
        def sides(case: tuple[list[float], int, int]) -> tuple[arb, arb]:
            with ctx.workprec(settings.precision + 96):
                z, exponent, sign = case
                order = sign * Fraction(2) ** exponent
                pairs = [(a, b) for _, a, b in _row(z, order, settings, phi)]
                return max(pairs, key=lambda pair: float(abs(pair[0]).mid()))

        logits = strategies.lists(strategies.integers(-64, 64).map(lambda k: k / 16 + 0.01), min_size=2, max_size=6)
        return sampled.equal(
            strategies.tuples(logits, strategies.integers(1, 30), strategies.sampled_from((1, -1))),
            sides,
            settings,
            domain="rows of 2 to 6 logits in [−4, 4], |n| = 2 to 2^30",
            width=2.0**-100,
            detail="the largest derivative of the row",
        )

    def floats(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return _floats(settings)

    return Claim(
        id="order_derivative",
        label="G2",
        title="The derivative of entmax in α, without cancellation",
        statement=r"With $u_i = p_i^{1/n}$, $w_i = p_i/u_i$, $W = \sum_j w_j$ on the support and "
        r"$\varphi(x) = \log(1 + x) - x/(1 + x)$, \[\frac{\partial p_i}{\partial \alpha} = -n^2 "
        r"\Bigl[p_i\,\varphi(u_i - 1) "
        r"- \frac{w_i}{W} \sum_j p_j\,\varphi(u_j - 1)\Bigr], \qquad \frac{\partial p_i}{\partial "
        r"\alpha}\Big|_{\alpha = 1} = "
        r"p_i\,\frac{E - \ell_i^2}{2},\] where $\ell = \log p$ and $E = \sum_j p_j \ell_j^2$. It equals "
        r"$(p_i - w_i/W)/(\alpha - 1)^2 + (h_i - (w_i/W) \sum_j h_j)/(\alpha - 1)$ with $h = -p \log p$, which "
        r"cancels.",
        source="ours; the form that cancels: Correia, Niculae & Martins, Adaptively sparse transformers, EMNLP 2019",
        kind=Kind.THEOREM,
        variables=(
            Variable(r"n, \alpha", r"order $n > 0$ or $n < -1$, $\alpha = 1 + 1/n$"),
            Variable("p", r"$\mathrm{entmax}_n(z)$ of a fixed row $z$"),
        ),
        assumptions=(Assumption("no kink", "for $0 < n \\le 1$, no key exactly at the threshold"),),
        formal=Statement(domains.domain(n=domains.orders(), m=domains.integers(1))),
        argument="The derivative is shown key by key, with the sums over keys as symbols that Σp = 1 ties "
        "together; the textbook form for three keys. That other rows follow, and that weights off the "
        "support stay 0, is said.",
        checks=(
            Check("derivative", "the derivative, by differentiating $\\sum_i p_i = 1$", Role.PROOF, derivative),
            Check("limit", "its value at $\\alpha = 1$", Role.PROOF, limit),
            Check("textbook", "the textbook form is the same function", Role.PROOF, textbook),
            Check("oracle", "certified derivatives", Role.SUPPORT, oracle),
            Check("series", "arb's own differentiation", Role.SUPPORT, series),
            Check("random_rows", "random rows", Role.SUPPORT, random_rows),
            Check("floats", "what the two forms lose in floating point", Role.SUPPORT, floats),
        ),
    )


def _textbook(p: Sequence[Any], u: Sequence[Any], log: Sequence[Any], order: Any) -> list[Any]:
    w = [each / base for each, base in zip(p, u, strict=True)]
    total = sum(w[1:], w[0])
    h = [-each * order * at for each, at in zip(p, log, strict=True)]
    whole = sum(h[1:], h[0])
    return [
        order**2 * (each - other / total) + order * (part - other / total * whole)
        for each, other, part in zip(p, w, h, strict=True)
    ]


def _formula(p: Sequence[arb], order: Fraction, phi: Stretch) -> list[arb]:
    """The formula at a row's weights, 0 off the support."""
    inside = [each for each in p if each > 0]
    log = [each.log() / certified.rational(order) for each in inside]
    u = [each.exp() for each in log]
    stated = iter(stable(inside, u, [phi(a, b) for a, b in zip(u, log, strict=True)], certified.rational(order)))
    return [next(stated) if each > 0 else arb(0) for each in p]


def _derivative(z: Sequence[float], order: Any, bits: int) -> list[arb]:
    eye = np.eye(len(z))
    alpha = {"alpha": 1} if order == inf else {"order": order}
    found = [entmax_vjp(list(z), row.tolist(), precision=bits, **alpha) for row in eye]
    if order == inf:
        return [ball(each["alpha"].values().item()) for each in found]
    return [-(certified.rational(order) ** 2) * ball(each["order"].values().item()) for each in found]


def _row(z: Sequence[float], order: Fraction, settings: Settings, phi: Stretch) -> Any:
    bits = settings.precision + 96
    p = balls(entmax(list(z), order=order, precision=bits).weights.values())
    for key, (left, right) in enumerate(zip(_derivative(z, order, bits), _formula(p, order, phi), strict=True)):
        yield f"z = {z}, n = {order}, key {key}", left, right


def _oracle(settings: Settings, phi: Stretch, value: AtOne) -> Any:
    for z in ROWS:
        for order in ORDERS:
            yield from _row(z, order, settings, phi)
        p = balls(entmax(list(z), precision=settings.precision + 96).weights.values())
        log = [each.log() for each in p]
        mean = dot(p, [each**2 for each in log])
        found = _derivative(z, inf, settings.precision + 96)
        for key, left in enumerate(found):
            yield f"z = {z}, α = 1, key {key}", left, value(p[key], log[key], mean)


def _series(settings: Settings, phi: Stretch) -> Any:
    for z in ROWS:
        for order in ORDERS:
            row = entmax(list(z), order=order, precision=settings.precision + 96)
            if not row.support.all():
                continue
            inverse = certified.rational(1 / order)
            # n as a series in α: 1/(1/n + x).
            moving = 1 / arb_series([inverse, arb(1)], prec=2)
            tau = ball(row.threshold.values().item())
            found = entmax_series([constant(each, 2) for each in z], moving, tau)
            stated = _formula(balls(row.weights.values()), order, phi)
            for key, (left, right) in enumerate(zip(found, stated, strict=True)):
                yield f"z = {z}, n = {order}, key {key}", left[1], right


def _floats(settings: Settings) -> Finding:
    """The largest absolute error of both forms, evaluated in floating point from correctly rounded weights."""
    numbers: dict[str, Cell] = {}
    rows = list[list[Cell]]()
    worst = arb(0)
    for kind, order in ((np.float64, 2**27), (np.float64, 10**8), (np.float32, 2**13), (np.float32, 10**4)):
        truth = _derivative(FLOAT_ROW, Fraction(order), settings.precision)
        p = np.asarray(entmax(list(FLOAT_ROW), order=order).weights.round(kind.__name__)).astype(kind)
        errors = []
        for form in (_float_stable, _float_textbook):
            gaps = [abs(ball(float(a)) - b) for a, b in zip(form(p, kind(order)), truth, strict=True)]
            errors.append(max(gaps, key=lambda gap: float(gap.mid())))
        rows.append([kind.__name__, f"{order:.3g}", digits(errors[0], 3), digits(errors[1], 3)])
        if order == 10**8:
            numbers = {"error of the stable form, float64, n = 1e8": digits(errors[0], 3)}
            numbers["error of the textbook form, float64, n = 1e8"] = digits(errors[1], 3)
            worst = errors[1] - 1000 * errors[0]
    found = certified.exists(
        f"z = {FLOAT_ROW}, n = 10⁸ in float64: the textbook form's error less 1000 times the stable form's",
        worst,
        domain="one row of 8 logits, weights correctly rounded, n = 2^27, 10⁸ in float64, n = 2^13, 10⁴ in float32",
        detail="the two forms are one function, and not one in floating point; φ by its series for |x| below 1/64",
        numbers=numbers,
    )
    grid = Grid(
        title="Largest error of ∂p/∂α in floating point",
        columns=["format", "n", "stable form", "textbook form"],
        rows=rows,
    )
    return found.with_tables(grid)


def _float_stable(p: NDArray[Any], n: Any) -> list[Any]:
    x = np.expm1(np.log(p) / n)
    # φ(x) = Σ (−1)^k (k − 1)/k·x^k; eight terms leave out 2^−54 of it for |x| < 1/64.
    tail = sum(((-x) ** k * x.dtype.type((k - 1) / k) for k in range(2, 11)), np.zeros_like(x))
    phi = np.where(np.abs(x) < 1 / 64, tail, np.log1p(x) - x / (1 + x))
    w = p / (1 + x)
    return list(-(n * n) * (p * phi - w / w.sum() * (p * phi).sum()))


def _float_textbook(p: NDArray[Any], n: Any) -> list[Any]:
    w = p ** (1 - 1 / n)
    share = w / w.sum()
    h = -p * np.log(p)
    return list((p - share) * (n * n) + (h - share * h.sum()) * n)


CLAIM = build()
FALSE = (
    FalseVariant("x for x/(1 + x) in φ", build(lambda u, log: log - (u - 1))),
    FalseVariant("the logarithm alone", build(lambda _, log: log)),
    FalseVariant("the value at α = 1 counted twice", build(value=lambda p, log, mean: p * (mean - log**2))),
    FalseVariant("the mean is missing at α = 1", build(value=lambda p, log, _: -p * log**2 / 2)),
)
