"""Numbers for each row: rows of one number are one call, and autograd adds what they give to the entry they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.reference.per_row import PerRow, exact_or_each
from kernelproof.verify.backends.torch.arguments import outside_graph

_FIELDS = ("h", "gamma", "beta")


def is_array(value: Any) -> bool:
    """Whether `value` is an array with axes, with a number for each row."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple)


def as_tensor(numbers: Any) -> Tensor:
    """An array of numbers in float64; a tensor keeps its gradient."""
    if isinstance(numbers, Tensor):
        return numbers.to(torch.float64)
    exact = exact_or_each(numbers, "order", exact_number)
    return torch.tensor([float(each) for each in exact.numbers], dtype=torch.float64).reshape(exact.shape)


def differs(kernel: Any, rule: Any) -> bool:
    """Whether the order of a Kernel, or the parameter of a rule, is one; what is neither is refused elsewhere."""
    if not isinstance(kernel, Kernel) or not isinstance(rule, Fixed | Anchored | Adaptive | Nearest):
        return False
    return isinstance(getattr(kernel, "order", None), PerRow) or any(map(is_array, _parameter(rule).values()))


def _parameter(rule: Any) -> dict[str, Any]:
    inner = rule.then if isinstance(rule, Nearest) else rule
    return {name: getattr(inner, name) for name in _FIELDS if hasattr(inner, name)}


def entmax_each(z: Tensor, name: str, numbers: Any, place: int, compute: Callable[..., Tensor]) -> Tensor:
    """α-entmax of `z` along the axis `place` with an order or α for each row.

    Args:
        z: (..., m, ...).
        name: "order" or "alpha".
        numbers: of the shape of z with size 1 along `place`, or one that broadcasts to it; a tensor keeps its gradient.
        place: the axis of a row.
        compute: entmax of (R, m) with one number, passed by `name`.

    Raises:
        DomainError: the numbers do not broadcast to the rows, or one of them is outside its domain.
    """
    rows = tuple(1 if at == place % z.dim() else size for at, size in enumerate(z.shape))
    column = _column(name, numbers, rows, z, lambda entry: entry.movedim(place, -1))
    moved = z.movedim(place, -1)
    found = _each(moved, {name: column}, lambda flat, one: compute(flat, **one))
    return found.movedim(-1, place)


def weights_each(scores: Tensor, kernel: Any, rule: Any, compute: Callable[[Tensor, Any, Any], Tensor]) -> Tensor:
    """Weights (..., m) with an order, or a parameter of the rule, for each row; `compute` has one of each.

    Raises:
        DomainError: the numbers do not broadcast to the rows.
    """
    rows = (*scores.shape[:-1], 1)
    held = {"order": kernel.parameter} if isinstance(kernel.order, PerRow) else {}
    if isinstance(kernel.order, PerRow) and not is_array(kernel.parameter):
        held["order"] = [float(each) for each in kernel.order.numbers]
        held["order"] = torch.tensor(held["order"], dtype=torch.float64).reshape(kernel.order.shape)
    held |= {name: value for name, value in _parameter(rule).items() if is_array(value)}
    columns = {name: _column(name, value, rows, scores, lambda entry: entry) for name, value in held.items()}

    def one(flat: Tensor, numbers: dict[str, Tensor]) -> Tensor:
        own = Kernel(numbers["order"]) if "order" in numbers else kernel
        return compute(flat, own, _with(rule, {name: each for name, each in numbers.items() if name != "order"}))

    return _each(scores, columns, one)


def _with(rule: Any, numbers: dict[str, Tensor]) -> Any:
    if isinstance(rule, Nearest):
        return replace(rule, then=_with(rule.then, numbers))
    return replace(rule, **numbers)


Column = tuple[Tensor, Tensor]
"""The numbers, flat, and (R,) which of them each row takes."""


def _column(name: str, numbers: Any, rows: tuple[int, ...], like: Tensor, turn: Callable[[Tensor], Tensor]) -> Column:
    held = as_tensor(numbers).to(like.device)
    entry = torch.arange(held.numel(), device=like.device).reshape(held.shape)
    try:
        wide = entry.expand(rows)
    except RuntimeError:
        msg = f"{name} must be a number or broadcast to one for each row, {rows}; got an array {tuple(held.shape)}"
        raise DomainError(msg) from None
    return held.reshape(-1), turn(wide).reshape(-1)


@outside_graph
def _each(scores: Tensor, columns: dict[str, Column], compute: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> Tensor:
    """The rows of `scores` (..., m) by their numbers, put together again."""
    flat = scores.reshape(math.prod(scores.shape[:-1]), scores.shape[-1])
    kinds = torch.stack([entry for _, entry in columns.values()], dim=1)
    if not any(numbers.requires_grad for numbers, _ in columns.values()):
        # Equal numbers are one call; where they are differentiated, each entry has to have its own.
        kinds = torch.stack([_first_of_equals(numbers)[entry] for numbers, entry in columns.values()], dim=1)
    found, place = torch.unique(kinds, dim=0, return_inverse=True)
    order = torch.argsort(place, stable=True)
    sizes = torch.bincount(place, minlength=len(found)).tolist()
    parts = []
    for kind, rows in zip(found.tolist(), torch.split(order, sizes), strict=True):
        chosen = {name: column[0][index] for (name, column), index in zip(columns.items(), kind, strict=True)}
        parts.append(compute(flat[rows], chosen))
    if not parts:
        # Of no rows, but with the gradients that these have: zeros.
        return scores + sum(numbers.sum() * 0 for numbers, _ in columns.values())
    return torch.cat(parts)[torch.argsort(order)].reshape(scores.shape)


def _first_of_equals(numbers: Tensor) -> Tensor:
    """(N,) the position of the first entry that is equal to each."""
    values, place = torch.unique(numbers, return_inverse=True)
    first = torch.full((len(values),), len(numbers), device=numbers.device)
    return first.scatter_reduce(0, place, torch.arange(len(numbers), device=numbers.device), "amin")[place]
