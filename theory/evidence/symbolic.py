"""Symbolic evidence: SymPy shows that two expressions are equal, that a sign holds, or what a limit is.

Before anything is simplified, both sides are evaluated at points of the domain, its boundary included, and shown to
have a value on all of it (`definedness`). Expressions with floating-point numbers prove nothing: SymPy rounds with
them. The domain is what the assumptions of the symbols say, not what the words say.

`proves` takes a `Statement`, whose text SymPy has not simplified. `identities` and `positive` take expressions; what
SymPy cancelled while they were built is gone, so that they are steps of a proof and never the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Complex, Rational
from types import MappingProxyType
from typing import Any

import sympy
from sympy import Expr, Symbol
from sympy.core.function import AppliedUndef

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.domain import Domain, Range
from kernelproof.theory.evidence.definedness import above, at_least, undefined
from kernelproof.theory.evidence.points import exceeds, in_words, number_at, points, symbols_of
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict, is_issued, issue
from kernelproof.theory.statement import Predicate, Statement

__all__ = ["either_sign", "identities", "points", "positive", "proves", "vanishes"]

Pair = tuple[str, Any, Any]
"""A name and the two sides."""
WEIGHABLE = 12
"""Up to how many operations of a difference it is tried which assumptions its proof needs; beyond, all are recorded."""

_STEPS: tuple[Callable[[Expr], Expr], ...] = (
    sympy.expand,
    sympy.factor,
    sympy.simplify,
    sympy.gammasimp,
    lambda e: sympy.simplify(sympy.expand_log(sympy.powsimp(sympy.expand_power_exp(sympy.expand_power_base(e))))),
    lambda e: sympy.simplify(e.rewrite(sympy.gamma)),
    lambda e: sympy.simplify(_pulled(e)),
)


@dataclass
class _Outcome:
    """What became of the parts of a proof."""

    undecided: list[str] = field(default_factory=list)
    assumed: set[str] = field(default_factory=set)
    witness: str | None = None


def identities(*pairs: Pair, domain: str, detail: str = "", seed: int = 0, given: Sequence[Any] = ()) -> Finding:
    """PROVED if SymPy reduces ``left − right`` to 0 for every pair, for all values of the symbols.

    Args:
        pairs: (name, left, right); SymPy expressions whose symbols carry the assumptions.
        domain: the symbols' domain in words, for the reader.
        detail: how the pairs make up the proof, such as "induction on n".
        seed: seed of the points that are tried first for a difference.
        given: expressions that are above 0 on the domain, which is smaller by that.
    """
    outcome, conditions = _Outcome(), tuple(sympy.sympify(each) for each in given)
    for name, left, right in pairs:
        _equal(outcome, name, (left, right), (left, right), seed, conditions)
    used = [side for _, left, right in pairs for side in (left, right)]
    return _finding(Relation.EQUALITY, domain, detail, len(pairs), outcome, _domain(used, conditions))


def positive(
    *named: tuple[str, Any],
    domain: str,
    detail: str = "",
    seed: int = 0,
    strict: bool = True,
    given: Sequence[Any] = (),
) -> Finding:
    """PROVED if SymPy derives from the symbols' assumptions that every expression is > 0 (≥ 0 if not `strict`).

    Args:
        named: (name, expression).
        domain: the symbols' domain in words.
        detail: how they make up the proof.
        seed: seed of the points that are tried first for a wrong sign.
        strict: whether the sign is > 0 instead of ≥ 0.
        given: as in `identities`.
    """
    outcome, conditions = _Outcome(), tuple(sympy.sympify(each) for each in given)
    for name, expression in named:
        _signed(outcome, name, expression, expression, seed, conditions, strict=strict)
    on = _domain([each for _, each in named], conditions)
    return _finding(Relation.INEQUALITY, domain, detail, len(named), outcome, on)


def either_sign(below: Finding, above: Finding, *, variable: str, domain: str, detail: str = "") -> Finding:
    """PROVED if `below` is for all values of `variable` under 0 and `above` is for all over 0: for all but 0.

    Of the other variables of both the smaller range counts. What one of the two refutes is REFUTED.

    Args:
        below: by `identities` or `positive`, with a symbol that is negative.
        above: the same with a symbol that is positive.
        variable: its name.
        domain: both sides in words.
        detail: how they make up the step.

    Raises:
        ClaimError: a finding is not one of these.
    """
    ranges: dict[str, Range] = {}
    conditions: list[str] = []
    for each, side in ((below, Range(high="0", open_high=True)), (above, Range(low="0", open_low=True))):
        on = each.on
        if not is_issued(each) or each.evidence is not Evidence.SYMBOLIC or on is None or each.subject:
            msg = f"the two sides are steps that SymPy took; got {each!r}"
            raise ClaimError(msg)
        if on.ranges.get(variable) != side:
            msg = f"one side is for {variable} in {side}; got {on}"
            raise ClaimError(msg)
        for name, values in on.ranges.items():
            other = ranges.get(name, values)
            if name != variable and not (other.covers(values) or values.covers(other)):
                msg = f"{name} is in {other} on one side and in {values} on the other, of which none is the smaller"
                raise ClaimError(msg)
            ranges[name] = values if other.covers(values) else other
        conditions += [text for text in on.conditions if text not in conditions]
    ranges[variable] = Range(without=("0", "0"))
    refuted = next((each for each in (below, above) if each.verdict is Verdict.REFUTED), None)
    undecided = [each.detail for each in (below, above) if each.verdict is Verdict.UNDECIDED]
    outcome = _Outcome(undecided, {*below.assumed, *above.assumed}, refuted.witness if refuted else None)
    relation = Relation.EQUALITY if below.relation is above.relation is Relation.EQUALITY else Relation.INEQUALITY
    count = below.decided + above.decided + len(undecided)
    return _finding(relation, domain, detail, count, outcome, Domain(ranges=ranges, conditions=conditions))


def proves(statement: Statement, *, domain: str = "", detail: str = "", seed: int = 0) -> Finding:
    """PROVED if SymPy shows every predicate of the statement on its domain, or on a larger one.

    Args:
        statement: what is to be shown.
        domain: the domain in words; what the statement says by default.
        detail: a word for the reader.
        seed: as in `identities`.
    """
    outcome = _Outcome()
    given = tuple(each.values[0] - each.values[1] for each in statement.conditions)
    ranges = statement.domain.ranges
    equalities = [each for each in statement.parsed if each.operator == "="]
    for each in statement.parsed:
        _decide(outcome, each, seed, given, ranges)
    used = [side for each in (*statement.parsed, *statement.conditions) for side in each.values]
    on = _domain(used, ()).model_copy(update={"conditions": list(statement.domain.conditions)})
    # A variable that no predicate has, or that SymPy cancelled, has any value.
    seen = {name: on.ranges.get(name, values) for name, values in ranges.items()}
    relation = Relation.EQUALITY if len(equalities) == len(statement.parsed) else Relation.INEQUALITY
    return _finding(
        relation, domain or str(statement.domain), detail, len(statement.parsed), outcome,
        on.model_copy(update={"ranges": seen}), subject=statement.subject,
    )  # fmt: skip


def _decide(
    outcome: _Outcome, predicate: Predicate, seed: int, given: tuple[Expr, ...], ranges: Mapping[str, Range]
) -> None:
    if predicate.operator == "=":
        _equal(outcome, predicate.text, predicate.sides, predicate.values, seed, given, ranges)
        return
    left, right = predicate.sides
    raw = sympy.Add(left, sympy.Mul(-1, right, evaluate=False), evaluate=False)
    value = predicate.values[0] - predicate.values[1]
    _signed(outcome, predicate.text, raw, value, seed, given, ranges, strict=predicate.operator == ">")


def vanishes(difference: Expr) -> bool:
    """Whether SymPy proves that the expression is 0; False proves nothing."""
    return _step_to_zero(difference) is not None


def _step_to_zero(difference: Expr) -> Callable[[Expr], Expr] | None:
    if difference == 0:
        return _STEPS[0]
    for step in _STEPS:
        if step(difference) == 0:
            return step
    return None


def _floats(value: Any) -> bool:
    """Whether `value` is a floating-point number, or an expression with one."""
    if isinstance(value, Expr):
        return any(isinstance(each, sympy.Float) for each in sympy.preorder_traversal(value))
    return isinstance(value, Complex) and not isinstance(value, Rational)


def _equal(
    outcome: _Outcome,
    name: str,
    raw: Sequence[Any],
    values: Sequence[Any],
    seed: int,
    given: tuple[Expr, ...],
    ranges: Mapping[str, Range] = MappingProxyType({}),
) -> None:
    """Decide whether two sides are equal; `raw` are the sides as they were written."""
    if any(map(_floats, (*raw, *values))):
        outcome.undecided.append(f"{name} (a floating-point number stands for many)")
        return
    sides = [sympy.sympify(each) for each in raw]
    # A function that is not known has no value at a point.
    known = not any(side.atoms(AppliedUndef, sympy.Derivative) for side in sides)
    seen = list(_points(sides, seed, given, ranges)) if known else []
    if known and not seen:
        outcome.undecided.append(f"{name} (no point of the domain was found)")
        return
    for point in seen:
        left, right = (number_at(side, point) for side in sides)
        if left is None or right is None:
            outcome.undecided.append(f"{name} (a side has no value at {in_words(point)})")
            return
        if exceeds(left - right, (left, right)):
            outcome.witness = outcome.witness or (
                f"{name}: {in_words(point)}: the sides differ by {sympy.N(left - right, 8)}"
            )
            return
    if missing := [part for side in sides for part in undefined(side, given)]:
        outcome.undecided.append(f"{name} (not shown: {', '.join(dict.fromkeys(missing))})")
        return
    difference = sympy.sympify(values[0]) - sympy.sympify(values[1])
    step = _step_to_zero(difference)
    if step is None:
        outcome.undecided.append(name)
        return
    outcome.assumed |= {f"{each} > 0" for each in given}
    outcome.assumed |= _needed(difference, lambda weaker: step(weaker) == 0)


def _signed(
    outcome: _Outcome,
    name: str,
    raw: Any,
    value: Any,
    seed: int,
    given: tuple[Expr, ...],
    ranges: Mapping[str, Range] = MappingProxyType({}),
    *,
    strict: bool,
) -> None:
    if _floats(raw) or _floats(value):
        outcome.undecided.append(f"{name} (a floating-point number stands for many)")
        return
    raw, value = sympy.sympify(raw), sympy.sympify(value)
    seen = list(_points([raw], seed, given, ranges))
    if not seen:
        outcome.undecided.append(f"{name} (no point of the domain was found)")
        return
    for point in seen:
        number = number_at(raw, point)
        if number is None or not number.is_real:
            outcome.undecided.append(f"{name} (no real value at {in_words(point)})")
            return
        if (number < 0 and exceeds(number, (number * 0,))) or (strict and number == 0):
            outcome.witness = outcome.witness or f"{name}: {in_words(point)}: the value is {sympy.N(number, 8)}"
            return
    if missing := undefined(raw, given):
        outcome.undecided.append(f"{name} (not shown: {', '.join(missing)})")
        return
    if not _has_sign(value, given, strict=strict):
        outcome.undecided.append(name)
        return
    outcome.assumed |= {f"{each} > 0" for each in given}
    outcome.assumed |= _needed(value, lambda weaker: _has_sign(weaker, given, strict=strict))


def _has_sign(value: Expr, given: tuple[Expr, ...], *, strict: bool) -> bool:
    return (above if strict else at_least)(value, given)


def _needed(value: Expr, proved: Callable[[Expr], bool]) -> set[str]:
    """Assumptions with which the same proof goes through, and none of which it can do without: ranges, in words."""
    assuming = [each for each in symbols_of(value) if each.assumptions0 != Symbol(each.name).assumptions0]
    if value.count_ops() > WEIGHABLE:
        # Each would take as long as the proof.
        return {f"{each} in {_range(each)}" for each in assuming}
    needed = set()
    for each in assuming:
        weaker = value.xreplace({each: Symbol(each.name)})
        if proved(weaker):
            value = weaker
        else:
            needed.add(f"{each} in {_range(each)}")
    return needed


def _points(
    sides: Sequence[Expr], seed: int, given: tuple[Expr, ...], ranges: Mapping[str, Range]
) -> Iterator[dict[Symbol, Any]]:
    return points(symbols_of(*sides, *given), seed, given=given, ranges=ranges)


def _domain(values: Iterable[Any], given: tuple[Expr, ...]) -> Domain:
    """What the assumptions of the symbols say."""
    used = [each for each in map(sympy.sympify, values) if isinstance(each, Expr)]
    ranges: dict[str, Range] = {}
    conditions = [f"{each} > 0" for each in given]
    for each in symbols_of(*used, *given):
        mine, other = _range(each), ranges.get(each.name)
        # Symbols of one name with other assumptions: the smaller range is where all was shown.
        if other is None or other.covers(mine):
            ranges[each.name] = mine
        elif not mine.covers(other):
            conditions.append(f"{each} in {mine}")
        # What the range does not say makes the domain smaller: "x is even".
        plain = {name: True for name in _RANGED if each.assumptions0.get(name)}
        more = each.assumptions0.items() - Symbol(each.name, **plain).assumptions0.items()
        conditions += [f"{each} is {'' if value else 'not '}{name}" for name, value in sorted(more)]
    for base in {each.base for side in used for each in side.atoms(sympy.Indexed)}:
        ranges[str(base)] = _range(Symbol("x", **base.assumptions0)).model_copy(update={"index": "index"})
    return Domain(ranges=ranges, conditions=conditions)


_RANGED = ("real", "positive", "negative", "nonnegative", "nonpositive", "nonzero", "integer")
"""The assumptions of a symbol that a `Range` says."""


def _range(each: Symbol) -> Range:
    low = "0" if each.is_nonnegative or each.is_positive else None
    high = "0" if each.is_nonpositive or each.is_negative else None
    return Range(
        low=low,
        high=high,
        open_low=bool(each.is_positive),
        open_high=bool(each.is_negative),
        integer=bool(each.is_integer),
        without=("0", "0") if each.is_nonzero and not (each.is_positive or each.is_negative) else None,
    )


def _pulled(value: Expr) -> Expr:
    """The expression with the terms of its sums apart, and what does not depend on an index outside of its sum."""
    value = sympy.expand(sympy.expand_power_exp(sympy.expand(value)))

    def pull(function: Expr, *limits: Any) -> Expr:
        index = limits[0][0]
        terms = sympy.Add.make_args(sympy.expand(sympy.expand_power_exp(sympy.expand(_pulled(function)))))
        parts = [term.as_independent(index, as_Add=False) for term in terms]
        return sympy.Add(*(outer * sympy.Sum(inner, *limits) for outer, inner in parts))

    return value.replace(sympy.Sum, pull) if value.has(sympy.Sum) else value


def _finding(
    relation: Relation,
    domain: str,
    detail: str,
    count: int,
    outcome: _Outcome,
    on: Domain,
    subject: Sequence[str] = (),
) -> Finding:
    if outcome.witness is not None:
        return issue(
            evidence=Evidence.SYMBOLIC, relation=relation, verdict=Verdict.REFUTED, domain=domain, on=on,
            subject=list(subject), decided=1, detail=detail, witness=outcome.witness,
        )  # fmt: skip
    undecided = outcome.undecided
    text = detail if not undecided else f"{detail}; SymPy does not decide: {', '.join(undecided)}".lstrip("; ")
    return issue(
        evidence=Evidence.SYMBOLIC,
        relation=relation,
        verdict=Verdict.UNDECIDED if undecided or not count else Verdict.PROVED,
        domain=domain,
        on=on,
        subject=list(subject),
        assumed=sorted(outcome.assumed),
        decided=count - len(undecided),
        undecided=len(undecided),
        detail=text,
    )
