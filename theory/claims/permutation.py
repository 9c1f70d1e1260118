"""Permuting the keys permutes the weights, and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import permutations
from typing import Any

import sympy
from flint import arb
from hypothesis import strategies as st

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import draws, exact, sampled, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Total = Callable[[Sequence[Any]], Any]
Places = Callable[[Sequence[int]], Sequence[int]]


def mass(values: Sequence[Any]) -> Any:
    """``Σ_i``, the sum that the threshold makes 1; in any arithmetic."""
    return sum(values[1:], start=values[0])


def same(order: Sequence[int]) -> Sequence[int]:
    """The permutation that the weights undergo when the logits undergo `order`."""
    return order


def build(total: Total = mass, places: Places = same) -> Claim:
    """The claim for weights whose threshold makes `total` 1, permuted by ``places(permutation of the logits)``."""

    def relabelled(settings: Settings) -> Finding:
        n, tau, z = (
            sympy.Symbol("n", real=True, nonzero=True),
            sympy.Symbol("tau", real=True),
            sympy.symbols("z_1:5", real=True),
        )
        weight_of = sympy.Function("f")
        kinds: dict[str, Callable[[Any], Any]] = {
            "finite order, any function of z/n − τ": lambda x: weight_of(x / n - tau),
            "softmax": lambda x: sympy.exp(x - tau),
        }
        pairs = []
        for kind, weight in kinds.items():
            row = [weight(each) for each in z]
            for order in permutations(range(len(z))):
                moved = [weight(z[i]) for i in order]
                name = f"{kind}, permutation {order}"
                pairs.append((f"{name}: the sum", total(moved), total(row)))
                pairs += [
                    (f"{name}: weight {at}", found, row[i])
                    for at, (found, i) in enumerate(zip(moved, places(order), strict=True))
                ]
        return symbolic.identities(
            *pairs,
            domain="all n ≠ 0 and n = ∞, all rows of four logits, all 24 permutations, any threshold τ",
            detail="the weights of the permuted row at the threshold of the row: they are its weights, permuted as the "
            "claim says, and have the same sum; exchanges of two of four keys make up the permutations of any row",
            seed=settings.seed,
        )

    def one_threshold(settings: Settings) -> Finding:
        n, u = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("u", positive=True)
        x = sympy.Symbol("x", real=True)
        return symbolic.positive(
            ("finite order: −n times the slope of a weight u^n", -n * sympy.diff((u - x) ** n, x).subs(x, 0)),
            ("softmax: minus the slope of a weight u", -sympy.diff(u * sympy.exp(-x), x).subs(x, 0)),
            domain="all n ≠ 0 and n = ∞, all u > 0",
            detail="each weight falls in the threshold for n > 0 and rises for n < 0: one threshold only "
            "makes the weights of the permuted row sum to 1, and it is that of the row",
            seed=settings.seed,
        )

    def all_orders(settings: Settings) -> Finding:
        return exact.equal(
            _permuted(places),
            domain="all 120 permutations of a row of 5 logits with a tie and a key at the threshold, n = 1",
            detail="the oracle's weights are rational numbers at n = 1",
        )

    def oracle(settings: Settings) -> Finding:
        def sides(case: tuple[list[float], draws.Order, list[int]]) -> tuple[arb, arb]:
            z, n, shuffled = case
            order = [i for i in shuffled if i < len(z)]
            left = draws.solved([z[i] for i in order], n, settings.precision)
            right = draws.solved(z, n, settings.precision)
            return draws.worst(left, [right[i] for i in places(order)])

        return sampled.equal(
            st.tuples(draws.logits(), draws.all_orders(), st.permutations(range(6))),
            sides,
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to ∞ and from −32 "
            "to −9/8, any permutation",
            width=1e-20,
            detail="the oracle's weights of the permuted row against its permuted weights",
            show=lambda case: f"z = {case[0]}, n = {draws.name(case[1])}, permutation {case[2]}",
        )

    return Claim(
        id="permutation",
        title="Permuting the keys permutes the weights",
        statement=r"For every permutation matrix $P$ and every order $n > 0$, $n = \infty$ or $n < -1$, "
        r"\[\mathrm{entmax}_n(Pz) = P\,\mathrm{entmax}_n(z).\]",
        source="folklore; Martins & Astudillo, From softmax to sparsemax, ICML 2016, for n = 1",
        kind=Kind.THEOREM,
        variables=(Variable("z", r"logits, a row in $\mathbb{R}^m$"), Variable("P", "a permutation matrix")),
        formal=Statement(domains.domain(n=domains.orders())),
        argument="The permuted weights of four keys are shown to solve the permuted row; that "
        "exchanges make up every permutation, and that the threshold is the only one, is said.",
        checks=(
            Check("relabelled", "at the same threshold the weights are permuted, and sum to 1", Role.PROOF, relabelled),
            Check("one_threshold", "there is one threshold only", Role.PROOF, one_threshold),
            Check("all_orders", "all permutations of a row, in rationals", Role.SUPPORT, all_orders),
            Check("oracle", "the oracle's weights move with their keys", Role.SUPPORT, oracle),
        ),
    )


def _permuted(places: Places) -> Iterator[tuple[str, list[Fraction], list[Fraction]]]:
    # τ = 1/8: the weights are 1/2, 3/16, 3/16, 1/8, and the last key is exactly at the threshold.
    z = [Fraction(x, 16) for x in (10, 5, 5, 4, 2)]
    values = entmax([float(x) for x in z], order=1).weights.values().tolist()
    for order in permutations(range(5)):
        found = entmax([float(z[i]) for i in order], order=1).weights.values().tolist()
        yield f"z = {list(map(str, z))}, order {order}", found, [values[i] for i in places(order)]


def _weighted(values: Sequence[Any]) -> Any:
    return sum((value * (i + 1) for i, value in enumerate(values[1:], start=1)), start=values[0])


def _inverse(order: Sequence[int]) -> Sequence[int]:
    return sorted(range(len(order)), key=order.__getitem__)


CLAIM = build()
FALSE = (
    FalseVariant("the mass counts later keys more", build(_weighted)),
    FalseVariant("the inverse permutation", build(places=_inverse)),
    FalseVariant("the weights stay where they were", build(places=lambda order: range(len(order)))),
)
