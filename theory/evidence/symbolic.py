"""Symbolic evidence: SymPy shows that two expressions are equal, that a sign holds, or what a limit is.

Before anything is simplified, both sides are evaluated at seeded rational points that satisfy the assumptions of the
symbols. If they differ by more than rounding can explain, the identity is refuted with that point as a witness, so a
bug in the simplifier cannot turn it into a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import sympy
from sympy import Expr, Rational, Symbol

from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict

POINTS = 6
DIGITS = 60
"""Decimal digits of the evaluation at a point; rounding does not explain a difference above half of them."""

Pair = tuple[str, Any, Any]
"""A name and the two sides."""

_STEPS: tuple[Callable[[Expr], Expr], ...] = (
    sympy.expand,
    sympy.factor,
    sympy.simplify,
    sympy.gammasimp,
    lambda e: sympy.simplify(sympy.expand_log(sympy.powsimp(sympy.expand_power_exp(sympy.expand_power_base(e))))),
    lambda e: sympy.simplify(e.rewrite(sympy.gamma)),
)


def identities(*pairs: Pair, domain: str, detail: str = "", seed: int = 0) -> Finding:
    """PROVED if SymPy reduces ``left − right`` to 0 for every pair, for all values of the symbols.

    Args:
        pairs: (name, left, right); SymPy expressions whose symbols carry the assumptions.
        domain: the symbols' domain in words, for the reader.
        detail: how the pairs make up the proof, such as "induction on n".
        seed: seed of the points that are tried first for a difference.
    """
    undecided = []
    for name, left, right in pairs:
        difference = sympy.sympify(left) - sympy.sympify(right)
        witness = _differs(difference, left, seed)
        if witness is not None:
            return _refuted(Relation.EQUALITY, domain, f"{name}: {witness}", detail)
        if not vanishes(difference):
            undecided.append(name)
    return _finding(Relation.EQUALITY, domain, detail, len(pairs), undecided)


def vanishes(difference: Expr) -> bool:
    """Whether SymPy proves that the expression is 0; False proves nothing."""
    return bool(difference == 0) or any(step(difference) == 0 for step in _STEPS)


def positive(*named: tuple[str, Any], domain: str, detail: str = "", seed: int = 0, strict: bool = True) -> Finding:
    """PROVED if SymPy derives from the symbols' assumptions that every expression is > 0 (≥ 0 if not `strict`).

    Args:
        named: (name, expression).
        domain: the symbols' domain in words.
        detail: how they make up the proof.
        seed: seed of the points that are tried first for a wrong sign.
        strict: whether the sign is > 0 instead of ≥ 0.
    """
    undecided = []
    for name, expression in named:
        value = sympy.sympify(expression)
        witness = _wrong_sign(value, seed, strict=strict)
        if witness is not None:
            return _refuted(Relation.INEQUALITY, domain, f"{name}: {witness}", detail)
        if not any(_has_sign(form, strict=strict) for form in _forms(value)):
            undecided.append(name)
    return _finding(Relation.INEQUALITY, domain, detail, len(named), undecided)


def _forms(value: Expr) -> Iterable[Expr]:
    yield value
    for step in (sympy.factor, sympy.together, sympy.expand, sympy.simplify):
        yield step(value)


def _has_sign(value: Expr, *, strict: bool) -> bool:
    return bool(value.is_positive if strict else value.is_nonnegative)


def points(symbols: Sequence[Symbol], seed: int, count: int = POINTS) -> Iterable[dict[Symbol, Rational]]:
    """Seeded rational points that satisfy the assumptions of `symbols`."""
    random = Random(seed)  # noqa: S311 (points to look at, no secret)
    for _ in range(count):
        yield {symbol: _value(symbol, random) for symbol in symbols}


def _value(symbol: Symbol, random: Random) -> Rational:
    if symbol.is_integer:
        low = 1 if symbol.is_positive else 0 if symbol.is_nonnegative else -6
        return sympy.Integer(random.randint(low, 6))
    size = Rational(random.randint(1, 400), random.randint(60, 140))
    if symbol.is_negative or symbol.is_nonpositive:
        return -size
    return size if symbol.is_positive or symbol.is_nonnegative else size * random.choice((-1, 1))


def _symbols(expression: Expr) -> list[Symbol]:
    return sorted(expression.free_symbols, key=str)


def _differs(difference: Expr, scale: Any, seed: int) -> str | None:
    """A point, in words, where rounding does not explain the difference; None if none was found."""
    for point in points(_symbols(difference), seed):
        value = _number(difference.subs(point))
        if value is None:
            continue
        size = _number(sympy.sympify(scale).subs(point))
        if abs(value) > sympy.Float(10) ** (-DIGITS // 2) * (1 + (abs(size) if size is not None else 0)):
            return f"{_words(point)}: the sides differ by {sympy.N(value, 8)}"
    return None


def _wrong_sign(value: Expr, seed: int, *, strict: bool) -> str | None:
    for point in points(_symbols(value), seed):
        number = _number(value.subs(point))
        if number is None or not number.is_real:
            continue
        limit = sympy.Float(10) ** (-DIGITS // 2)
        if number < -limit or (strict and number == 0):
            return f"{_words(point)}: the value is {sympy.N(number, 8)}"
    return None


def _number(value: Expr) -> Any:
    """The value to `DIGITS` digits; None if it has none (a pole, or a form that is not a number)."""
    number = sympy.N(value, DIGITS)
    return number if number.is_number and number.is_finite else None


def _words(point: dict[Symbol, Rational]) -> str:
    return ", ".join(f"{symbol} = {value}" for symbol, value in point.items()) or "everywhere"


def _finding(relation: Relation, domain: str, detail: str, count: int, undecided: list[str]) -> Finding:
    text = detail if not undecided else f"{detail}; SymPy does not decide: {', '.join(undecided)}".lstrip("; ")
    return Finding(
        evidence=Evidence.SYMBOLIC,
        relation=relation,
        verdict=Verdict.UNDECIDED if undecided else Verdict.PROVED,
        domain=domain,
        decided=count - len(undecided),
        undecided=len(undecided),
        detail=text,
    )


def _refuted(relation: Relation, domain: str, witness: str, detail: str) -> Finding:
    return Finding(
        evidence=Evidence.SYMBOLIC,
        relation=relation,
        verdict=Verdict.REFUTED,
        domain=domain,
        decided=1,
        detail=detail,
        witness=witness,
    )
