"""The row map that a kernel and a rule, or an order or alpha, define: numbers, and tensors for their gradients.

Plain ints and floats are read by arithmetic that torch.compile can trace; everything else (tensors, Fractions, strings)
is read by `kernelproof.reference.model`, outside the compiled graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest, check_mechanism, resolve_kernel
from kernelproof.verify.backends.torch.arguments import outside_graph
from kernelproof.verify.backends.torch.per_row import differs

_FIELDS = {"fixed": "h", "anchored": "gamma", "adaptive": "beta"}


@dataclass(frozen=True)
class Plan:
    """A row map.

    Attributes:
        order: n in (−∞, ∞]; below −1 or above 0 for adaptive rows.
        shape: the order, or α − 1 with `by_alpha`, as passed: a tensor keeps its gradient.
        by_alpha: whether `shape` is α − 1.
        rule: one of `solver.RULES`.
        parameter: h, gamma or beta; a tensor keeps its gradient.
        nearest: how many keys to keep before the rule applies; None for all.
    """

    order: float
    shape: Any
    by_alpha: bool
    rule: str
    parameter: Any
    nearest: int | None = None


def _plain(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _as_float(value: Any, name: str) -> float:
    try:
        return float(exact_number(value, name))
    except OverflowError:
        return math.inf


@outside_graph
def _entmax_order(order: Any, alpha: Any) -> float:
    """The order n as a float, with the errors of `resolve_kernel`."""
    kernel = resolve_kernel(order, alpha)
    check_mechanism(kernel, Adaptive())
    return _as_float(kernel.order, "order")


@outside_graph
def _order(kernel: Kernel) -> float:
    return _as_float(kernel.order, "order")


@outside_graph
def _check(kernel: Any, rule: Any) -> None:
    check_mechanism(kernel, rule)


@outside_graph
def _number(value: Any, name: str) -> float:
    return _as_float(value, name)


def entmax_plan(order: Any, alpha: Any) -> Plan:
    """The plan of α-entmax, given its order or its alpha; softmax with neither.

    Raises:
        DomainError: both were given, or the one given is outside its domain.
    """
    if order is None and _plain(alpha) and 0 < alpha < math.inf and alpha != 1:
        excess = float(alpha) - 1.0
        n = 1.0 / excess
        return Plan(n, excess, by_alpha=True, rule="adaptive", parameter=1.0)
    if alpha is None and _plain(order) and (order > 0 or -math.inf < order < -1):
        return Plan(float(order), float(order), by_alpha=False, rule="adaptive", parameter=1.0)
    if order is None and alpha is None:
        return Plan(math.inf, math.inf, by_alpha=False, rule="adaptive", parameter=1.0)
    n = _entmax_order(order, alpha)
    if isinstance(alpha, Tensor):
        return Plan(n, alpha.to(torch.float64) - 1, by_alpha=True, rule="adaptive", parameter=1.0)
    return Plan(n, order if isinstance(order, Tensor) else n, by_alpha=False, rule="adaptive", parameter=1.0)


def mechanism_plan(kernel: Any, rule: Any) -> Plan:
    """The plan of `kernel` under `rule`.

    Raises:
        DomainError: not a kernel or a rule, or an order with a rule that does not define it.
    """
    if not isinstance(kernel, Kernel) or not isinstance(rule, Fixed | Anchored | Adaptive | Nearest):
        _check(kernel, rule)
    if differs(kernel, rule):
        _check(kernel, rule)
    raw = kernel.parameter
    n = float(raw) if _plain(raw) and raw != 0 else _order(kernel)
    if n == 0 or (-1 <= n < 0 and not isinstance(rule, Fixed | Anchored)):
        _check(kernel, rule)
    shape = raw if isinstance(raw, Tensor) else n
    nearest = None
    if isinstance(rule, Nearest):
        nearest, rule = int(rule.k), rule.then
    name = "fixed" if isinstance(rule, Fixed) else "anchored" if isinstance(rule, Anchored) else "adaptive"
    value = getattr(rule, _FIELDS[name])
    if not _plain(value) and not isinstance(value, Tensor):
        value = _number(value, _FIELDS[name])
    if n == 0 and name != "fixed":
        name = "uniform"
    return Plan(n, shape, by_alpha=False, rule=name, parameter=value, nearest=nearest)


def scalar(value: Any, like: Tensor) -> Tensor:
    """A parameter as a 0-d float64 tensor on the device of `like`; a tensor keeps its gradient.

    Raises:
        DomainError: a tensor of more than one number.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            msg = f"a parameter must be one number; got a tensor of shape {tuple(value.shape)}"
            raise DomainError(msg)
        return value.to(like.device, torch.float64).reshape(())
    return torch.full((), float(value), dtype=torch.float64, device=like.device)
