"""How a user's function is called as entmax: by the names of its parameters.

The first positional parameter takes the logits, or ``*args`` if there is none; ``order`` or ``n`` the order,
``alpha`` α, ``dim`` or ``axis`` −1; every other parameter must have a default, which it keeps. A parameter has
to be named: nothing is passed into ``**kwargs``. A wrapper of ``(*args, **kwargs)`` around a method ``forward``,
as torch.nn.Module has, is bound by that method.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.reference.model import INFINITY, Kernel
from kernelproof.verify.case import Case, number_of

_ORDER, _ALPHA, _AXIS = ("order", "n"), ("alpha",), ("dim", "axis")


@dataclass(frozen=True)
class Binding:
    """Which parameters of a function take what; None where it has no such parameter.

    Attributes:
        order: name of the parameter for the order.
        alpha: name of the parameter for α.
        axis: name of the parameter for the axis.
    """

    order: str | None
    alpha: str | None
    axis: str | None

    @property
    def fixed(self) -> bool:
        """Whether the function computes one order only, which it has no parameter for."""
        return self.order is None and self.alpha is None

    def keywords(self, case: Case) -> dict[str, Any] | None:
        """The keywords of a call for `case`; None if the function cannot be given its exact order."""
        number = order_keyword(case, order=self.order is not None, alpha=self.alpha is not None)
        if number is None and not self.fixed:
            return None
        names = {"order": self.order, "alpha": self.alpha}
        found = {str(names[key]): value for key, value in (number or {}).items() if names[key] is not None}
        return found if self.axis is None else {**found, self.axis: -1}


def bind(function: Callable[..., Any], name: str) -> Binding:
    """The binding of `function`, called `name` in messages.

    Raises:
        TargetError: no signature, no positional parameter, or a parameter that is not known and has no default.
    """
    try:
        parameters = _parameters(function)
    except (TypeError, ValueError):
        msg = f"{name} has no signature to bind by; wrap it in a Python function such as def entmax(z, order): ..."
        raise TargetError(msg) from None
    kinds = inspect.Parameter
    taking = {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL}
    positional = [p for p in parameters.values() if p.kind in taking]
    if not positional:
        msg = f"{name} must take the logits as its first positional parameter; its parameters: {list(parameters)}"
        raise TargetError(msg)
    rest = [p for p in parameters.values() if p is not positional[0]]
    known = {*_ORDER, *_ALPHA, *_AXIS}
    for parameter in rest:
        free = parameter.default is kinds.empty and parameter.kind not in {kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD}
        if free and parameter.name not in known:
            msg = f"{name} has a parameter {parameter.name!r} without a default; known: {', '.join(sorted(known))}"
            raise TargetError(msg)

    def first(candidates: tuple[str, ...]) -> str | None:
        keyword = {p.name for p in rest if p.kind in {kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD}}
        return next((candidate for candidate in candidates if candidate in keyword), None)

    return Binding(first(_ORDER), first(_ALPHA), first(_AXIS))


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    found = inspect.signature(function).parameters
    loose = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    inner = getattr(function, "forward", None)
    if callable(inner) and all(p.kind in loose for p in found.values()):
        return inspect.signature(inner).parameters
    return found


def order_keyword(case: Case, *, order: bool, alpha: bool) -> Mapping[str, float] | None:
    """The keyword that tells a function with these parameters the exact order of `case`; None if none can.

    A case with an order goes to a parameter for α only if 1 + 1/n is a float64, and the other way round.
    """
    if case.alpha is None and order:
        return {"order": number_of(case.order, "order")}
    if case.alpha is not None and alpha:
        return {"alpha": number_of(case.alpha, "alpha")}
    if alpha:
        exact = case.kernel.alpha
        return {"alpha": float(exact)} if _is_float(exact) else None
    if order:
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
