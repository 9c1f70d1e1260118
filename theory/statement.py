"""A statement as an object: variables with their domains, and what holds for all of them, as text that SymPy reads.

The predicate is text, so that nothing is simplified before the program sees it: ``x/Abs(x) = 1`` is 1 = 1 to SymPy as
soon as x is known to be positive, and the 0 where it has no value is gone. What the symbols may be assumed to be comes
from the domain alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy
from sympy import Expr, IndexedBase, Symbol
from sympy.parsing.sympy_parser import parse_expr

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.domain import Domain, Range

_ZERO = Range(low="0", high="0")
_OPERATORS = (">=", "<=", "=", ">", "<")
_FUNCTIONS = {
    name: getattr(sympy, name)
    for name in (
        "Abs", "exp", "log", "sqrt", "sin", "cos", "tan", "gamma", "loggamma", "digamma", "binomial", "factorial",
        "sign", "Max", "Min", "Sum", "Integral", "Derivative", "Limit", "Rational", "Integer", "Float", "Symbol", "pi",
        "E", "oo",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Predicate:
    """One relation between two sides: ``left operator right``, the operator one of =, > and >=.

    Attributes:
        text: as the statement has it, with its spaces removed.
        sides: both sides as expressions that nothing has simplified.
        values: both sides as SymPy simplifies them by itself.
    """

    text: str
    operator: str
    sides: tuple[Expr, Expr]
    values: tuple[Expr, Expr]


@dataclass(frozen=True)
class Statement:
    """For all values of the variables in `domain`, every predicate holds.

    Attributes:
        domain: the variables and their ranges; a condition is text such as ``h > 0``.
        predicates: relations as text, such as ``(x + y)**2 = x**2 + 2*x*y + y**2``; none where only words say it.

    Raises:
        ClaimError: a predicate that is not a relation, or has a variable that the domain does not name.

    >>> from kernelproof.theory.domain import domain, positive
    >>> Statement(domain(x=positive()), ("x + 1/x >= 2",)).subject
    ('x+1/x >= 2',)
    """

    domain: Domain
    predicates: tuple[str, ...] = ()

    @property
    def subject(self) -> tuple[str, ...]:
        """The predicates in a form in which evidence names what it decided."""
        return tuple(each.text for each in self.parsed)

    @property
    def symbols(self) -> dict[str, Any]:
        """The SymPy symbol of every variable, which assumes no more than its range says."""
        return {name: symbol(name, values) for name, values in self.domain.ranges.items()}

    @cached_property
    def parsed(self) -> tuple[Predicate, ...]:
        """The predicates as expressions."""
        return tuple(self._relation(text) for text in self.predicates)

    @cached_property
    def conditions(self) -> tuple[Predicate, ...]:
        """The conditions of the domain as expressions: strict inequalities."""
        found = tuple(self._relation(text) for text in self.domain.conditions)
        for each in found:
            if each.operator != ">":
                msg = f"a condition of a domain is a strict inequality; got {each.text!r}"
                raise ClaimError(msg)
        return found

    def _relation(self, text: str) -> Predicate:
        plain = re.sub(r"\s+", "", text)
        for operator in _OPERATORS:
            parts = plain.split(operator)
            if len(parts) == 2 and all(parts):
                break
        else:
            msg = f"a predicate is two sides with one of {', '.join(_OPERATORS)} between them; got {text!r}"
            raise ClaimError(msg)
        if operator.startswith("<"):
            parts, operator = parts[::-1], operator.replace("<", ">")
        bound = _bound(plain)
        names = {**_FUNCTIONS, **self.symbols, **bound}
        raw, values = ([_parse(part, names, evaluate=flag) for part in parts] for flag in (False, True))
        values = [each.doit() if each.has(sympy.Integral) else each for each in values]
        for side in raw:
            if unknown := sorted({_name(each) for each in side.free_symbols} - {*self.domain.ranges, *bound}):
                msg = f"{text!r} has the variables {', '.join(unknown)}, which its domain does not name"
                raise ClaimError(msg)
        return Predicate(f"{parts[0]} {operator} {parts[1]}", operator, (raw[0], raw[1]), (values[0], values[1]))


def symbol(name: str, values: Range) -> Any:
    """The SymPy symbol called `name` with the assumptions that hold on all of `values`, or an indexed one."""
    low, high = values.ends
    assumed: dict[str, bool] = {"integer": True} if values.integer else {"real": True}
    if low is not None and low >= 0:
        assumed["positive" if low > 0 or values.open_low else "nonnegative"] = True
    elif high is not None and high <= 0:
        assumed["negative" if high < 0 or values.open_high else "nonpositive"] = True
    elif values.without is not None and Range(low=values.without[0], high=values.without[1]).covers(_ZERO):
        assumed["nonzero"] = True
    return IndexedBase(name, **assumed) if values.index else Symbol(name, **assumed)


def _bound(text: str) -> dict[str, Symbol]:
    """The indices of sums and the variables of integrals, which are bound there, from their limits."""
    limits = re.findall(r"\(([A-Za-z]\w*),(-?\w+),(-?\w+)\)", text)
    of_sum = {"integer": True, "positive": True}
    return {name: Symbol(name, **(of_sum if low == "1" else {"real": True})) for name, low, _ in limits}


def _name(each: Any) -> str:
    # The free symbols of x[j] are x, as a label and as x[j], and j.
    return str(getattr(each, "base", each))


def _parse(text: str, names: Mapping[str, Any], *, evaluate: bool) -> Expr:
    try:
        return sympy.sympify(parse_expr(text, local_dict=dict(names), evaluate=evaluate))
    except Exception as error:
        msg = f"SymPy does not read {text!r}: {type(error).__name__}: {error}"
        raise ClaimError(msg) from error
