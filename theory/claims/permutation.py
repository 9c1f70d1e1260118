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
from kernelproof.theory.claim import Claim, ClaimCheck, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import draws, exact, sampled, symbolic
from kernelproof.theory.finding import Finding

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

    def transposition(settings: Settings) -> Finding:
        n, rest = sympy.Symbol("n", positive=True), sympy.Symbol("R", nonnegative=True)
        x, y, tau = sympy.symbols("x y tau", real=True)
        first, second = (sympy.Max(z / n - tau, 0) ** n for z in (x, y))
        return symbolic.identities(
            ("finite order: two keys change places", total([first, second, rest]), total([second, first, rest])),
            (
                "finite order: a key and the rest change places",
                total([first, second, rest]),
                total([first, rest, second]),
            ),
            ("softmax", total([sympy.exp(x), sympy.exp(y), rest]), total([sympy.exp(y), sympy.exp(x), rest])),
            domain="all n > 0 and n = ∞, all logits x, y; the other keys' mass R at any threshold τ",
            detail="every permutation is a product of swaps of neighbours, so the mass at every threshold, and with it "
            "the threshold, is that of the row not permuted; a weight is a function of its own logit and the threshold",
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
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to ∞, any permutation",
            width=1e-20,
            detail="the oracle's weights of the permuted row against its permuted weights",
            show=lambda case: f"z = {case[0]}, n = {draws.name(case[1])}, permutation {case[2]}",
        )

    return Claim(
        id="permutation",
        title="Permuting the keys permutes the weights",
        statement=r"For every permutation matrix $P$ and $0 < n \le \infty$, "
        r"\[\mathrm{entmax}_n(Pz) = P\,\mathrm{entmax}_n(z).\]",
        source="folklore; Martins & Astudillo, From softmax to sparsemax, ICML 2016, for n = 1",
        kind=Kind.THEOREM,
        variables=(Variable("z", r"logits, a row in $\mathbb{R}^m$"), Variable("P", "a permutation matrix")),
        checks=(
            ClaimCheck("transposition", "the mass at a threshold does not know the order", Role.PROOF, transposition),
            ClaimCheck("all_orders", "all permutations of a row, in rationals", Role.SUPPORT, all_orders),
            ClaimCheck("oracle", "the oracle's weights move with their keys", Role.SUPPORT, oracle),
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
