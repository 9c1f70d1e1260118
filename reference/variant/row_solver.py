"""One row of a variant: γ with a certificate, the support, the weights, and the vector-Jacobian product.

γ. The equation is evaluated at exact points; a proved sign moves an end of the bracket. Once the support is the same
over the whole bracket, the interval Newton step ``N = m − E(m)/E′(Γ)`` of the bracket Γ with midpoint m contracts it:
if E′(Γ) > 0 and the signs at the ends differ, there is exactly one root in Γ, and it lies in N ∩ Γ. There is no root
elsewhere because in the class the equation increases with γ (see `membership`).

Support. Balls decide ``t_i < edge``, and exact arithmetic does if γ is a given rational. If the precision does not
decide it, `UndecidedError` is raised.

Source: R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis, SIAM, 2009, chapter 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, ctx

from kernelproof.reference.errors import UndecidedError
from kernelproof.reference.variant.definition import Constant, Root, Variant
from kernelproof.reference.variant.jets import Jet, as_jet, ball
from kernelproof.reference.variant.user_calls import X, equation_at, numbers_of, profile_at

BITS_CAP = 4096
"""The largest precision, in bits, at which a support is sought."""
BISECTIONS = 400


@dataclass(frozen=True, eq=False)
class Term:
    """K at one key: value, ∂K/∂t and ∂K/∂θ by parameter, and t with its derivatives by d and by γ."""

    value: arb
    slope: arb
    by_parameter: dict[str, arb]
    t: arb
    t_gap: arb
    t_gamma: arb


@dataclass(frozen=True, eq=False)
class SolvedRow:
    """The solution of one row.

    Attributes:
        size: the size of the support, which is the first keys by ascending gap.
        boundary: how many further keys lie exactly at the edge.
        gamma: γ, a ball.
        terms: the terms of the support.
        weights: the weights of the support.
    """

    size: int
    boundary: int
    gamma: arb
    terms: list[Term]
    weights: list[arb]


def solve(variant: Variant, gaps: list[Fraction], bits: int) -> SolvedRow:
    """Solve the row of ascending exact gaps, the first 0, for weights with about `bits` correct bits.

    Raises:
        UndecidedError: γ or the support is not proved, or no γ in the bracket gives any key weight.
    """
    precision = bits + 32
    while True:
        with ctx.workprec(precision):
            found = _solve(variant, gaps, bits)
        if found is not None:
            return found
        precision *= 2
        if precision > BITS_CAP:
            msg = f"the support of a row of {variant.name} is not decided at {precision // 2} bits"
            raise UndecidedError(msg)


def _solve(variant: Variant, gaps: list[Fraction], bits: int) -> SolvedRow | None:
    bandwidth = variant.bandwidth
    boundary = 0
    if isinstance(bandwidth, Constant):
        gamma = ball(variant.gamma)
        limit = threshold(variant, variant.gamma)
        size = len(gaps) if limit is None else sum(1 for gap in gaps if gap < limit)
        boundary = 0 if limit is None else sum(1 for gap in gaps if gap == limit)
    else:
        located = locate(variant, bandwidth, gaps, bits)
        if located is None:
            return None
        gamma, size = located
    terms = [term(variant, gap, gamma) for gap in gaps[:size]]
    total = X.total([each.value for each in terms])
    positive = total > 0
    if positive is False:
        msg = f"no key of a row of {variant.name} is proved to have weight"
        raise UndecidedError(msg)
    weights = [each.value / total for each in terms]
    if not all(weight.is_finite() and (weight.rad() <= weight.mid() * arb((1, -bits))) for weight in weights):
        return None
    return SolvedRow(size, boundary, gamma, terms, weights)


def threshold(variant: Variant, gamma: Any) -> Any:
    """The gap from which on keys have no weight, in the arithmetic of γ; None if all keys have weight."""
    edge = variant.exact_edge
    if edge is None:
        return None
    number = edge if isinstance(gamma, Fraction) else ball(edge)
    return number * gamma if variant.geometry == "ratio" else number + gamma


def argument(variant: Variant, gap: Fraction, gamma: arb) -> tuple[arb, arb, arb]:
    """t, ∂t/∂d and ∂t/∂γ of a key."""
    d = ball(gap)
    if variant.geometry == "shift":
        return d - gamma, arb(1), arb(-1)
    return d / gamma, 1 / gamma, -d / (gamma * gamma)


def term(variant: Variant, gap: Fraction, gamma: arb) -> Term:
    """K at one key of the support."""
    t, t_gap, t_gamma = argument(variant, gap, gamma)
    names = list(variant.parameters)
    jet, parameters = _variables(variant, t)
    value = profile_at(variant, jet, parameters)
    by_name = {name: value.partials.get(i + 1, arb(0)) for i, name in enumerate(names)}
    return Term(value.value, value.partials.get(0, arb(0)), by_name, t, t_gap, t_gamma)


def _variables(variant: Variant, t: Any) -> tuple[Jet, dict[str, Jet]]:
    """t and the parameters as independent variables."""
    exact = variant.exact_parameters
    parameters = {name: Jet(ball(value), {i + 1: arb(1)}) for i, (name, value) in enumerate(exact.items())}
    return Jet(t, {0: arb(1)}), parameters


def second_slope(variant: Variant, each: Term) -> arb:
    """∂²K/∂t² at one key."""
    outer = Jet(Jet(each.t, {0: arb(1)}), {0: Jet(arb(1), {})})
    slope = profile_at(variant, outer, numbers_of(variant)).partials.get(0, arb(0))
    second: arb = as_jet(slope).partials.get(0, arb(0))
    return second


@dataclass(frozen=True, eq=False)
class Balance:
    """The equation at one γ: its value, ∂E/∂K_j for the terms, and ∂E/∂θ by parameter."""

    value: arb
    by_term: list[arb]
    by_parameter: dict[str, arb]


def balance(variant: Variant, root: Root, terms: list[Term]) -> Balance:
    """The equation of `root` for these terms."""
    exact, count = variant.exact_parameters, len(terms)
    jets = [Jet(each.value, {i: arb(1)}) for i, each in enumerate(terms)]
    parameters = {name: Jet(ball(value), {count + i: arb(1)}) for i, (name, value) in enumerate(exact.items())}
    found = equation_at(variant, root, jets, parameters)
    by_parameter = {name: found.partials.get(count + i, arb(0)) for i, name in enumerate(exact)}
    return Balance(found.value, [found.partials.get(i, arb(0)) for i in range(count)], by_parameter)


def _value(variant: Variant, root: Root, gaps: list[Fraction], size: int, gamma: arb) -> arb:
    """E(γ) alone."""
    parameters = numbers_of(variant)
    terms = [profile_at(variant, Jet(argument(variant, gap, gamma)[0], {}), parameters) for gap in gaps[:size]]
    value: arb = equation_at(variant, root, terms, parameters).value
    return value


def slope_in_gamma(variant: Variant, root: Root, gaps: list[Fraction], size: int, gamma: arb) -> tuple[arb, arb]:
    """E and E′ over the ball γ, for a support of `size` keys."""
    parameters = numbers_of(variant)
    jets = []
    for gap in gaps[:size]:
        t, _, t_gamma = argument(variant, gap, gamma)
        jets.append(profile_at(variant, Jet(t, {0: t_gamma}), parameters))
    found = equation_at(variant, root, jets, parameters)
    return found.value, found.partials.get(0, arb(0))


def inside(variant: Variant, gaps: list[Fraction], gamma: arb) -> int | None:
    """How many keys have weight at every γ of a ball; None if the number varies."""
    limit = threshold(variant, gamma)
    if limit is None:
        return len(gaps)
    count = 0
    for gap in gaps:
        if ball(gap) < limit:
            count += 1
        else:
            return count if ball(gap) >= limit else None
    return count


def locate(variant: Variant, root: Root, gaps: list[Fraction], bits: int) -> tuple[arb, int] | None:
    """A ball that contains γ and no other root, and the size of the support; None if that takes more precision.

    Raises:
        UndecidedError: the equation has the same sign at both ends of the interval for γ.
    """
    low, high = _bracket(variant, root, gaps)
    goal = arb((1, -bits - 8))
    for _ in range(BISECTIONS):
        box = low.union(high)
        size = inside(variant, gaps, box)
        if size is not None:
            slope = slope_in_gamma(variant, root, gaps, size, box)[1]
            if slope.is_finite() and slope > 0:
                middle = box.mid()
                image = middle - _value(variant, root, gaps, size, middle) / slope
                if image.is_finite() and box.contains(image):
                    if image.rad() <= abs(image).lower() * goal or image.rad() * 2 >= box.rad():
                        return image, size
                    low, high = _ends(image)
                    continue
        middle = ((low + high) / 2).mid()
        if middle <= low or middle >= high:
            return None
        sign = _sign(variant, root, gaps, middle)
        if sign is None:
            return None
        low, high = (middle, high) if sign < 0 else (low, middle)
    return None


def _ends(image: arb) -> tuple[arb, arb]:
    return image.lower().mid(), image.upper().mid()


def _sign(variant: Variant, root: Root, gaps: list[Fraction], gamma: arb) -> int | None:
    """The proved sign of E at an exact point."""
    size = inside(variant, gaps, gamma)
    if not size:
        # Where no key has weight, γ is below every root.
        return None if size is None else -1
    value = _value(variant, root, gaps, size, gamma)
    return 1 if value > 0 else -1 if value < 0 else None


def _bracket(variant: Variant, root: Root, gaps: list[Fraction]) -> tuple[arb, arb]:
    """Two points with proved, different signs, by doubling outwards from near the gaps, at most to the given ends."""
    least, most = (ball(Fraction(end)) for end in root.within)
    start = arb(1) if variant.geometry == "ratio" else arb(0)
    step = arb(1)
    low = high = min(max(start, least, key=float), most, key=float).mid()
    while (_sign(variant, root, gaps, low) or 1) > 0:
        inside_still = low > least
        if inside_still is False:
            # An end that is not a binary number is a ball, which is never proved to lie above itself.
            _no_root(variant, "below")
        low = (low / 4).mid() if variant.geometry == "ratio" else (low - step).mid()
        step *= 2
        low = max(low, least)
    step = arb(1)
    while (_sign(variant, root, gaps, high) or -1) < 0:
        inside_still = high < most
        if inside_still is False:
            _no_root(variant, "above")
        high = (high * 4).mid() if variant.geometry == "ratio" else (high + step).mid()
        step *= 2
        high = min(high, most)
    return low, high


def _no_root(variant: Variant, side: str) -> None:
    msg = f"the equation of {variant.name} has no proved root: its sign {side} the bracket does not change"
    raise UndecidedError(msg)


@dataclass(frozen=True, eq=False)
class VariantVjp:
    """Gradients of one row by gap over the support and by parameter, and the slopes of γ, from which units are made."""

    by_gap: list[arb]
    by_parameter: dict[str, arb]
    gamma_by_gap: list[arb]
    by_term: list[arb]


def vjp(variant: Variant, found: SolvedRow, cotangent: list[Fraction]) -> VariantVjp:
    """The vector-Jacobian product of one row; `cotangent` runs over its support.

    With c = Σ g_i w_i and S = Σ K_j: ``dL = Σ (g_i − c)/S · dK_i`` and γ moves by the implicit function theorem.

    Source: docs/theory.md §3 (G3).
    """
    terms, weights = found.terms, found.weights
    g = [ball(value) for value in cotangent]
    total = X.total([each.value for each in terms])
    centre = X.total([a * w for a, w in zip(g, weights, strict=True)])
    by_value = [(a - centre) / total for a in g]
    across = X.total([p * each.slope * each.t_gamma for p, each in zip(by_value, terms, strict=True)])
    names = list(variant.parameters)
    direct = {
        name: X.total([p * each.by_parameter[name] for p, each in zip(by_value, terms, strict=True)]) for name in names
    }
    bandwidth = variant.bandwidth
    if isinstance(bandwidth, Constant):
        gamma_by_gap = [arb(0)] * len(terms)
        direct[bandwidth.parameter] = across
        by_term = gamma_by_gap
    else:
        held = balance(variant, bandwidth, terms)
        by_term = held.by_term
        rate = X.total([e * each.slope * each.t_gamma for e, each in zip(by_term, terms, strict=True)])
        gamma_by_gap = [-e * each.slope * each.t_gap / rate for e, each in zip(by_term, terms, strict=True)]
        for name in names:
            moved = X.total([e * each.by_parameter[name] for e, each in zip(by_term, terms, strict=True)])
            direct[name] += across * (-(moved + held.by_parameter[name]) / rate)
    by_gap = [
        p * each.slope * each.t_gap + across * slope
        for p, each, slope in zip(by_value, terms, gamma_by_gap, strict=True)
    ]
    return VariantVjp(by_gap, direct, gamma_by_gap, by_term)
