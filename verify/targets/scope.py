"""The scope of a target, op by op: which cases the parent may give to it, and which calls a worker may make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from kernelproof.reference.model import INFINITY, Kernel
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.combined import AnyShape, Taken
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.rules import in_ranges, matches, number_of
from kernelproof.verify.records import Array, Call, Inputs, Outcome, Truth
from kernelproof.verify.targets.declaration import BHTD, MASKS, Shapes
from kernelproof.verify.targets.shapes import Fitting, refused_shape, shapes_of


@dataclass(frozen=True)
class Scope:
    """The calls of one op that a target accepts.

    Attributes:
        op: the op.
        takes: which of order, alpha and kernel it has a parameter for.
        order: the only order that it computes, as text, if it has no parameter for the order.
        alpha: the same as a value of α.
        orders: the orders that it accepts, and ranges ``LOW..HIGH``; empty means all from 0 on, and those `asked`.
        rules: patterns of the rules that it computes; empty means all.
        dtypes: names of the dtypes that it accepts.
        options: the options that it accepts; None means all.
        requires: the options that every call must have.
        masks: the kinds of `MASKS` that it accepts; empty means both.
        exclusive: options of which a call may have at most one.
        gradients: the gradients that it returns; None means all, empty none.
        axis: whether it has a parameter for the axis along which the keys lie.
        shapes: the shapes that it accepts.
        asked: the orders that the run is restricted to; empty means all.
        offered: those of `gradients` that nothing declares and autograd was seen to give; a call may lack them.
        layout: one of `LAYOUTS`, of the arrays of attention.
        per_row: the numbers that may be arrays, with one for each row.
    """

    op: str
    takes: tuple[str, ...] = ("order", "alpha")
    order: str | None = None
    alpha: str | None = None
    orders: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    options: tuple[str, ...] | None = None
    requires: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()
    gradients: tuple[str, ...] | None = ()
    axis: bool = False
    shapes: Shapes = field(default_factory=Shapes)
    asked: tuple[Fraction | float, ...] = ()
    offered: tuple[str, ...] = ()
    layout: str = BHTD
    per_row: tuple[str, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it computes a single order, because it has no parameter for the order."""
        return not self.takes

    @property
    def order_unknown(self) -> bool:
        """Whether it computes a single order that is not declared."""
        return self.fixed and self.order is None and self.alpha is None

    def taken(self, dtypes: tuple[str, ...]) -> Taken:
        """What the target takes of the axes of combinations; `dtypes` are those of the run, empty for all."""
        return Taken(
            dtypes=tuple(dtype for dtype in self.dtypes if dtype in (dtypes or self.dtypes)),
            options=self.options,
            requires=self.requires,
            masks=self.masks,
            exclusive=self.exclusive,
            gradients=self.gradients != (),
            fits=AnyShape() if self.shapes == Shapes() else Fitting(self.shapes),
        )

    @property
    def places(self) -> Placed | None:
        """Which orders and rules it takes; None if nothing says at which order it computes."""
        if self.order_unknown:
            return None
        held = Scope(self.op, self.takes, self.order, self.alpha, self.orders, self.rules, asked=self.asked)
        return Placed(held)

    def refuses_place(self, case: Case) -> str | None:
        """Why the target cannot be called at the order and the rule of `case`, or None."""
        return self._refuses_order(case) or self._refuses_rule(case)

    def refuses(self, case: Case) -> str | None:
        """Why the target cannot be called with `case`, or None."""
        if case.dtype not in self.dtypes:
            return f"the target does not take {case.dtype}"
        return self.refuses_place(case) or self._refuses_call(case)

    def refuses_made(self, case: Case, inputs: Inputs | None) -> str | None:
        """The same with explicit `inputs` in place of those of the recipe; None stands for those of the recipe."""
        if inputs is None:
            return self.refuses(case)
        if case.dtype not in self.dtypes:
            return f"the target does not take {case.dtype}"
        return self.refuses_place(case) or self.refuses_inputs(inputs)

    def _refuses_order(self, case: Case) -> str | None:
        if self.fixed:
            return None if computes(case, self.order, self.alpha) else "the target computes another order"
        order = case.kernel.order
        if not in_ranges(order, self.orders) and (self.orders or order not in self.asked):
            undeclared = "nothing declares that the target takes negative orders"
            return f"the target takes orders {', '.join(self.orders)}" if self.orders else undeclared
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
        # The options are known only once the inputs are built, so the parent builds them if some options are refused.
        free = self.options is None and not (self.requires or self.masks or self.exclusive)
        return None if free or case.op == "entmax" else self.refuses_options(options_of(case))

    def refuses_options(self, kinds: Mapping[str, str]) -> str | None:
        """Why it cannot be called with these options, or None; `kinds` is a result of `kinds_of`."""
        given = tuple(kinds)
        lacking = [name for name in given if self.options is not None and name not in self.options]
        if lacking:
            return f"the target has no parameter for {' and '.join(lacking)}"
        if self.masks and "mask" in given and kinds["mask"] not in self.masks:
            return f"the target takes {' and '.join(self.masks)} masks"
        if len(both := [name for name in self.exclusive if name in given]) > 1:
            return f"the target does not take {' and '.join(both)} together"
        missing = [name for name in self.requires if name not in given]
        return f"the target is called with {' and '.join(missing)} only" if missing else None

    def refuses_each(self, numbers: Mapping[str, Array]) -> str | None:
        """Why it cannot be called with these `numbers` for each row, or None."""
        known = {*self.per_row, *(("order",) if "alpha" in self.per_row else ())}
        lacking = [name for name in numbers if name not in known]
        if lacking or self.fixed:
            return f"nothing declares that {' and '.join(lacking or numbers)} may differ from row to row"
        orders = [float(each) for each in np.unique(numbers["order"])] if "order" in numbers else []
        for order in orders:
            if (self.asked and order not in self.asked) or not (in_ranges(order, self.orders) or order in self.asked):
                return f"the target is not asked for order {order:g}"
        return None

    def of_gradients(self, truth: Truth, given: Outcome | None = None) -> Truth:
        """`truth` with the gradients that are asked for, but for those only `offered` that `given` lacks."""
        if truth.gradients is None:
            return truth
        held = None if given is None or given.error is not None else given.arrays
        lacking = {name for name in self.offered if held is not None and name not in held}
        wanted = set(truth.gradients) if self.gradients is None else set(self.gradients)
        kept = {name: value for name, value in truth.gradients.items() if name in wanted - lacking}
        return replace(truth, gradients=kept)

    def refuses_inputs(self, inputs: Inputs) -> str | None:
        """Why it cannot be called with `inputs`, which a check may have derived from those of a case; or None."""
        shapes = {name: array.shape for name, array in inputs.arrays.items()}
        return self.refuses_options(kinds_of(inputs.options)) or refused_shape(self.shapes, shapes)


@dataclass(frozen=True)
class Placed:
    """Whether a scope, which restricts nothing else, takes the order and the rule of a case."""

    scope: Scope

    def __call__(self, case: Case) -> bool:
        """Whether it takes them."""
        return self.scope.refuses_place(case) is None


def case_of(case: Case, call: Call) -> Case:
    """The case with the op, kernel and rule of `call`: `case`, at the order of the call if it has one."""
    return case.at_order(call.order)


@cache
def options_of(case: Case) -> Mapping[str, str]:
    """The options of `case`, in the form that `kinds_of` returns."""
    return kinds_of(inputs_of(case).options)


def kinds_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Map the names of options to "", and that of a mask to its kind, one of `MASKS`.

    >>> import numpy as np
    >>> kinds_of({"causal": True, "mask": np.array([True])})
    {'causal': '', 'mask': 'boolean'}
    """
    return {name: MASKS[value.dtype != bool] if name == "mask" else "" for name, value in options.items()}


def order_keyword(case: Case, takes: Iterable[str]) -> Mapping[str, float] | None:
    """The keyword that passes the exact order of `case` to a function with the parameters `takes`; None if none can.

    An order n is passed to a parameter for α only if 1 + 1/n is a float64; likewise for an α and a parameter for n.
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
    """Whether a function that computes a single order, given as `order` or `alpha`, computes that of `case`."""
    if alpha is not None:
        return bool(case.kernel.order == Kernel.from_alpha(float(number_of(alpha, "alpha"))).order)
    return order is not None and bool(case.kernel.order == Kernel(number_of(order, "order")).order)
