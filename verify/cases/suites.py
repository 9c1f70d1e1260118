"""Suites and selections: how much a run tries, and what a user restricts it to.

Only the exhaustive suite tries every recipe of every family at every order, rule and dtype. The other suites try every
combination of op, rule, order and dtype and distribute the families and their recipes over them in turn: the fewer the
combinations, the more recipes each gets, up to all recipes. Recipes that every order must have are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, resolve_kernel
from kernelproof.verify.cases.combined import Taken
from kernelproof.verify.cases.families.large import FAMILY
from kernelproof.verify.cases.families.large import SUITE as LARGE
from kernelproof.verify.records import OPS

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

ORDERS = ("1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "10000", "100000000", "inf")
"""The orders of every suite, where a user or a target names no others."""
HEAVY_TAILS = ("-1/2", "-3/2", "-2", "-64", "-1000000")
"""Those of targets that take negative orders, besides."""
ALPHAS = ("4/3", "3", "1.0001")
"""Values of α that entmax is asked for besides."""
RULES = ("adaptive", "fixed", "anchored", "nearest")
HALVES = ("float64", "float32", "float16", "bfloat16")
"""The dtypes of the combinations of the suite quick: those that most targets take."""


@dataclass(frozen=True)
class Suite:
    """How much a suite tries.

    Attributes:
        dtypes: the dtypes that it tries.
        entmax: recipes for each order and dtype of entmax, from one family after the other; None means all.
        mixed: the same for each rule, order and dtype of the other ops.
        entmax_budget: cases of entmax up to which a run of few orders and dtypes gets more recipes for each.
        mixed_budget: the same for each other op.
        families: the families that it tries; empty means all.
        strength: how many levels of `kernelproof.verify.cases.axes` it combines in every way: 2 for pairs, 3 for
            triples; 0 for none.
        rows: the most cases of these combinations for each op; None means as many as they need.
        paired: the dtypes of these combinations; empty means all.
    """

    name: str
    dtypes: tuple[str, ...]
    entmax: int | None
    mixed: int | None
    entmax_budget: int = 0
    mixed_budget: int = 0
    families: tuple[str, ...] = ()
    strength: int = 2
    rows: int | None = None
    paired: tuple[str, ...] = ()

    def share(self, op: str, places: int) -> int | None:
        """The number of recipes for each of `places` combinations of `op`: the suite's or more; None means all."""
        least, budget = (self.entmax, self.entmax_budget) if op == "entmax" else (self.mixed, self.mixed_budget)
        if least is None:
            return None
        # Less than twice the number is not worth a change: runs of the whole grid keep their cases.
        return max(least, budget // places if budget >= 2 * least * places else 0)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("quick", ("float64", "float32"), 5, 1, 200, 96, rows=16, paired=HALVES),
        Suite("standard", tuple(FORMATS), 12, 2, 1000, 276),
        Suite("exhaustive", tuple(FORMATS), None, None, strength=3),
        Suite(LARGE, ("float32",), None, None, families=(FAMILY.id,), strength=0),
    )
}


class Places(Protocol):
    """Whether a target takes the order and the rule of a case; equal targets have equal ones."""

    def __call__(self, case: Case) -> bool:
        """Whether it takes them."""

    def __hash__(self) -> int:
        """Equal selections are planned once."""


@dataclass(frozen=True)
class Selection:
    """What a run is restricted to; empty means no restriction.

    Attributes:
        suite: a name of `SUITES`.
        seed: the seed of every case.
        ops: some of `OPS`.
        orders: orders, as text.
        alphas: values of α, as text; they restrict the run to entmax.
        dtypes: names of dtypes, which may include dtypes that the suite leaves out.
        rules: bandwidth rules of the ops other than entmax, or patterns of rules; see `kernelproof.verify.cases.rules`.
        taken: what a target takes of the axes of combinations; None means everything.
        places: the orders and rules at which combinations are planned; None means all.
        heavy_tails: whether negative orders are among the usual ones.
    """

    suite: str = "standard"
    seed: int = 0
    ops: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    alphas: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    taken: Taken | None = None
    places: Places | None = None
    heavy_tails: bool = False

    @property
    def usual_orders(self) -> tuple[str, ...]:
        """The positive and negative orders of a run that names none."""
        return (*HEAVY_TAILS, *ORDERS) if self.heavy_tails else ORDERS

    @property
    def words(self) -> list[str]:
        """The command-line options that give this restriction; the caller adds those for suite and seed."""
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

    @property
    def combined(self) -> Taken:
        """What the combinations of the run may have: what the target takes, in dtypes of the run."""
        suite = SUITES[self.suite]
        if self.taken is None:
            return Taken(dtypes=self.dtypes or suite.paired or tuple(FORMATS))
        paired = tuple(dtype for dtype in self.taken.dtypes if dtype in (suite.paired or FORMATS))
        return replace(self.taken, dtypes=paired or self.taken.dtypes)


def parse_numbers(text: str, name: str) -> tuple[str, ...]:
    """Read the numbers of a comma-separated list, as canonical texts.

    Raises:
        DomainError: an item is not a number, or is outside the domain of an order or of α.

    >>> parse_numbers("1/2, 1.5,inf", "order")
    ('1/2', '3/2', 'inf')
    """
    found = []
    for part in text.split(","):
        resolve_kernel(**{name: part})
        number = exact_number(part, name)
        found.append("inf" if number == INFINITY else str(number))
    return tuple(dict.fromkeys(found))
