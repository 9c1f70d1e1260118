"""What a target can be asked, op by op, as data: the parent refuses cases by it, the worker refuses calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from math import prod

from kernelproof.reference.model import INFINITY, Kernel
from kernelproof.verify.building import mixed_shapes
from kernelproof.verify.case import Case, number_of
from kernelproof.verify.declaring import Shapes
from kernelproof.verify.patterns import in_ranges, matches
from kernelproof.verify.seams import Call, Inputs

TELLING = ("order", "alpha", "kernel")
"""The ways to tell a target the order."""


@dataclass(frozen=True)
class Scope:
    """What a target can be asked of one op.

    Attributes:
        op: the op.
        takes: of `TELLING`, those it has a parameter for.
        order: the one order that it computes, as text, where it takes none.
        alpha: the same as α.
        orders: orders that it can be asked, and ranges ``LOW..HIGH``; empty means all.
        rules: patterns of the rules that it computes; empty means all.
        dtypes: names of the dtypes it takes.
        options: those it takes; None means all.
        gradients: those it gives; None means all, empty none.
        axis: whether it can be told the axis that the keys lie along.
        shapes: those it takes.
    """

    op: str
    takes: tuple[str, ...] = ("order", "alpha")
    order: str | None = None
    alpha: str | None = None
    orders: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    options: tuple[str, ...] | None = None
    gradients: tuple[str, ...] | None = ()
    axis: bool = False
    shapes: Shapes = field(default_factory=Shapes)

    @property
    def fixed(self) -> bool:
        """Whether it computes one order only, and has no parameter for it."""
        return not self.takes

    @property
    def silent(self) -> bool:
        """Whether it computes one order only, and nobody has said which."""
        return self.fixed and self.order is None and self.alpha is None

    def refuses(self, case: Case) -> str | None:
        """Why `case` cannot be asked, or None."""
        if case.dtype not in self.dtypes:
            return f"the target does not take {case.dtype}"
        return self._refuses_order(case) or self._refuses_rule(case) or self._refuses_call(case)

    def refuses_made(self, case: Case, inputs: Inputs | None) -> str | None:
        """The same for explicit `inputs` in the place of those of the recipe; None: the recipe's."""
        if inputs is None:
            return self.refuses(case)
        if case.dtype not in self.dtypes:
            return f"the target does not take {case.dtype}"
        return self._refuses_order(case) or self._refuses_rule(case) or self.refuses_inputs(inputs)

    def _refuses_order(self, case: Case) -> str | None:
        if self.fixed:
            return None if computes(case, self.order, self.alpha) else "the target computes another order"
        if not in_ranges(case.kernel.order, self.orders):
            return f"the target takes orders {', '.join(self.orders)}"
        if "kernel" not in self.takes and order_keyword(case, self.takes) is None:
            return f"order {case.order_label} cannot be passed exactly as {' or '.join(self.takes)}"
        return None

    def _refuses_rule(self, case: Case) -> str | None:
        if self.rules and not any(matches(rule, case.rule) for rule in self.rules):
            return f"the target computes the rule {' or '.join(self.rules)}"
        return None

    def _refuses_call(self, case: Case) -> str | None:
        if self.shapes != Shapes() and (reason := refused_shape(self.shapes, shapes_of(case))) is not None:
            return reason
        # Building the inputs in the parent is the one way to know the options; it is done where some are refused.
        return None if self.options is None or case.op == "entmax" else self.refuses_options(options_of(case))

    def refuses_options(self, names: Iterable[str]) -> str | None:
        """Why it cannot be called with these options, or None."""
        lacking = [name for name in names if self.options is not None and name not in self.options]
        return f"the target has no parameter for {' and '.join(lacking)}" if lacking else None

    def refuses_inputs(self, inputs: Inputs) -> str | None:
        """Why it cannot be called with `inputs`, which a check may have made of those of a case; or None."""
        shapes = {name: array.shape for name, array in inputs.arrays.items()}
        return self.refuses_options(inputs.options) or refused_shape(self.shapes, shapes)


def case_of(case: Case, call: Call) -> Case:
    """The case whose op, kernel and rule `call` is made with."""
    return case if call.order is None else replace(case, order=call.order, alpha=None)


def shapes_of(case: Case) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of `case`, by name."""
    if case.op in {"entmax", "weights"}:
        return {"z" if case.op == "entmax" else "scores": case.shape}
    return mixed_shapes(case)


@cache
def options_of(case: Case) -> tuple[str, ...]:
    """The names of the options of `case`."""
    return tuple(case.inputs().options)


def refused_shape(limits: Shapes, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why arrays of these `shapes` are not taken, or None."""
    first = next(iter(shapes.values()))
    mixing = "q" in shapes
    keys = shapes["k"][-2] if mixing else first[-1] if first else 0
    rows = first[-2] if mixing else prod(first[:-1])
    width = first[-1] if mixing else None
    lengths = (keys, rows) if mixing else (keys,)
    heads = mixing and len(first) > 2 and shapes["k"][:-2] != first[:-2]
    tests = (
        (len(first) < limits.least_rank, f"{limits.least_rank} axes at least"),
        (limits.most_rank is not None and len(first) > limits.most_rank, f"{limits.most_rank} axes at most"),
        (keys < limits.least_keys, f"{limits.least_keys} keys at least"),
        (limits.most_keys is not None and keys > limits.most_keys, f"{limits.most_keys} keys at most"),
        (limits.most_rows is not None and rows > limits.most_rows, f"{limits.most_rows} rows at most"),
        (any(size % limits.length_multiple for size in lengths), f"lengths that {limits.length_multiple} divides"),
        (mixing and limits.square and keys != rows, "as many queries as keys"),
        (not limits.grouped_heads and heads, "a key head for each query head"),
        (limits.equal_widths and mixing and shapes["v"][-1] != width, "values as wide as the keys"),
        (width is not None and bool(limits.head_sizes) and width not in limits.head_sizes, _widths(limits)),
        (width is not None and width % limits.head_multiple != 0, f"head sizes that {limits.head_multiple} divides"),
    )
    return next((f"the target takes {wanted}" for refused, wanted in tests if refused), None)


def _widths(limits: Shapes) -> str:
    return f"head sizes {', '.join(str(size) for size in limits.head_sizes)}"


def order_keyword(case: Case, takes: Iterable[str]) -> Mapping[str, float] | None:
    """The keyword that tells a function that takes "order" or "alpha" the exact order of `case`; None if none can.

    A case with an order goes to a parameter for α only if 1 + 1/n is a float64, and the other way round.
    """
    held = set(takes)
    if case.alpha is None and "order" in held:
        return {"order": number_of(case.order, "order")}
    if case.alpha is not None and "alpha" in held:
        return {"alpha": number_of(case.alpha, "alpha")}
    if "alpha" in held and case.kernel.order != 0:
        exact = case.kernel.alpha
        return {"alpha": float(exact)} if _is_float(exact) else None
    if "order" in held:
        exact = case.kernel.order
        return {"order": float(exact)} if _is_float(exact) else None
    return None


def _is_float(exact: Fraction | float) -> bool:
    return exact == INFINITY or Fraction(float(exact)) == exact


def computes(case: Case, order: str | None, alpha: str | None) -> bool:
    """Whether a function that computes one order only, `order` or `alpha`, computes that of `case`."""
    if alpha is not None:
        return bool(case.kernel.order == Kernel.from_alpha(float(number_of(alpha, "alpha"))).order)
    return order is not None and bool(case.kernel.order == Kernel(number_of(order, "order")).order)
