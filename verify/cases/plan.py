"""The plan of a run: the cases that a selection of a suite stands for.

Every combination of op, rule, order and dtype is tried; families and their recipes are distributed over the
combinations in turn. The fewer the combinations, the more recipes each gets, up to all recipes. Recipes that every
order must have are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import prod

from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import INFINITY, resolve_kernel
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.combined import case_with, covering
from kernelproof.verify.cases.coverage import pointless
from kernelproof.verify.cases.families import families, once_of
from kernelproof.verify.cases.families.lengths import essential
from kernelproof.verify.cases.rules import filled
from kernelproof.verify.cases.suites import ALPHAS, RULES, SUITES, Selection
from kernelproof.verify.records import OPS, RANKS

ALPHA_FAMILIES = 3
"""Families for each α and dtype: few, because α is the order in another form and only passing it has to be tested."""
Recipe = tuple[str, tuple[int, ...], str]
"""Family, shape and feature."""
SMALL = 1 << 16
"""The product of the sizes of the largest combination in a suite with few of them."""
FAR: Recipe = ("offsets", (2, 12), "5")
"""Tried at order ∞ in every dtype: a target that does not subtract the maximum overflows there, and only there."""
FAR_QUERIES: Recipe = ("offsets", (6, 8, 3, 2), "far")
"""The same for regression: all weights of a query that is far from every key are 0 before they are normalized."""
STEEP = "two_keys"
"""Tried at every order below 1: there a weight rises steeply from 0, and an unstable formula jumps."""


def rule_text(kind: str, op: str, order: str, turn: int) -> str:
    """Choose a rule of the kind or pattern `kind` whose supports on normal inputs are neither one key nor all keys.

    With a constant bandwidth or reach, a large order picks the nearest key alone. So h² = 2n and γ = n there, which
    tend to the Gaussian (docs/theory.md §1); every third turn keeps the small constant nevertheless.

    >>> rule_text("fixed", "weights", "64", 0), rule_text("nearest", "weights", "2", 1)
    ('fixed:11', 'nearest:5:fixed:3')
    """
    number = exact_number(order, "order")
    order_value = float(number)
    wide = 3 < abs(order_value) < INFINITY and turn % 3 != 2
    # Under a negative order h² must exceed twice the largest score.
    small = ("4" if order_value < 0 else "2") if op == "attention" else ("5" if order_value < 0 else "3")
    radius = str(max(round((2 * abs(order_value)) ** 0.5), int(small) if order_value < 0 else 0)) if wide else small
    if kind not in RULES:
        return filled(kind, turn, radius)
    if kind == "adaptive":
        return f"adaptive:{('2', '1/2', '1')[turn % 3]}"
    if kind == "anchored":
        return f"anchored:{order.removeprefix('-') if wide else ('2', '1/2', '3/4')[turn % 3]}"
    if kind == "fixed":
        return f"fixed:{radius}"
    # No adaptive bandwidth is defined from order −1 to 0.
    then = ("anchored" if -1 <= order_value < 0 else "adaptive", "fixed", "anchored")[turn % 3]
    # The turns of one rule are four apart: without the quotient it would always keep the same number of keys.
    keep = (3, 5, 1, 8)[(turn + turn // 4) % 4]
    if number == 0:
        return f"nearest:{keep}:{('fixed:3', 'adaptive:1')[turn % 2]}"
    return f"nearest:{keep}:{rule_text(then, op, order, turn // 3)}"


class _Dealer:
    """Distributes the recipes of the families of one op, each family and each recipe in turn.

    Args:
        selection: the selection of the run.
        op: the op.
        places: the number of combinations of rule, order and dtype.
    """

    def __init__(self, selection: Selection, op: str, places: int) -> None:
        suite = SUITES[selection.suite]
        known = {name: family for name, family in families().items() if not suite.families or name in suite.families}
        held = {name: list(family.recipes(suite.name, op)) for name, family in known.items()}
        self.recipes = {name: found for name, found in held.items() if found}
        self.next = {name: selection.seed + at for at, name in enumerate(self.recipes)}
        self.seed = self.turn = selection.seed
        self.least = suite.entmax if op == "entmax" else suite.mixed
        self.share = suite.share(op, max(places, 1))
        rounds = range(max(map(len, self.recipes.values()), default=0))
        self.deck = [(name, *found[at]) for at in rounds for name, found in self.recipes.items() if at < len(found)]

    @property
    def rich(self) -> bool:
        """Whether each combination gets more recipes than the suite's number, taken from the deck of all recipes."""
        return self.share != self.least or self.share is None

    def deal(self, place: int, count: int | None = None) -> list[Recipe]:
        """The recipes of the combination numbered `place`; neighbours get successive parts of the deck.

        Args:
            place: the number of the combination.
            count: the number of families to use instead of the suite's number, if the dealer is not rich.
        """
        if not self.rich:
            return list(self.families(count or self.least or 0))
        size = len(self.deck)
        share = size if self.share is None else min(self.share, size)
        return [self.deck[(self.seed + place * share + at) % size] for at in range(share)]

    def families(self, count: int) -> Iterator[Recipe]:
        """The next recipe of each of the next `count` families."""
        names = list(self.recipes)
        for _ in range(count if names else 0):
            name = names[self.turn % len(names)]
            self.turn += 1
            yield (name, *self.draw(name))

    def draw(self, name: str) -> tuple[tuple[int, ...], str]:
        """The next recipe of one family."""
        found = self.recipes[name]
        self.next[name] += 1
        return found[self.next[name] % len(found)]


def _essentials(suite: str, dtypes: tuple[str, ...], dtype: str, order: str) -> list[Recipe]:
    """The recipes that every order must have, as far as `dtype` tries them: two successive dtypes share the shapes."""
    if SUITES[suite].families:
        return []
    shapes = essential(suite)
    picked = shapes[dtypes.index(dtype) % 2 :: 2] if len(dtypes) > 1 else shapes
    return [*(("lengths", shape, "length") for shape in picked), *([FAR] if order == "inf" else [])]


def plan(selection: Selection, *, alpha_only: bool = False, fixed: bool = False) -> tuple[Case, ...]:
    """The cases of a run, without repetition.

    Args:
        selection: the selection of the user.
        alpha_only: whether some target takes α only; then orders whose α is no float64 are added as values of α.
        fixed: whether to plan no values of α besides those selected.
    """
    return union([selection], alpha_only=alpha_only, fixed=fixed)


def union(selections: Iterable[Selection], *, alpha_only: bool = False, fixed: bool = False) -> tuple[Case, ...]:
    """The cases of several selections, in the order of the ops, without repetition; arguments as in `plan`."""
    found: dict[Case, None] = {}
    paired: dict[str, tuple[Case, ...]] = {}
    for selection in dict.fromkeys(selections):
        for op in selection.grid_ops:
            dealt = list(_of_op(op, selection, alpha_only=alpha_only, fixed=fixed))
            found.update(dict.fromkeys(dealt))
            # What the cases of one target cover for another one too is not planned again.
            more = tuple(_combined(op, selection, dealt, paired.get(op, ())))
            paired[op] = (*paired.get(op, ()), *more)
            found.update(dict.fromkeys(more))
    return tuple(sorted(found, key=lambda case: OPS.index(case.op)))


def _place(case: Case) -> Case:
    """The order and rule of `case`, without the rest."""
    return replace(case, dtype="float64", family="random", shape=(1,) * RANKS[case.op], feature="1")


def _combined(op: str, selection: Selection, dealt: list[Case], held: tuple[Case, ...]) -> Iterator[Case]:
    """Yield the cases of the combinations of levels, at the orders and rules of `dealt` in turn; `held` are planned."""
    suite = SUITES[selection.suite]
    places = dict.fromkeys(_place(case) for case in dealt)
    # Order 0 has equal weights, which tell nothing about scores.
    places = {case: None for case in places if case.order != "0"} or places
    if selection.places is not None:
        # Nor does a case that the target refuses, of what another target covers at an order of its own.
        places = {case: None for case in places if selection.places(case)} or places
        held = tuple(case for case in held if selection.places(case))
    if not suite.strength or not places:
        return
    taken = selection.combined
    turns = list(places)
    for gradients in (False, True) if taken.gradients else (False,):
        rows = covering(op, taken, suite.strength, selection.seed, held, gradients=gradients).rows
        # The turn is not in step with anything that the construction of the rows repeats.
        at = [turns[(7 * turn + turn // len(turns) + selection.seed) % len(turns)] for turn in range(len(rows))]
        found = [case_with(row, place, taken, gradients=gradients) for row, place in zip(rows, at, strict=True)]
        if suite.rows is not None:
            found = [case for case in found if prod(case.shape) <= SMALL][: max(suite.rows - len(held), 0)]
        held = (*held, *found)
        yield from found


def _of_op(op: str, selection: Selection, *, alpha_only: bool, fixed: bool) -> Iterator[Case]:
    if op == "entmax":
        numbers = _numbers(selection, alpha_only=alpha_only, fixed=fixed)
        dealer = _Dealer(selection, op, len(numbers) * len(selection.grid_dtypes))
        found = list(_entmax_cases(dealer, selection, numbers))
    else:
        orders = () if selection.alphas else selection.orders or ("0", *selection.usual_orders)
        kinds = [(order, kinds_at(order, selection.rules or RULES)) for order in orders]
        dealer = _Dealer(selection, op, sum(len(held) for _, held in kinds) * len(selection.grid_dtypes))
        found = list(_ruled_cases(op, dealer, selection, kinds))
    yield from found
    yield from _left_out(dealer, found)
    yield from _many(op, selection, found)


def _many(op: str, selection: Selection, found: list[Case]) -> Iterator[Case]:
    """Yield calls with more queries and keys than a kernel takes at once, at one order and rule of each dtype."""
    # Inputs with many columns leave the ball of a fixed rule empty: such cases come first, so that others replace them.
    places = {case.dtype: case for case in sorted(found, key=lambda case: "fixed" not in case.rule)}
    for family in families():
        for shape, feature in once_of(family, selection.suite, op):
            yield from (replace(place, family=family, shape=shape, feature=feature) for place in places.values())


def _left_out(dealer: _Dealer, found: list[Case]) -> Iterator[Case]:
    """Yield a case for each family that a run of few orders and dtypes left out, at the first combination it fits."""
    dealt = {case.family for case in found}
    for family in dealer.recipes:
        places = (case for case in found if not pointless(case.op, family, case.order, case.dtype))
        place = None if family in dealt else next(places, None)
        if place is not None:
            shape, feature = dealer.draw(family)
            yield replace(place, family=family, shape=shape, feature=feature)


def _numbers(selection: Selection, *, alpha_only: bool, fixed: bool) -> list[tuple[str, str | None]]:
    """The orders and values of α of entmax, each as (order, α), either (order, None) or ("", α)."""
    if selection.alphas:
        numbers: list[tuple[str, str | None]] = [("", alpha) for alpha in selection.alphas]
    else:
        numbers = [(order, None) for order in selection.orders or selection.usual_orders if adapts(order)]
    if not selection.alphas and not selection.orders and not fixed:
        numbers += [("", alpha) for alpha in ALPHAS]
    if alpha_only and not selection.alphas:
        held = map(_as_alpha, selection.orders or selection.usual_orders)
        numbers += [("", alpha) for inexact, alpha in held if inexact]
    return numbers


def _entmax_cases(dealer: _Dealer, selection: Selection, numbers: list[tuple[str, str | None]]) -> Iterator[Case]:
    dtypes = selection.grid_dtypes
    for row, dtype in enumerate(dtypes):
        for column, (order, alpha) in enumerate(numbers):
            extra = alpha is not None and not selection.alphas
            dealt = dealer.deal(row + column, ALPHA_FAMILIES if extra else None)
            if not extra or dealer.rich:
                dealt = [*dealt, *_essentials(selection.suite, dtypes, dtype, order)]
            dealt = [*dealt, *_steep(dealer, order, alpha)]
            for family, shape, feature in dealt:
                if not pointless("entmax", family, order, dtype):
                    yield Case("entmax", order, alpha, "adaptive:1", dtype, family, shape, feature, selection.seed)


def _steep(dealer: _Dealer, order: str, alpha: str | None) -> list[Recipe]:
    """The first recipe of the family `STEEP`, for orders between 0 and 1; nothing for other orders."""
    number = exact_number(order, "order") if alpha is None else resolve_kernel(alpha=exact_number(alpha, "alpha")).order
    return [(STEEP, *recipe) for recipe in dealer.recipes.get(STEEP, [])[:1]] if 0 < number < 1 else []


def kinds_at(order: str, rules: tuple[str, ...]) -> tuple[str, ...]:
    """The `rules` that are defined at `order`.

    At order 0 the size of a ball must be given, and from order −1 to 0 no bandwidth is adaptive.
    """
    if exact_number(order, "order") == 0:
        return tuple(rule for rule in rules if rule.partition(":")[0] in {"fixed", "nearest"})
    return rules if adapts(order) else tuple(rule for rule in rules if "adaptive" not in rule.split(":"))


def adapts(order: str) -> bool:
    """Whether the adaptive bandwidth is defined at `order`: above 0 and below −1."""
    number = exact_number(order, "order")
    return number > 0 or number < -1


def _ruled_cases(
    op: str, dealer: _Dealer, selection: Selection, kinds: list[tuple[str, tuple[str, ...]]]
) -> Iterator[Case]:
    dtypes = selection.grid_dtypes
    turn = selection.seed
    for row, dtype in enumerate(dtypes):
        for column, (order, held) in enumerate(kinds):
            for at, kind in enumerate(held):
                turn += 1
                rule = rule_text(kind, op, order, turn)
                # Each order and dtype has the essential shapes under one rule, which changes from one to the next.
                chosen = op == "weights" and at == (row + column) % len(held)
                dealt = _essentials(selection.suite, dtypes, dtype, order) if chosen else []
                if not dealt or dealer.share != 1:
                    dealt += dealer.deal(len(held) * row + column + at)
                if op == "regression" and order == "inf" and at == (row + column) % len(held):
                    dealt.append(FAR_QUERIES)
                if op == "weights" and rule.startswith("nearest:") and (row + column) % 3 == 0:
                    # Rows with exactly as many keys as the rule keeps.
                    dealt.append(("random", (3, int(rule.split(":")[1])), "1"))
                for recipe in dealt:
                    family, shape, feature = recipe
                    if pointless(op, family, order, dtype) and not dealer.rich:
                        # Every rule must have a case, so the next family replaces this one.
                        family, shape, feature = next(dealer.families(1))
                    if not pointless(op, family, order, dtype):
                        yield Case(op, order, None, rule, dtype, family, shape, feature, selection.seed)


def _as_alpha(order: str) -> tuple[bool, str]:
    """Whether α = 1 + 1/n is no float64 for this order, and α as text."""
    number = exact_number(order, "order")
    if not isinstance(number, Fraction) or not adapts(order):
        return False, "1"
    alpha = 1 + 1 / number
    return Fraction(float(alpha)) != alpha, str(alpha)
