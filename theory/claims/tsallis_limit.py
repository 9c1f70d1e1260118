"""The entropies of entmax become Shannon's as α → 1, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from flint import arb
from hypothesis import strategies as st

from kernelproof.theory.claim import Check, Claim, Kind, Role, Settings, Variable, Variant
from kernelproof.theory.evidence import certified, drawn, sampled, symbolic
from kernelproof.theory.finding import Finding

Term = Callable[[Any, Any], Any]
Rate = Callable[[Any, Any], Any]
Case = tuple[list[int], int]


def tsallis(p: Any, alpha: Any) -> Any:
    """``(p − p^α)/(α(α − 1))``, a weight's part of H_α as the weights sum to 1; in any arithmetic."""
    return (p - p**alpha) / (alpha * (alpha - 1))


def first_order(p: Any, t: Any) -> Any:
    """``p(t + t²/2)`` with `t` = −log p: a weight's part of the rate; in any arithmetic."""
    return p * (t + t**2 / 2)


def build(term: Term = tsallis, rate: Rate = first_order, *, unit: Any = 1) -> Claim:
    """The claim with the entropies of `term`, the rate `rate`, and −Σ p log p / `unit` as their limit."""

    def limit(settings: Settings) -> Finding:
        p, a = sympy.symbols("p alpha", positive=True)
        e = sympy.Symbol("epsilon", real=True)
        shannon = -p * sympy.log(p) / unit
        slope = (term(p, 1 + e) - shannon) / e
        return symbolic.identities(
            ("H_α, term by term", tsallis(p, a), (p - p**a) / (a * (a - 1))),
            ("the limit of a term from above", sympy.limit(term(p, 1 + e), e, 0, "+"), shannon),
            ("the limit of a term from below", sympy.limit(term(p, 1 + e), e, 0, "-"), shannon),
            ("the limit of (term − limit)/(α − 1)", sympy.limit(slope, e, 0), -rate(p, -sympy.log(p))),
            domain="α → 1 from both sides, all p > 0",
            detail="H_α is the finite sum of its terms, as Σ p_i = 1; p = 0 adds 0 for every α > 0",
            seed=settings.seed,
        )

    return Claim(id="tsallis_limit", title="", statement="", source="", kind=Kind.THEOREM, checks=())
