# ruff: noqa: ARG001 - the signature of an operator is its schema, which all its parts share
"""The row map as one operator: opaque to torch.compile, and differentiable any number of times.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernelproof.verify.backends.torch.gradient import Saved, gradients
from kernelproof.verify.backends.torch.solver import solve


@torch.library.custom_op("kernelproof::row", mutates_args=())
def row(
    scores: Tensor, parameter: Tensor, shape: Tensor, order: float, by_alpha: bool, rule: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The fields of `solver.RowSolution` for `scores`, differentiable in scores, parameter and shape.

    Args:
        scores: (..., m) float64, m ≥ 1; masked keys are −∞.
        parameter: 0-d float64: h, gamma or beta.
        shape: 0-d float64: the order again, or α − 1 = 1/n with `by_alpha`; used only to carry the gradient.
        order: n, from which the weights are computed.
        by_alpha: whether `shape` is α − 1.
        rule: one of `solver.RULES`.
    """
    weights, logs, lean = solve(scores, parameter, order, rule)
    return weights, logs, lean


@row.register_fake
def _(
    scores: Tensor, parameter: Tensor, shape: Tensor, order: float, by_alpha: bool, rule: str
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(scores), torch.empty_like(scores), torch.empty_like(scores)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    scores, parameter, shape, ctx.order, ctx.by_alpha, ctx.rule = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(scores, parameter, shape, *output)


def _backward(ctx: Any, g: Tensor | None, of_logs: Tensor | None, of_lean: Tensor | None) -> tuple[Any, ...]:
    scores, parameter, shape, weights, logs, lean = ctx.saved_tensors
    if g is None and of_logs is None:
        return torch.zeros_like(scores), torch.zeros_like(parameter), torch.zeros_like(shape), None, None, None
    order_tensor = 1 / shape if ctx.by_alpha else shape
    saved = Saved(scores, parameter, weights, logs, lean.detach(), ctx.order, order_tensor, ctx.rule)
    result = gradients(saved, torch.zeros_like(scores) if g is None else g, of_logs)
    of_shape = result.inverse if ctx.by_alpha else result.order
    return result.scores, result.parameter, of_shape, None, None, None


row.register_autograd(_backward, setup_context=_keep)
