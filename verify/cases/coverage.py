"""Coverage: which recipes a run has tried, and why it has none of a family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.builders import WITHOUT_INFINITY
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families, once_of
from kernelproof.verify.cases.suites import SUITES


def recipes_dealt(cases: Iterable[Case], suite: str) -> Mapping[tuple[str, str], tuple[int, int]]:
    """(op, family) -> the number of its recipes in `cases`, at any order and dtype, and the number of those in `suite`.

    The family of pairs has no recipes: `kernelproof.verify.cases.combined` counts what its cases cover.
    Recipes of other suites count in the first number, so it may exceed the second.
    """
    found: dict[tuple[str, str], set[tuple[tuple[int, ...], str]]] = {}
    for case in cases:
        if case.family != PAIRS:
            found.setdefault((case.op, case.family), set()).add((case.shape, case.feature))
    return {
        (op, family): (len(held), len({*families()[family].recipes(suite, op), *once_of(family, suite, op)}))
        for (op, family), held in found.items()
    }


def pointless(op: str, family: str, order: str, dtype: str) -> str | None:
    """Why `family` has nothing to plant here, or None.

    Order ∞ and negative orders have no threshold, and float8_e4m3fn has no −∞.
    """
    if family in {"kink", "planted_support"} and order.startswith("-"):
        return "negative orders have no threshold"
    if family == "kink" and order == "inf":
        return "order inf has no threshold"
    if family == "masks" and op in {"entmax", "weights"} and dtype in WITHOUT_INFINITY:
        return f"{dtype} has no −∞"
    return None


def not_dealt(op: str, order: str, dtype: str, family: str) -> str:
    """Why a run has no case of `family` here although it has the op, the order and the dtype.

    >>> not_dealt("entmax", "2", "float32", "large")
    'the suite large has these alone'
    """
    if family == PAIRS:
        return "each pair is tried at some order and dtype; the report counts the pairs covered"
    if next(iter(families()[family].recipes("exhaustive", op)), None) is None:
        held = (
            families()[family].recipes(family, op) if any(family in suite.families for suite in SUITES.values()) else ()
        )
        only = next(iter(held), None) is not None
        return f"the suite {family} has these alone" if only else f"the family {family} has nothing for {op}"
    if (reason := pointless(op, family, order, dtype)) is not None:
        return reason
    return "this suite deals the families out among rules and orders; the exhaustive suite tries all"
