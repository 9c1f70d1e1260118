"""Where a search for the worst error looks: every op, order, bandwidth rule and dtype that a target has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kernelproof.reference.model import exact_number
from kernelproof.verify.case import RANKS, Case
from kernelproof.verify.fuzz.forms import forms_of
from kernelproof.verify.suites import ORDERS, RULES, Selection, kinds_at, rule_text
from kernelproof.verify.targets import Target


def places(target: Target, selection: Selection) -> list[Case]:
    """A case for each place of `selection` that `target` can be asked, of the shape of one witness."""
    found = []
    for narrowed in target.selections(selection):
        (op,) = narrowed.ops
        scope = target.scope(op)
        assert scope is not None  # selections are of ops that it has
        for order, alpha, rule in _mechanisms(op, narrowed):
            for dtype in selection.dtypes or target.dtypes:
                case = Case(op, order, alpha, rule, dtype, "random", (1,) * RANKS[op], "1", selection.seed)
                forms = forms_of(case, scope)
                placed = replace(case, shape=forms[0].shape(1)) if forms else case
                if forms and scope.refuses(placed) is None:
                    found.append(placed)
    return found


def _mechanisms(op: str, selection: Selection) -> Iterator[tuple[str, str | None, str]]:
    """Order, α and rule, one of the first two empty."""
    if op == "entmax":
        # Order 0 has no adaptive bandwidth.
        orders = [order for order in selection.orders if exact_number(order, "order") != 0]
        numbers: list[tuple[str, str | None]] = [(order, None) for order in orders]
        numbers += [("", alpha) for alpha in selection.alphas]
        if not selection.orders and not selection.alphas:
            numbers = [(order, None) for order in ORDERS]
        yield from ((order, alpha, "adaptive:1") for order, alpha in numbers)
        return
    orders = [] if selection.alphas else [*(selection.orders or ("0", *ORDERS))]
    for kind in selection.rules or RULES:
        yield from ((order, None, rule_text(kind, op, order, 0)) for order in orders if kinds_at(order, (kind,)))
