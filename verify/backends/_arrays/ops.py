"""The four ops and their vector-Jacobian products on NumPy arrays, for any row core.

Everything is float64 inside and rounded once to the dtype of the input.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from kernelproof.reference.errors import BackendUnavailable, DomainError
from kernelproof.reference.model import Adaptive, Kernel, resolve_kernel
from kernelproof.reference.per_row import PerRow
from kernelproof.verify.backends._arrays import arguments, tiles
from kernelproof.verify.backends._arrays.core import Array, DirectCore, DirectVjpCore, Floats, ProvedCore, RowCore
from kernelproof.verify.backends._arrays.per_row import Groups, differs
from kernelproof.verify.backends._arrays.policy import (
    Plan,
    is_direct,
    nothing,
    parameter_of,
    plan_of,
    scores_vjp,
    weigh,
)
from kernelproof.verify.backends._arrays.problem import Problem, attention_of, regression_of
from kernelproof.verify.backends._arrays.rounding import DTYPES, rounded


@dataclass(frozen=True)
class RowBackend:
    """A backend of NumPy arrays over a row core.

    Attributes:
        name: of the backend.
        core_module: the module whose CORE solves the rows; imported on first use.
        package: the package it needs beyond NumPy, by import name, or None.
        dtypes: names of the dtypes it accepts and returns.
    """

    name: str
    core_module: str
    package: str | None = None
    dtypes: tuple[str, ...] = DTYPES

    def available(self) -> str | None:
        """None, or why the backend cannot run here and the command that installs what is missing."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"the {self.name} backend needs {self.package}; install it with: pip install {self.package}"

    def devices(self) -> tuple[str, ...]:
        """The devices on which it can run now."""
        return ("cpu",) if self.available() is None else ()

    @property
    def core(self) -> RowCore:
        """The row core.

        Raises:
            BackendUnavailable: its package is not installed.
        """
        reason = self.available()
        if reason is not None:
            raise BackendUnavailable(reason)
        return cast("RowCore", importlib.import_module(self.core_module).CORE)

    def entmax(
        self,
        z: Any,
        *,
        order: Any = None,
        alpha: Any = None,
        dim: int | None = None,
        axis: int | None = None,
        rounding: str = "fast",
    ) -> Array:
        """α-entmax of z along `dim`, ``α = 1 + 1/order``; softmax if neither is given.

        Args:
            z: (..., m) logits, floating.
            order: n in (0, inf], or below −1; or an array with one for each row, of the shape of z with size 1 along
                `dim`, or one that broadcasts to it.
            alpha: α in (0, inf), instead of order.
            dim: the axis that sums to 1; the last one if nothing is said.
            axis: another name for `dim`.
            rounding: "fast", or "correct": every float32 weight is the one nearest to the exact weight, ties to even.

        Returns:
            Weights in the shape and dtype of z; a row with NaN or +inf, or all −inf, is NaN.

        Raises:
            DomainError: an argument outside its domain, or rounding="correct" where it is not available.
            UndecidedError: rounding="correct", and at a non-integer order a weight is too near a midpoint.
        """
        array = arguments.with_axes(arguments.floating(z, "z"), "z", 1)
        place = arguments.axis_of(dim, axis, array.ndim)
        moved = np.moveaxis(array, place, -1)
        kernel = resolve_kernel(order, alpha)
        if arguments.check_rounding(rounding) == "fast" and isinstance(kernel.order, PerRow):
            name = "order" if alpha is None else "alpha"
            each = _moved(kernel, place, array.shape, name)
            return np.moveaxis(self._each_weights(moved, each, Adaptive(), "nan", name), -1, place)
        if rounding == "fast":
            return np.moveaxis(self.weights(moved, kernel, Adaptive()), -1, place)
        core = self.core
        if array.dtype != np.float32 or not array.dtype.isnative or not isinstance(core, ProvedCore):
            msg = (
                f'rounding="correct" is for float32 on the numba backend; got {array.dtype} on the {self.name} backend'
            )
            raise DomainError(msg)
        plan_of(kernel, Adaptive(), "nan")
        if kernel.order < 0:
            msg = f'rounding="correct" is for orders above 0; got order {kernel.order}; pass rounding="fast"'
            raise DomainError(msg)
        if not array.size:
            return array.copy()
        flat = moved.reshape(-1, moved.shape[-1])
        return np.moveaxis(core.proved(flat, kernel.order).reshape(moved.shape), -1, place)

    def weights(self, scores: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Array:
        """Weights of scores along the last axis.

        Args:
            scores: (..., m) floating; −inf masks a key.
            kernel: Kernel(order), n in (-inf, inf]; a negative order has weight on every key.
            rule: Fixed, Anchored, Adaptive or Nearest.
            empty: what a row without a key in its ball becomes: raise, zeros, nan, uniform or nearest.

        Returns:
            (..., m) in the dtype of scores.

        Raises:
            DomainError: an argument outside its domain, or an empty row with empty="raise".
        """
        array = arguments.with_axes(arguments.floating(scores, "scores"), "scores", 1)
        if differs(kernel, rule):
            return self._each_weights(array, kernel, rule, empty, "order")
        plan = plan_of(kernel, rule, empty)
        if not array.size:
            return array.copy()
        if isinstance(self.core, DirectCore) and is_direct(plan, array.dtype):
            return self.core.direct(array.reshape(-1, array.shape[-1]), plan.law).reshape(array.shape)
        rows = arguments.double(array).reshape(-1, array.shape[-1])
        return rounded(weigh(self.core, rows, plan).weights.reshape(array.shape), array.dtype)

    def _each_weights(self, array: Array, kernel: Any, rule: Any, empty: str, order: str) -> Array:
        """Weights with an order, or a parameter of the rule, for each row; `order` is what the caller calls it."""
        groups = Groups(kernel, rule, array.shape, {"order": order, "parameter": parameter_of(rule)})
        flat = array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])
        asked = "zeros" if empty == "raise" else empty
        weighed = groups.weights(flat, lambda rows, one, bound: self.weights(rows, one, bound, empty=asked))
        if empty == "raise" and (without := (weighed == 0).all(axis=1)).any():
            raise nothing(int(without.argmax()), len(flat))
        return weighed.reshape(array.shape)

    def regression(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Array:
        """Nadaraya–Watson regression with scores ``−‖q − k‖²/2``, from differences.

        Args:
            q: (..., T, d) queries.
            k: (..., m, d) keys.
            v: (..., m, e) values.
            kernel: Kernel(order).
            rule: Fixed, Anchored, Adaptive or Nearest.
            empty: as in `weights`.

        Returns:
            (..., T, e) in the dtype of q.

        Raises:
            DomainError: an argument outside its domain, or an empty row with empty="raise".
        """
        plan = plan_of(kernel, rule, empty)
        return tiles.output(self.core, regression_of(q, k, v), plan)

    def attention(
        self,
        q: Any,
        k: Any,
        v: Any,
        kernel: Any,
        rule: Any,
        *,
        scale: Any = None,
        mask: Any = None,
        causal: bool = False,
        lengths: Any = None,
        key_norm_term: bool = False,
        empty: str = "nan",
        info: bool = False,
    ) -> Any:
        """Attention with the weights of a kernel and a rule.

        Args:
            q: (..., H, T, d) queries.
            k: (..., Hk, S, d) keys; query head h reads key head ``h // (H // Hk)``.
            v: (..., Hk, S, e) values.
            kernel: Kernel(order).
            rule: Fixed, Anchored, Adaptive or Nearest.
            scale: of q·k; 1/√d if None.
            mask: bool (True: may attend) or added to the scores; broadcasts to (..., H, T, S).
            causal: key j is allowed iff ``j ≤ i + S − T``.
            lengths: (...) ints; keys from this one on are masked.
            key_norm_term: scores ``−scale·‖q − k‖²/2`` instead of ``scale·q·k``.
            empty: as in `weights`.
            info: return an AttentionInfo.

        Returns:
            (..., H, T, e) in the dtype of q, or an AttentionInfo of it.

        Raises:
            DomainError: an argument outside its domain, or an empty row with empty="raise".
        """
        plan = plan_of(kernel, rule, empty)
        problem = attention_of(q, k, v, scale, mask, causal, lengths, key_norm_term)
        return tiles.info(self.core, problem, plan) if info else tiles.output(self.core, problem, plan)

    def vjp(
        self, op: str, cotangent: Any, *args: Any, wrt: Collection[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The vector-Jacobian product of an op with `cotangent`, in all differentiable inputs or those in `wrt`.

        Args:
            op: entmax, weights, regression or attention.
            cotangent: in the shape of the op's output, floating.
            *args: those of the op.
            wrt: names of the wanted gradients; None means all. Without the order, entmax takes less time.
            **kwargs: those of the op.

        Returns:
            By name: z, scores, or q, k and v, in the shape and dtype of the argument; "order" or "alpha"; and the
            rule's parameter h, gamma or beta. Gradients in numbers are float64, summed over the batch.

        Raises:
            DomainError: an argument outside its domain, or a name in `wrt` in which the op has no gradient.
        """
        products: dict[str, Callable[..., dict[str, Any]]] = {
            "entmax": self._vjp_entmax,
            "weights": self._vjp_weights,
            "regression": self._vjp_regression,
            "attention": self._vjp_attention,
        }
        if op not in products:
            msg = f"op must be one of {', '.join(products)}; got {op!r}"
            raise DomainError(msg)
        if op == "entmax":
            kwargs["by_order"] = wrt is None or not {"order", "alpha"}.isdisjoint(wrt)
        return arguments.chosen(products[op](cotangent, *args, **kwargs), wrt)

    def _vjp_entmax(
        self,
        cotangent: Any,
        z: Any,
        *,
        order: Any = None,
        alpha: Any = None,
        dim: int | None = None,
        axis: int | None = None,
        by_order: bool,
    ) -> dict[str, Any]:
        array = arguments.with_axes(arguments.floating(z, "z"), "z", 1)
        place = arguments.axis_of(dim, axis, array.ndim)
        upstream = np.moveaxis(arguments.cotangent_as(cotangent, array.shape), place, -1)
        kernel = resolve_kernel(order, alpha)
        moved, wanted = np.moveaxis(array, place, -1), by_order and (order is not None or alpha is not None)
        if isinstance(kernel.order, PerRow):
            name = "order" if alpha is None else "alpha"
            each = _moved(kernel, place, array.shape, name)
            found = self._each_vjp(moved, upstream, each, Adaptive(), "nan", name)
            found |= {name: _restored(found[name], kernel.order.shape, place, array.ndim)}
        else:
            found = self._direct_scores_vjp(moved, upstream, plan_of(kernel, Adaptive(), "nan"), wanted=wanted)
        gradient = found["scores"] if found["scores"].dtype == array.dtype else rounded(found["scores"], array.dtype)
        result = {"z": np.moveaxis(gradient, -1, place)}
        if order is not None:
            result["order"] = found["order"]
        if alpha is not None:
            result["alpha"] = found["alpha"]
        return result

    def _vjp_weights(
        self, cotangent: Any, scores: Any, kernel: Any, rule: Any, *, empty: str = "nan"
    ) -> dict[str, Any]:
        array = arguments.with_axes(arguments.floating(scores, "scores"), "scores", 1)
        upstream = arguments.cotangent_of(cotangent, array.shape)
        if differs(kernel, rule):
            found = self._each_vjp(array, upstream, kernel, rule, empty, "order")
        else:
            found = self._scores_vjp(array, upstream, plan_of(kernel, rule, empty))
        gradient = rounded(found["scores"], array.dtype)
        return {"scores": gradient, "order": found["order"], parameter_of(rule): found["parameter"]}

    def _each_vjp(
        self, array: Array, upstream: Array, kernel: Any, rule: Any, empty: str, order: str
    ) -> dict[str, Any]:
        """`_scores_vjp` with an order, or a parameter of the rule, for each row."""
        groups = Groups(kernel, rule, array.shape, {"order": order, "parameter": parameter_of(rule)})
        flat, given = (each.reshape(int(np.prod(array.shape[:-1])), array.shape[-1]) for each in (array, upstream))
        found = groups.gradients(
            flat, given, lambda rows, g, one, bound: self._scores_vjp(rows, g, plan_of(one, bound, empty))
        )
        return {**found, "scores": found["scores"].reshape(array.shape)}

    def _direct_scores_vjp(self, scores: Array, upstream: Array, plan: Plan, *, wanted: bool) -> dict[str, Any]:
        """`_scores_vjp` by the fast path of the core where it has one, without "parameter"."""
        core = self.core
        same = upstream.dtype == scores.dtype and plan.law.order > 0 and is_direct(plan, scores.dtype)
        if not (same and scores.size and isinstance(core, DirectVjpCore)):
            return self._scores_vjp(scores, upstream, plan)
        flat, given = (a.reshape(-1, scores.shape[-1]) for a in (scores, upstream))
        gradient, by_row, left = core.direct_vjp(flat, given, plan.law, wanted)
        total = by_row[~left].sum()
        if left.any():
            rest = self._scores_vjp(flat[left], given[left], plan)
            gradient[left] = rounded(rest["scores"], gradient.dtype)
            total += rest["alpha"]
        order = -total / plan.law.order / plan.law.order
        return {"scores": gradient.reshape(scores.shape), "order": np.float64(order), "alpha": np.float64(total)}

    def _scores_vjp(self, scores: Array, upstream: Floats, plan: Plan) -> dict[str, Any]:
        if not scores.size:
            zero = np.float64(0)
            return {"scores": np.zeros(scores.shape), "order": zero, "alpha": zero, "parameter": zero}
        flat = arguments.double(scores).reshape(-1, scores.shape[-1])
        weighed = weigh(self.core, flat, plan)
        found = scores_vjp(self.core, flat, arguments.double(upstream).reshape(flat.shape), plan, weighed)
        return {**found, "scores": found["scores"].reshape(scores.shape)}

    def _vjp_regression(
        self, cotangent: Any, q: Any, k: Any, v: Any, kernel: Any, rule: Any, *, empty: str = "nan"
    ) -> dict[str, Any]:
        plan = plan_of(kernel, rule, empty)
        return self._gradients(regression_of(q, k, v), cotangent, plan, rule, (q, k, v))

    def _vjp_attention(
        self,
        cotangent: Any,
        q: Any,
        k: Any,
        v: Any,
        kernel: Any,
        rule: Any,
        *,
        scale: Any = None,
        mask: Any = None,
        causal: bool = False,
        lengths: Any = None,
        key_norm_term: bool = False,
        empty: str = "nan",
    ) -> dict[str, Any]:
        plan = plan_of(kernel, rule, empty)
        problem = attention_of(q, k, v, scale, mask, causal, lengths, key_norm_term)
        return self._gradients(problem, cotangent, plan, rule, (q, k, v))

    def _gradients(
        self, problem: Problem, cotangent: Any, plan: Plan, rule: Any, given: tuple[Any, Any, Any]
    ) -> dict[str, Any]:
        found = tiles.gradients(self.core, problem, plan, cotangent)
        parts = {
            name: rounded(found[name].reshape(np.shape(array)), problem.heads.dtype)
            for name, array in zip(("q", "k", "v"), given, strict=True)
        }
        return {**parts, "order": found["order"], parameter_of(rule): found["parameter"]}


def _moved(kernel: Kernel, place: int, shape: tuple[int, ...], name: str) -> Kernel:
    """`kernel` with orders for each row of an array of `shape`, whose axis `place` of keys is moved to the end.

    Raises:
        DomainError: they do not broadcast to the rows.
    """
    held, rank = kernel.order, len(shape)
    held.places(tuple(1 if at == place % rank else size for at, size in enumerate(shape)), name)
    if len(held.shape) < rank and place != rank - 1:
        # Axes are matched from the last one on.
        held = PerRow((*(1 for _ in range(rank - len(held.shape))), *held.shape), held.numbers)
    if len(held.shape) < rank:
        return kernel
    index = np.moveaxis(np.arange(len(held.numbers)).reshape(held.shape), place, -1)
    return Kernel(PerRow(index.shape, tuple(held.numbers[at] for at in index.ravel())))


def _restored(gradient: Array, shape: tuple[int, ...], place: int, rank: int) -> Array:
    """The gradient in the orders of `_moved`, in the shape of their array."""
    return np.moveaxis(gradient, -1, place).reshape(shape) if gradient.ndim == rank else gradient
