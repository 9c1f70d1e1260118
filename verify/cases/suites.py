"""Suites: how much a run tries, and what a user restricts it to.

Trying every recipe of every family at every order, rule and dtype is for the exhaustive suite. The others try
every combination of op, rule, order and dtype and deal the families and their recipes out to them in turn: the
fewer the combinations, the more to each, up to all there are. What no order may do without is added to that.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, exact_number
from kernelproof.verify.cases.families.large import FAMILY
from kernelproof.verify.cases.families.large import SUITE as LARGE
from kernelproof.verify.records import OPS

ORDERS = ("1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "10000", "100000000", "inf")
ALPHAS = ("4/3", "3", "1.0001")
RULES = ("adaptive", "fixed", "anchored", "nearest")


@dataclass(frozen=True)
class Suite:
    """How much a suite tries.

    Attributes:
        dtypes: the dtypes, and for each the ops tried in it.
        entmax: recipes for each order and dtype of entmax, from one family after the other; None means all.
        mixed: the same for each rule, order and dtype of the other ops.
        entmax_budget: cases of entmax that a run of few orders and dtypes may have; it gets more recipes for each.
        mixed_budget: the same of each other op.
        families: those it has; empty means all.
    """

    name: str
    dtypes: tuple[str, ...]
    entmax: int | None
    mixed: int | None
    entmax_budget: int = 0
    mixed_budget: int = 0
    families: tuple[str, ...] = ()

    def share(self, op: str, places: int) -> int | None:
        """Recipes for each of `places` combinations of `op`: at least the suite's number; None means all."""
        least, budget = (self.entmax, self.entmax_budget) if op == "entmax" else (self.mixed, self.mixed_budget)
        if least is None:
            return None
        # Short of twice the number it is left alone: the whole grid stays what it is.
        return max(least, budget // places if budget >= 2 * least * places else 0)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("quick", ("float64", "float32"), 5, 1, 200, 96),
        Suite("standard", tuple(FORMATS), 12, 2, 1000, 276),
        Suite("exhaustive", tuple(FORMATS), None, None),
        Suite(LARGE, ("float32",), None, None, families=(FAMILY.id,)),
    )
}


@dataclass(frozen=True)
class Selection:
    """What a run is restricted to; empty means no restriction.

    Attributes:
        suite: a name of `SUITES`.
        seed: of every case.
        ops: a part of `OPS`.
        orders: texts of orders.
        alphas: texts of α; then entmax only.
        dtypes: names of dtypes, also such as the suite leaves out.
        rules: bandwidth rules of the ops but entmax, or patterns of them; see `kernelproof.verify.cases.rules`.
    """

    suite: str = "standard"
    seed: int = 0
    ops: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    alphas: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The options of the command line that restrict a run so; suite and seed are the caller's."""
        lists = {"op": self.ops, "order": self.orders, "alpha": self.alphas, "dtype": self.dtypes}
        return [word for name, held in lists.items() if held for word in (f"--{name}", ",".join(held))]

    @property
    def grid_ops(self) -> tuple[str, ...]:
        """The ops of the run."""
        chosen = self.ops or OPS
        return tuple(op for op in OPS if op in chosen)

    @property
    def grid_dtypes(self) -> tuple[str, ...]:
        """The dtypes of the run."""
        return self.dtypes or SUITES[self.suite].dtypes


def parse_numbers(text: str, name: str) -> tuple[str, ...]:
    """The numbers of a comma-separated list, as canonical texts.

    Raises:
        DomainError: one of them is no number, or outside the domain of an order or of α.

    >>> parse_numbers("1/2, 1.5,inf", "order")
    ('1/2', '3/2', 'inf')
    """
    least = 1 if name == "alpha" else 0
    found = []
    for part in text.split(","):
        number = exact_number(part, name)
        if number < least:
            msg = f"{name} must be in [{least}, inf]; got {part.strip()!r}"
            raise DomainError(msg)
        found.append("inf" if number == INFINITY else str(number))
    return tuple(dict.fromkeys(found))
