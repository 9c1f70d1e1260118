"""The `torch` backend: the ops on CPU and CUDA tensors, for autograd and torch.compile; torch is imported on use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelproof.reference.errors import BackendUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from kernelproof.reference.model import AttentionInfo


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
            importlib.import_module("kernelproof.verify.torch_rows")
        except BackendUnavailable as error:
            return str(error)
        return None

    def devices(self) -> tuple[str, ...]:
        """The devices present now: "cpu" and perhaps "cuda"; none without torch."""
        if self.available() is not None:
            return ()
        torch = importlib.import_module("torch")
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def entmax(self, z: Tensor, *, order: Any = None, alpha: Any = None, dim: int = -1) -> Tensor:
        """α-entmax of `z` along `dim`; see `kernelproof.verify.torch_rows.ops.entmax`."""
        from kernelproof.verify.torch_rows import ops  # noqa: PLC0415 (imports torch)

        return ops.entmax(z, order=order, alpha=alpha, dim=dim)

    def weights(self, scores: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """The weights of rows of scores; see `kernelproof.verify.torch_rows.ops.weights`."""
        from kernelproof.verify.torch_rows import ops  # noqa: PLC0415 (imports torch)

        return ops.weights(scores, kernel, rule, empty=empty)

    def regression(self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """Kernel regression; see `kernelproof.verify.torch_rows.ops.regression`."""
        from kernelproof.verify.torch_rows import ops  # noqa: PLC0415 (imports torch)

        return ops.regression(q, k, v, kernel, rule, empty=empty)

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, **options: Any
    ) -> Tensor | AttentionInfo:
        """Attention; see `kernelproof.verify.torch_rows.ops.attention` for the options."""
        from kernelproof.verify.torch_rows import ops  # noqa: PLC0415 (imports torch)

        return ops.attention(q, k, v, kernel, rule, **options)

    def vjp(self, op: str, cotangent: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Vector-Jacobian products by argument name; see `kernelproof.verify.torch_rows.product.vjp`."""
        from kernelproof.verify.torch_rows import product  # noqa: PLC0415 (imports torch)

        return product.vjp(op, cotangent, *args, **kwargs)


BACKEND = TorchBackend()
