"""The four ops and their vector-Jacobian products on NumPy arrays, for any row core.

Everything is float64 inside and rounded once to the dtype that came.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from kernelproof.reference.errors import BackendUnavailable, DomainError
from kernelproof.reference.model import Adaptive, AttentionInfo, resolve_kernel
from kernelproof.verify.rows import arguments
from kernelproof.verify.rows.contraction import contract, pull, squared_distances, transposed
from kernelproof.verify.rows.core import Array, DirectCore, Flags, Floats, ProvedCore, RowCore
from kernelproof.verify.rows.policy import Plan, Weighed, directly, parameter_of, plan_of, pull_back, thresholds, weigh
from kernelproof.verify.rows.rounding import DTYPES, rounded


@dataclass(frozen=True)
class _Attention:
    """Attention between scores and output: (B, N, S) scores, which of them are used, and their weights."""

    heads: arguments.Heads
    scores: Floats
    used: Flags
    weighed: Weighed
    weights: Floats
    scale: float
    distances: bool


@dataclass(frozen=True)
class RowBackend:
    """A backend of NumPy arrays over a row core.

    Attributes:
        name: of the backend.
        core_module: the module whose CORE does the rows; imported on first use.
        package: what it needs beyond NumPy, by import name, or None.
        dtypes: what it takes and returns.
    """

    name: str
    core_module: str
    package: str | None = None
    dtypes: tuple[str, ...] = DTYPES

    def available(self) -> str | None:
        """None, or why the backend cannot run here and the line that installs what it lacks."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"the {self.name} backend needs {self.package}; install it with: pip install {self.package}"

    def devices(self) -> tuple[str, ...]:
        """Where it can run now."""
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

    def entmax(self, z: Any, *, order: Any = None, alpha: Any = None, dim: int = -1, rounding: str = "fast") -> Array:
        """α-entmax of z along `dim`, ``α = 1 + 1/order``; softmax if neither is given.

        Args:
            z: (..., m) logits, floating.
            order: n in (0, inf].
            alpha: α in [1, inf), instead of order.
            dim: the axis that sums to 1.
            rounding: "fast", or "correct": every float32 weight is the one nearest to the exact weight, ties to even.

        Returns:
            Weights in the shape and dtype of z; a row with NaN or +inf, or all −inf, is NaN.

        Raises:
            DomainError: an argument outside its domain, or rounding="correct" where it is not to be had.
            UndecidedError: rounding="correct", and an order that is no integer has a weight too near a midpoint.
        """
        array = arguments.with_axes(arguments.floating(z, "z"), "z", 1)
        axis = arguments.axis_of(dim, array.ndim)
        moved = np.moveaxis(array, axis, -1)
        kernel = resolve_kernel(order, alpha)
        if arguments.check_rounding(rounding) == "fast":
            return np.moveaxis(self.weights(moved, kernel, Adaptive()), -1, axis)
        core = self.core
        if array.dtype != np.float32 or not array.dtype.isnative or not isinstance(core, ProvedCore):
            msg = (
                f'rounding="correct" is for float32 on the numba backend; got {array.dtype} on the {self.name} backend'
            )
            raise DomainError(msg)
        plan_of(kernel, Adaptive(), "nan")
        if not array.size:
            return array.copy()
        flat = moved.reshape(-1, moved.shape[-1])
        return np.moveaxis(core.proved(flat, kernel.order).reshape(moved.shape), -1, axis)

    def weights(self, scores: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Array:
        """Weights of scores along the last axis.

        Args:
            scores: (..., m) floating; −inf masks a key.
            kernel: Kernel(order).
            rule: Fixed, Anchored, Adaptive or Nearest.
            empty: what a row of no key in the ball becomes: raise, zeros, nan, uniform or nearest.

        Returns:
            (..., m) in the dtype of scores.

        Raises:
            DomainError: an argument outside its domain, or an empty row with empty="raise".
        """
        array = arguments.with_axes(arguments.floating(scores, "scores"), "scores", 1)
        plan = plan_of(kernel, rule, empty)
        if not array.size:
            return array.copy()
        if isinstance(self.core, DirectCore) and directly(plan, array.dtype):
            return self.core.direct(array.reshape(-1, array.shape[-1]), plan.law).reshape(array.shape)
        rows = arguments.double(array).reshape(-1, array.shape[-1])
        return rounded(weigh(self.core, rows, plan).weights.reshape(array.shape), array.dtype)

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
        return self._output(self._regression(q, k, v, plan))

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
            lengths: (...) ints; keys from there on are masked.
            key_norm_term: scores ``−scale·‖q − k‖²/2`` instead of ``scale·q·k``.
            empty: as in `weights`.
            info: return an AttentionInfo.

        Returns:
            (..., H, T, e) in the dtype of q, or an AttentionInfo of it.

        Raises:
            DomainError: an argument outside its domain, or an empty row with empty="raise".
        """
        plan = plan_of(kernel, rule, empty)
        middle = self._attention(q, k, v, plan, scale, mask, causal, lengths, key_norm_term)
        y = self._output(middle)
        return self._info(middle, plan, y) if info else y

    def vjp(self, op: str, cotangent: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The vector-Jacobian product of an op with `cotangent`, in every differentiable input.

        Args:
            op: entmax, weights, regression or attention.
            cotangent: in the shape of the op's output, floating.
            *args: of the op.
            **kwargs: of the op.

        Returns:
            By name: z, scores, or q, k and v, in the shape and dtype of the argument; "order" or "alpha"; and the
            rule's parameter h, gamma or beta. Those of numbers are float64, summed over the batch.

        Raises:
            DomainError: an argument outside its domain.
        """
        pulls: dict[str, Callable[..., dict[str, Any]]] = {
            "entmax": self._vjp_entmax,
            "weights": self._vjp_weights,
            "regression": self._vjp_regression,
            "attention": self._vjp_attention,
        }
        if op not in pulls:
            msg = f"op must be one of {', '.join(pulls)}; got {op!r}"
            raise DomainError(msg)
        return pulls[op](cotangent, *args, **kwargs)

    def _vjp_entmax(
        self, cotangent: Any, z: Any, *, order: Any = None, alpha: Any = None, dim: int = -1
    ) -> dict[str, Any]:
        array = arguments.with_axes(arguments.floating(z, "z"), "z", 1)
        axis = arguments.axis_of(dim, array.ndim)
        upstream = np.moveaxis(arguments.cotangent_of(cotangent, array.shape), axis, -1)
        plan = plan_of(resolve_kernel(order, alpha), Adaptive(), "nan")
        found = self._pull(np.moveaxis(array, axis, -1), upstream, plan)
        result = {"z": rounded(np.moveaxis(found["scores"], -1, axis), array.dtype)}
        if order is not None:
            result["order"] = found["order"]
        if alpha is not None:
            result["alpha"] = found["alpha"]
        return result

    def _vjp_weights(
        self, cotangent: Any, scores: Any, kernel: Any, rule: Any, *, empty: str = "nan"
    ) -> dict[str, Any]:
        array = arguments.with_axes(arguments.floating(scores, "scores"), "scores", 1)
        found = self._pull(array, arguments.cotangent_of(cotangent, array.shape), plan_of(kernel, rule, empty))
        gradient = rounded(found["scores"], array.dtype)
        return {"scores": gradient, "order": found["order"], parameter_of(rule): found["parameter"]}

    def _pull(self, scores: Array, upstream: Floats, plan: Plan) -> dict[str, Any]:
        if not scores.size:
            zero = np.float64(0)
            return {"scores": np.zeros(scores.shape), "order": zero, "alpha": zero, "parameter": zero}
        flat = arguments.double(scores).reshape(-1, scores.shape[-1])
        weighed = weigh(self.core, flat, plan)
        found = pull_back(self.core, flat, arguments.double(upstream).reshape(flat.shape), plan, weighed)
        return {**found, "scores": found["scores"].reshape(scores.shape)}

    def _vjp_regression(
        self, cotangent: Any, q: Any, k: Any, v: Any, kernel: Any, rule: Any, *, empty: str = "nan"
    ) -> dict[str, Any]:
        plan = plan_of(kernel, rule, empty)
        return self._gradients(self._regression(q, k, v, plan), cotangent, plan, rule, (q, k, v))

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
        middle = self._attention(q, k, v, plan, scale, mask, causal, lengths, key_norm_term)
        return self._gradients(middle, cotangent, plan, rule, (q, k, v))

    def _regression(self, q: Any, k: Any, v: Any, plan: Plan) -> _Attention:
        heads = arguments.heads_of(q, k, v, grouped=False)
        with np.errstate(all="ignore"):
            scores = -squared_distances(heads.q, heads.k) / 2
        return self._weighed(heads, scores, np.ones(scores.shape, dtype=np.bool_), plan, 1.0, distances=True)

    def _attention(
        self,
        q: Any,
        k: Any,
        v: Any,
        plan: Plan,
        scale: Any,
        mask: Any,
        causal: bool,
        lengths: Any,
        key_norm_term: bool,
    ) -> _Attention:
        heads = arguments.heads_of(q, k, v, grouped=True)
        factor = arguments.scale_of(scale, heads.q.shape[-1])
        allowed, bias = arguments.allowed_keys(
            (*heads.lead, heads.queries, heads.k.shape[1]), mask, arguments.flag_of(causal, "causal"), lengths
        )
        with np.errstate(all="ignore"):
            if arguments.flag_of(key_norm_term, "key_norm_term"):
                scores = -factor * (squared_distances(heads.q, heads.k) / 2)
            else:
                scores = factor * contract(heads.q, heads.k)
            if bias is not None:
                scores = scores + np.broadcast_to(bias, allowed.shape).reshape(scores.shape)
        return self._weighed(heads, scores, allowed.reshape(scores.shape), plan, factor, distances=bool(key_norm_term))

    def _weighed(
        self, heads: arguments.Heads, scores: Floats, allowed: Flags, plan: Plan, scale: float, *, distances: bool
    ) -> _Attention:
        scores = np.where(allowed, scores, -np.inf)
        used = scores != -np.inf
        flat = scores.reshape(-1, scores.shape[-1]) if scores.size else np.zeros((0, max(1, scores.shape[-1])))
        weighed = weigh(self.core, flat, plan)
        weights = weighed.weights.reshape(scores.shape) if scores.size else np.zeros(scores.shape)
        return _Attention(heads, scores, used, weighed, weights, scale, distances)

    def _output(self, middle: _Attention) -> Array:
        heads = middle.heads
        with np.errstate(all="ignore"):
            y = contract(np.where(middle.used, middle.weights, 0.0), transposed(heads.v), middle.used)
        lost = np.any(np.isnan(middle.weights), axis=-1, keepdims=True)
        y = np.where(lost, np.nan, y)
        return rounded(y.reshape(*heads.lead, heads.queries, heads.v.shape[-1]), heads.dtype)

    def _info(self, middle: _Attention, plan: Plan, y: Array) -> AttentionInfo:
        heads, weighed = middle.heads, middle.weighed
        rows = (*heads.lead, heads.queries)
        if not middle.scores.size:
            normalizer, threshold = np.full(rows, np.nan), np.full(rows, np.nan)
            support = np.zeros((*rows, heads.k.shape[1]), dtype=np.bool_)
        else:
            found = weighed.rows.log_normalizer
            # An empty row has nothing to normalize: NaN, as in the truth.
            normalizer = np.where(weighed.spoiled | np.isneginf(found), np.nan, found).reshape(rows)
            threshold = thresholds(weighed, plan.law).reshape(rows)
            support = weighed.rows.support.reshape(*rows, -1)
        return AttentionInfo(y, rounded(normalizer, heads.dtype), rounded(threshold, heads.dtype), support)

    def _gradients(
        self, middle: _Attention, cotangent: Any, plan: Plan, rule: Any, given: tuple[Any, Any, Any]
    ) -> dict[str, Any]:
        heads, used = middle.heads, middle.used
        upstream = arguments.cotangent_of(cotangent, (*heads.lead, heads.queries, heads.v.shape[-1]))
        upstream = upstream.reshape(*heads.q.shape[:2], heads.v.shape[-1])
        back = np.ascontiguousarray(np.swapaxes(used, -1, -2))
        with np.errstate(all="ignore"):
            found = self._pull_middle(middle, contract(upstream, heads.v), plan)
            through = found["scores"]
            # An empty row has nothing to pass on, even where its output is NaN.
            spoiled = middle.weighed.spoiled.reshape(used.shape[:2]) if used.size else np.zeros(used.shape[:2], bool)
            weights = np.where(used & (spoiled[..., None] | np.isfinite(middle.weights)), middle.weights, 0.0)
            of_v = contract(transposed(weights), transposed(upstream), back)
            if middle.distances:
                of_q = middle.scale * pull(through, heads.q, heads.k, used)
                of_k = middle.scale * pull(transposed(through), heads.k, heads.q, back)
            else:
                of_q = middle.scale * contract(through, transposed(heads.k), used)
                of_k = middle.scale * contract(transposed(through), transposed(heads.q), back)
        parts = {
            name: rounded(part.reshape(np.shape(array)), heads.dtype)
            for name, part, array in zip(("q", "k", "v"), (of_q, of_k, of_v), given, strict=True)
        }
        return {**parts, "order": found["order"], parameter_of(rule): found["parameter"]}

    def _pull_middle(self, middle: _Attention, upstream: Floats, plan: Plan) -> dict[str, Any]:
        shape = middle.scores.shape
        if not middle.scores.size:
            return {"scores": np.zeros(shape), "order": np.float64(0), "parameter": np.float64(0)}
        flat = middle.scores.reshape(-1, shape[-1])
        found = pull_back(self.core, flat, upstream.reshape(flat.shape), plan, middle.weighed)
        return {**found, "scores": found["scores"].reshape(shape)}
