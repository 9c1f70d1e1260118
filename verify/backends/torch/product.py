"""Vector-Jacobian products of the ops, through autograd: gradients by argument name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import Kernel, Nearest, check_mechanism, resolve_kernel
from kernelproof.verify.backends.torch import arguments, ops
from kernelproof.verify.backends.torch.per_row import as_tensor, differs, is_array
from kernelproof.verify.backends.torch.rounding import narrow, widen

_ARRAYS: dict[str, tuple[str, ...]] = {
    "entmax": ("z",),
    "weights": ("scores",),
    "regression": ("q", "k", "v"),
    "attention": ("q", "k", "v"),
}
_OPS: dict[str, Callable[..., Any]] = {
    "entmax": ops.entmax,
    "weights": ops.weights,
    "regression": ops.regression,
    "attention": ops.attention,
}


def _leaf(value: Any, name: str, like: Tensor) -> Tensor:
    """`value`, a number or an array with one for each row, as a new float64 tensor that requires a gradient."""
    if is_array(value):
        return as_tensor(value).detach().clone().to(like.device).requires_grad_()
    number = float(exact_number(value, name))
    return torch.tensor(number, dtype=torch.float64, device=like.device, requires_grad=True)


def vjp(op: str, cotangent: Any, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """Gradients of ``Σ cotangent·op(*args, **kwargs)``, by the names of the arrays and parameters.

    Args:
        op: entmax, weights, regression or attention.
        cotangent: tensor of the shape of the output.
        args: positional arguments of the op; arrays first.
        kwargs: keyword arguments of the op. The gradient in the kernel's order is called "order" (or "alpha"), that in
            the rule's parameter h, gamma or beta; these are float64 tensors, 0-d or in the shape of numbers for each
            row. Gradients in arrays keep their dtype.

    Raises:
        DomainError: an unknown op, a cotangent of another shape, or an error of the op.
    """
    if op not in _OPS:
        msg = f"op must be one of {', '.join(_OPS)}; got {op!r}"
        raise DomainError(msg)
    names = _ARRAYS[op] if op == "entmax" else (*_ARRAYS[op], "kernel", "rule")
    given = dict(zip(names, args, strict=False)) | kwargs
    kwargs = {name: value for name, value in given.items() if name not in names and name != "info"}
    missing = [name for name in names if name not in given]
    if missing or len(args) > len(names):
        msg = f"{op} takes {', '.join(names)}; got {len(args)} positional arguments and {sorted(given)}"
        raise DomainError(msg)
    for name in _ARRAYS[op]:
        arguments.floating(given[name], name, 1)
    leaves = {name: given[name].detach().clone().requires_grad_() for name in _ARRAYS[op]}
    first = leaves[_ARRAYS[op][0]]
    if op == "entmax":
        resolve_kernel(kwargs.get("order"), kwargs.get("alpha"))
        for name in ("order", "alpha"):
            if kwargs.get(name) is not None:
                kwargs[name] = leaves[name] = _leaf(kwargs[name], name, first)
        called: list[Any] = [leaves["z"]]
    else:
        called = [leaves[name] for name in _ARRAYS[op]] + _lifted(given["kernel"], given["rule"], first, leaves)
    with torch.enable_grad():
        output = _OPS[op](*called, **kwargs)
    if not isinstance(cotangent, Tensor) or cotangent.shape != output.shape:
        got = getattr(cotangent, "shape", type(cotangent).__qualname__)
        msg = f"cotangent must be a tensor of the output's shape {tuple(output.shape)}; got {got}"
        raise DomainError(msg)
    if not output.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    upstream = narrow(widen(cotangent.to(output.device)), output.dtype)
    found = torch.autograd.grad(output, list(leaves.values()), upstream, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _lifted(kernel: Any, rule: Any, like: Tensor, leaves: dict[str, Tensor]) -> list[Any]:
    """`kernel` and `rule` with leaves as parameters; adds these to `leaves`."""
    if not differs(kernel, rule):
        check_mechanism(kernel, rule)
    inner = rule.then if isinstance(rule, Nearest) else rule
    name = fields(inner)[0].name
    leaves["order"] = _leaf(kernel.parameter if is_array(kernel.parameter) else kernel.order, "order", like)
    leaves[name] = _leaf(getattr(inner, name), name, like)
    inner = type(inner)(leaves[name])
    return [Kernel(leaves["order"]), replace(rule, then=inner) if isinstance(rule, Nearest) else inner]
