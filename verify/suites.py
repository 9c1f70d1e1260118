"""Suites: which cases a run consists of.

Trying every recipe of every family at every order, rule and dtype is for the exhaustive suite. The others try
every combination of op, rule, order and dtype and deal the families and their recipes out to them in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, exact_number
from kernelproof.verify.case import OPS, Case
from kernelproof.verify.cases.masks import WITHOUT_INFINITY
from kernelproof.verify.discovery import families

ORDERS = ("1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "10000", "100000000", "inf")
ALPHAS = ("4/3", "3", "1.0001")
ALPHA_FAMILIES = 3
"""Families for each α and dtype: α is the order by another name, so its path is tried and not the grid again."""
RULES = ("adaptive", "fixed", "anchored", "nearest")


@dataclass(frozen=True)
class Suite:
    """How much a suite tries.

    Attributes:
        dtypes: the dtypes, and for each the ops tried in it.
        entmax: recipes for each order and dtype of entmax, from one family after the other; None means all.
        mixed: the same for each rule, order and dtype of the other ops.
    """

    name: str
    dtypes: tuple[str, ...]
    entmax: int | None
    mixed: int | None


SUITES = {
    suite.name: suite
    for suite in (
        Suite("quick", ("float64", "float32"), 5, 1),
        Suite("standard", tuple(FORMATS), 12, 2),
        Suite("exhaustive", tuple(FORMATS), None, None),
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
    """

    suite: str = "standard"
    seed: int = 0
    ops: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    alphas: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    @property
    def grid_ops(self) -> tuple[str, ...]:
        """The ops of the run."""
        chosen = self.ops or OPS
        return tuple(op for op in OPS if op in chosen)

    @property
    def grid_dtypes(self) -> tuple[str, ...]:
        """The dtypes of the run."""
        return self.dtypes or SUITES[self.suite].dtypes


def rule_text(kind: str, op: str, order: str, turn: int) -> str:
    """A bandwidth rule of `kind` whose supports are neither all keys nor one on normal inputs.

    A bandwidth or reach held constant makes a large order pick the nearest key alone, so there h² = 2n and
    γ = n, which tend to the Gaussian (docs/theory.md §1); every third turn keeps the small constant all the same.

    >>> rule_text("fixed", "weights", "64", 0), rule_text("nearest", "weights", "2", 1)
    ('fixed:11', 'nearest:5:fixed:3')
    """
    number = exact_number(order, "order")
    order_value = float(number)
    wide = 3 < order_value < INFINITY and turn % 3 != 2
    if kind == "adaptive":
        return f"adaptive:{('2', '1/2', '1')[turn % 3]}"
    if kind == "anchored":
        return f"anchored:{order if wide else ('2', '1/2', '3/4')[turn % 3]}"
    if kind == "fixed":
        small = "2" if op == "attention" else "3"
        return f"fixed:{round((2 * order_value) ** 0.5)}" if wide else f"fixed:{small}"
    then = ("adaptive", "fixed", "anchored")[turn % 3]
    keep = (3, 5, 1, 8)[turn % 4]
    if number == 0:
        return f"nearest:{keep}:{('fixed:3', 'adaptive:1')[turn % 2]}"
    return f"nearest:{keep}:{rule_text(then, op, order, turn // 3)}"


class _Dealer:
    """Deals the recipes of the families of one op, each family and each recipe in its turn."""

    def __init__(self, suite: str, op: str, seed: int) -> None:
        held = {name: list(family.recipes(suite, op)) for name, family in families().items()}
        self.recipes = {name: found for name, found in held.items() if found}
        self.next = {name: seed + at for at, name in enumerate(self.recipes)}
        self.turn = seed

    def deal(self, count: int | None) -> Iterator[tuple[str, tuple[int, ...], str]]:
        """The next recipe of each of the next `count` families; None: every recipe of all."""
        names = list(self.recipes)
        for name, found in self.recipes.items() if count is None else ():
            yield from ((name, shape, feature) for shape, feature in found)
        for _ in range((count or 0) if names else 0):
            name = names[self.turn % len(names)]
            self.turn += 1
            yield (name, *self.draw(name))

    def draw(self, name: str) -> tuple[tuple[int, ...], str]:
        """The next recipe of one family."""
        found = self.recipes[name]
        self.next[name] += 1
        return found[self.next[name] % len(found)]


def plan(selection: Selection, *, alpha_only: bool = False, fixed: bool = False) -> tuple[Case, ...]:
    """The cases of a run, without repetition.

    Args:
        selection: what the user asked for.
        alpha_only: some target can be told α only; orders whose α no float64 holds come as α to it too.
        fixed: there are no cases but those of the orders and alphas selected.
    """
    found = [case for op in selection.grid_ops for case in _of_op(op, selection, alpha_only=alpha_only, fixed=fixed)]
    return tuple(dict.fromkeys(found))


def _of_op(op: str, selection: Selection, *, alpha_only: bool, fixed: bool) -> Iterator[Case]:
    dealer = _Dealer(selection.suite, op, selection.seed)
    if op == "entmax":
        found = list(_entmax_cases(dealer, selection, alpha_only=alpha_only, fixed=fixed))
    else:
        found = [] if selection.alphas else list(_ruled_cases(op, dealer, selection))
    yield from found
    yield from _left_out(dealer, found)


def _left_out(dealer: _Dealer, found: list[Case]) -> Iterator[Case]:
    """A case for each family that a run of few orders and dtypes has not come to, in the first place it fits."""
    dealt = {case.family for case in found}
    for family in dealer.recipes:
        places = (case for case in found if not pointless(case.op, family, case.order, case.dtype))
        place = None if family in dealt else next(places, None)
        if place is not None:
            shape, feature = dealer.draw(family)
            yield replace(place, family=family, shape=shape, feature=feature)


def _entmax_cases(dealer: _Dealer, selection: Selection, *, alpha_only: bool, fixed: bool) -> Iterator[Case]:
    suite = SUITES[selection.suite]
    numbers: list[tuple[str, str | None]] = [("", alpha) for alpha in selection.alphas]
    if not numbers:
        # Order 0 has no adaptive bandwidth.
        numbers = [(order, None) for order in selection.orders or ORDERS if exact_number(order, "order") != 0]
    if not selection.alphas and not selection.orders and not fixed:
        numbers += [("", alpha) for alpha in ALPHAS]
    if alpha_only:
        numbers += [("", alpha) for inexact, alpha in map(_as_alpha, selection.orders or ORDERS) if inexact]
    for dtype in selection.grid_dtypes:
        for order, alpha in numbers:
            extra = alpha is not None and not selection.alphas and suite.entmax is not None
            for family, shape, feature in dealer.deal(ALPHA_FAMILIES if extra else suite.entmax):
                if not pointless("entmax", family, order, dtype):
                    yield Case("entmax", order, alpha, "adaptive:1", dtype, family, shape, feature, selection.seed)


def _ruled_cases(op: str, dealer: _Dealer, selection: Selection) -> Iterator[Case]:
    turn = selection.seed
    for dtype in selection.grid_dtypes:
        for order in selection.orders or ("0", *ORDERS):
            for kind in RULES:
                if exact_number(order, "order") == 0 and kind in {"adaptive", "anchored"}:
                    continue
                turn += 1
                rule = rule_text(kind, op, order, turn)
                for dealt in dealer.deal(SUITES[selection.suite].mixed):
                    family, shape, feature = dealt
                    if pointless(op, family, order, dtype) and SUITES[selection.suite].mixed is not None:
                        # No rule goes without a case: the next family stands in.
                        family, shape, feature = next(dealer.deal(1))
                    if not pointless(op, family, order, dtype):
                        yield Case(op, order, None, rule, dtype, family, shape, feature, selection.seed)


def pointless(op: str, family: str, order: str, dtype: str) -> str | None:
    """Why `family` has nothing to plant here, or None: the Gaussian has no threshold, and float8_e4m3fn no −∞."""
    if family == "kink" and order == "inf":
        return "order inf has no threshold"
    if family == "masks" and op in {"entmax", "weights"} and dtype in WITHOUT_INFINITY:
        return f"{dtype} has no −∞"
    return None


def _as_alpha(order: str) -> tuple[bool, str]:
    """Whether no float64 is 1 + 1/n for this order, and the text of that α."""
    number = exact_number(order, "order")
    if not isinstance(number, Fraction) or number == 0:
        return False, "1"
    alpha = 1 + 1 / number
    return Fraction(float(alpha)) != alpha, str(alpha)


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
