"""The places that a search for the worst error visits: every op, order, bandwidth rule and dtype of a target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.plan import adapts, kinds_at, rule_text
from kernelproof.verify.cases.suites import ORDERS, RULES, Selection
from kernelproof.verify.fuzz.forms import forms_of
from kernelproof.verify.records import RANKS
from kernelproof.verify.targets.target import Target

USUAL_ORDERS = ("1/2", "1", "2", "64", "inf")
"""An order below 1, where weights rise steeply; sparsemax; entmax 1.5; an order so high that its power is hard to
compute accurately; softmax."""
USUAL_DTYPES = ("float64", "float32", "float16", "bfloat16")


def places(target: Target, selection: Selection) -> list[Case]:
    """A case, of the shape of one witness, for each place of `selection` that `target` supports."""
    found = []
    for narrowed in target.selections(selection):
        (op,) = narrowed.ops
        scope = target.scope(op)
        assert scope is not None  # the selections of a target name only ops that it has
        for order, alpha, rule in _mechanisms(op, narrowed):
            for dtype in selection.dtypes or target.dtypes:
                case = Case(op, order, alpha, rule, dtype, "random", (1,) * RANKS[op], "1", selection.seed)
                for form in forms_of(case, scope)[:1]:
                    placed = form.subject(case, np.zeros((1, len(form.spans[0]))))
                    if scope.refuses_made(placed.case, placed.inputs) is None:
                        found.append(placed.case)
    return found


def usual(cases: Sequence[Case], selection: Selection) -> list[Case]:
    """The `cases` at `USUAL_ORDERS` and in `USUAL_DTYPES`; orders and dtypes that were asked for, or are few, stay.

    >>> cases = [Case("entmax", order, None, "adaptive:1", "float32", "random", (2,), "1") for order in ORDERS]
    >>> [case.order for case in usual(cases, Selection())], len(usual(cases[:3], Selection()))
    (['1/2', '1', '2', '64', 'inf'], 3)
    """
    found = []
    for op in dict.fromkeys(case.op for case in cases):
        here = [case for case in cases if case.op == op]
        orders, dtypes = [case.order_label for case in here], [case.dtype for case in here]
        if not selection.orders and not selection.alphas:
            orders = _few(orders, USUAL_ORDERS)
        if not selection.dtypes:
            dtypes = _few(dtypes, USUAL_DTYPES)
        found += [case for case in here if case.order_label in orders and case.dtype in dtypes]
    return found


def _few(held: Sequence[str], usual: Sequence[str]) -> list[str]:
    """`held` without duplicates; if these outnumber `usual`, only those that are usual, if any are."""
    whole = list(dict.fromkeys(held))
    return ([each for each in whole if each in usual] if len(whole) > len(usual) else []) or whole


def left_out(whole: Sequence[Case], cases: Sequence[Case]) -> list[str]:
    """The orders and dtypes of `whole` that none of `cases` has, in words."""
    kept = {case.order_label for case in cases}
    gone = {case.order_label: case.kernel.order for case in whole if case.order_label not in kept}
    taken = {case.dtype for case in cases}
    parts = {
        "orders": sorted(gone, key=lambda label: gone[label]),
        "dtypes": [name for name in dict.fromkeys(case.dtype for case in whole) if name not in taken],
    }
    return [f"{name} {', '.join(held)}" for name, held in parts.items() if held]


def _mechanisms(op: str, selection: Selection) -> Iterator[tuple[str, str | None, str]]:
    """Yield order, α and rule; one of the first two is empty."""
    if op == "entmax":
        orders = [order for order in selection.orders if adapts(order)]
        numbers: list[tuple[str, str | None]] = [(order, None) for order in orders]
        numbers += [("", alpha) for alpha in selection.alphas]
        if not selection.orders and not selection.alphas:
            numbers = [(order, None) for order in ORDERS]
        yield from ((order, alpha, "adaptive:1") for order, alpha in numbers)
        return
    orders = [] if selection.alphas else [*(selection.orders or ("0", *ORDERS))]
    for kind in selection.rules or RULES:
        yield from ((order, None, rule_text(kind, op, order, 0)) for order in orders if kinds_at(order, (kind,)))
