"""The `torch` backend: the ops on CPU and CUDA tensors, for autograd and torch.compile; torch is imported on use."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kernelproof.reference.errors import BackendUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from kernelproof.reference.model import AttentionInfo

_INSTALL = "pip install 'kernelproof[torch]'"


@dataclass(frozen=True)
class TorchBackend:
    """Weights, regression and attention on torch tensors; float64 inside, rounded once to the input's dtype.

    Source: arXiv:2601.22766, sections 2 to 4.

    >>> BACKEND.name, len(BACKEND.dtypes)
    ('torch', 6)
    """

    name: str = "torch"
    array: str = "torch"
    dtypes: tuple[str, ...] = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")

    def available(self) -> str | None:
        """None, or why torch cannot be used and the line that installs it."""
        try:
            found = importlib.util.find_spec("torch") is not None
        except (ImportError, ValueError):
            found = False
        return None if found else f"torch is not installed; {_INSTALL}"

    def devices(self) -> tuple[str, ...]:
        """The devices present now: "cpu" and perhaps "cuda"; none without torch."""
        if self.available() is not None:
            return ()
        torch = importlib.import_module("torch")
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def entmax(self, z: Tensor, *, order: Any = None, alpha: Any = None, dim: int = -1) -> Tensor:
        """α-entmax of `z` along `dim`; see `kernelproof.verify.torch_rows.ops.entmax`."""
        result: Tensor = _ops().entmax(z, order=order, alpha=alpha, dim=dim)
        return result

    def weights(self, scores: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """The weights of rows of scores; see `kernelproof.verify.torch_rows.ops.weights`."""
        result: Tensor = _ops().weights(scores, kernel, rule, empty=empty)
        return result

    def regression(self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """Kernel regression; see `kernelproof.verify.torch_rows.ops.regression`."""
        result: Tensor = _ops().regression(q, k, v, kernel, rule, empty=empty)
        return result

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, **options: Any
    ) -> Tensor | AttentionInfo:
        """Attention; see `kernelproof.verify.torch_rows.ops.attention` for the options."""
        result: Tensor | AttentionInfo = _ops().attention(q, k, v, kernel, rule, **options)
        return result

    def vjp(self, op: str, cotangent: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Vector-Jacobian products by argument name; see `kernelproof.verify.torch_rows.product.vjp`."""
        result: dict[str, Tensor] = _product().vjp(op, cotangent, *args, **kwargs)
        return result


def _ops() -> ModuleType:
    try:
        from kernelproof.verify.torch_rows import ops  # noqa: PLC0415 (imports torch)
    except ImportError:
        _explain()
        raise
    return ops


def _product() -> ModuleType:
    try:
        from kernelproof.verify.torch_rows import product  # noqa: PLC0415 (imports torch)
    except ImportError:
        _explain()
        raise
    return product


def _explain() -> None:
    """Raises BackendUnavailable with the reason if torch is not installed."""
    reason = BACKEND.available()
    if reason is not None:
        raise BackendUnavailable(reason) from None


BACKEND = TorchBackend()
