"""Draw recipes: any family, feature, shape, order, rule, dtype and seed that a target takes.

Hypothesis draws the dozen small choices of a recipe, and never an array: its buffer of 8 KiB could not hold a row of
1000 floats, whereas a recipe of one line stands for thousands of rows. Hypothesis shrinks towards the first element
of a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from hypothesis import strategies as st

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.coverage import pointless
from kernelproof.verify.cases.families import families, keys_of
from kernelproof.verify.cases.plan import adapts, kinds_at, rule_text
from kernelproof.verify.cases.rules import kernel_of, order_of
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.cases.suites import ALPHAS, HEAVY_TAILS, ORDERS, RULES
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.refitting import fitted_case
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import Target

KEYS = (1, 2, 3, 4, 5, 8, 64, 64, 16, 64, 33, 7, 64, 9, 64, 129, 31, 64, 257)
ROWS = (1, 2, 3, 128, 256, 8, 256, 17, 256, 33, 256, 512)
"""Numbers of rows. Most are large, because a call costs more than a row; the small ones come first, to shrink to."""
CELLS = 2**15
"""The most scores in one recipe, so that a run can end on time."""
SEEDS = 2**20


@dataclass(frozen=True)
class Space:
    """The space from which recipes are drawn.

    Attributes:
        target: the target that they must suit.
        ops: a subset of `OPS`.
        orders: orders as text; empty: the orders of the suites, and any others.
        alphas: values of α as text, for entmax.
        dtypes: names of dtypes.
    """

    target: Target
    ops: tuple[str, ...]
    orders: tuple[str, ...] = ()
    alphas: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "float64")

    def allows(self, case: Case) -> bool:
        """Whether the target supports `case`."""
        return self.target.refuses(case) is None

    def asks(self, case: Case) -> bool:
        """Whether the op, the order and the dtype of `case` belong to this space."""
        numbers: list[tuple[str, str | None]] = [(order, None) for order in self.orders]
        numbers += [("", alpha) for alpha in self.alphas if case.op == "entmax"]
        asked = not (self.orders or self.alphas) or any(kernel_of(*each) == case.kernel for each in numbers)
        return asked and case.op in self.ops and case.dtype in self.dtypes

    def holds(self, subject: Subject) -> bool:
        """Whether `subject` may have been shrunk from a recipe in this space."""
        scope = self.target.scope(subject.case.op)
        return self.asks(subject.case) and scope is not None and not scope.refuses_made(subject.case, subject.inputs)


@cache
def features(family: str, op: str) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...], tuple[int, int] | None]:
    """Features and shapes of a family's recipes for an op, and the range of the features if all are integers."""
    recipes = list(families()[family].recipes("exhaustive", op))
    names = tuple(dict.fromkeys(feature for _, feature in recipes))
    shapes = tuple(dict.fromkeys(shape for shape, _ in recipes))
    whole = [int(name) for name in names if re.fullmatch(r"[+-]?\d+", name)]
    span = (min(whole), max(whole)) if names and len(whole) == len(names) and len(set(whole)) > 1 else None
    return names, shapes, span


@st.composite
def recipes(draw: Any, space: Space) -> Case | None:
    """Draw a case for the target of `space`; None if the choices do not make a legal one."""
    ops = [op for op in OPS if op in space.ops]
    # Ops on scores have many rows in a call, the others few: these get every fourth draw.
    scored = [op for op in ops if op in {"entmax", "weights"}]
    op = draw(st.sampled_from([*scored, *scored, *ops]))
    dtype = draw(st.sampled_from(space.dtypes))
    order, alpha = draw(_numbers(space, op))
    rule = "adaptive:1" if op == "entmax" else draw(_rules(space, op, order))
    names = [name for name in families() if features(name, op)[0] and not pointless(op, name, order, dtype)]
    # The simplest families come first, to shrink to.
    names.sort(key=lambda name: (name not in {"random", "ties"}, name))
    family = draw(st.sampled_from(names))
    words, shapes, span = features(family, op)
    feature = draw(st.sampled_from(words) if span is None else st.one_of(st.sampled_from(words), _whole(words, *span)))
    shape = draw(_shapes(op, family, shapes))
    seed = draw(st.integers(0, SEEDS))
    try:
        case = Case(op, order, alpha, rule, dtype, family, shape, feature, seed)
    except DomainError:  # the order is not allowed with this rule, so there is no case to judge
        return None
    return case if space.allows(case) else fitted_case(space.target, case)


def _whole(words: tuple[str, ...], least: int, most: int) -> st.SearchStrategy[str]:
    signed = any(word.startswith("+") for word in words)
    return st.integers(least, most).map(lambda n: f"{n:+d}" if signed and n else str(n))


def _numbers(space: Space, op: str) -> st.SearchStrategy[tuple[str, str | None]]:
    """Draw (order, α), one of which is empty."""
    scope = space.target.scope(op)
    assert scope is not None  # a space has only ops of its target
    if scope.fixed:
        alpha = scope.alpha if op == "entmax" else None
        order = _order_text(scope) if alpha is None else ""
        return st.just((order, alpha))
    if space.alphas or space.orders:
        held = [(order, None) for order in space.orders] + [("", alpha) for alpha in space.alphas if op == "entmax"]
        return st.sampled_from(held)
    if scope.orders and all(".." not in each for each in scope.orders):
        return st.sampled_from([(each, None) for each in scope.orders])
    plain = ("1", "2", "inf", "3", *(order for order in ORDERS if order not in {"1", "2", "inf", "3"}))
    grid: list[tuple[str, str | None]] = [(order, None) for order in plain]
    if any(each.startswith("-") for each in scope.orders):
        grid += [(order, None) for order in HEAVY_TAILS if op != "entmax" or adapts(order)]
    if op != "entmax":
        grid.append(("0", None))
    else:
        grid += [("", alpha) for alpha in ALPHAS]
    free: list[st.SearchStrategy[tuple[str, str | None]]] = [
        st.integers(1, 100).map(lambda n: (str(n), None)),
        st.integers(1, 160).map(lambda n: (str(Fraction(n, 16)), None)),
    ]
    if op == "entmax":
        free.append(st.integers(1, 192).map(lambda n: ("", str(1 + Fraction(n, 64)))))
    # Most implementations have separate code for these orders: sparsemax, entmax15, softmax.
    usual: list[tuple[str, str | None]] = [("1", None), ("2", None), ("inf", None)]
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(grid), *free)


def _order_text(scope: Scope) -> str:
    """The order of a target that computes only one, as text."""
    return scope.order if scope.order is not None else order_of(scope.alpha or "1")


def _rules(space: Space, op: str, order: str) -> st.SearchStrategy[str]:
    scope = space.target.scope(op)
    kinds = (scope.rules if scope is not None else ()) or RULES
    if order:
        kinds = kinds_at(order, kinds) or RULES[1:2]
    return st.builds(lambda kind, turn: rule_text(kind, op, order, turn), st.sampled_from(kinds), st.integers(0, 35))


def _shapes(op: str, family: str, shapes: tuple[tuple[int, ...], ...]) -> st.SearchStrategy[tuple[int, ...]]:
    if op in {"entmax", "weights"}:
        least, most = keys_of(family)
        keys = [size for size in KEYS if least <= size <= most] or [least]
        fit = [shape for shape in shapes if max(shape, default=0) <= CELLS]
        there = int(getattr(families()[family], "rows", CELLS))
        free = st.builds(lambda rows, size: (min(rows, max(CELLS // size, 1), there), size), _of(ROWS), _of(keys))
        return st.one_of(free, free, free, st.sampled_from(fit)) if fit else free
    fixed = keys_of(family)[0] > 1

    def varied(shape: tuple[int, ...], count: int, size: int, out: int) -> tuple[int, ...]:
        return (*shape[:-4], count, size, shape[-2], out)

    alike = st.builds(varied, st.sampled_from(shapes), st.integers(1, 6), st.integers(1, 24), st.integers(1, 4))
    return st.sampled_from(shapes) if fixed else st.one_of(alike, st.sampled_from(shapes))


def _of(values: Any) -> st.SearchStrategy[int]:
    return st.sampled_from(list(values))
