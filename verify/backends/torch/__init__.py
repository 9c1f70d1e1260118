"""The `torch` backend: the ops on CPU and CUDA tensors, for autograd and torch.compile; torch is imported on use.

`rounding` changes dtypes with a single rounding, `solver` computes weights in float64, `gradient` holds the closed-form
derivatives, `row` joins the two into an operator for autograd and torch.compile, `plan` reads kernels and rules, `ops`
holds the public operations and `product` their vector-Jacobian products. Each of these modules imports torch; this one
does not.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    array_library: str = "torch"
    dtypes: tuple[str, ...] = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")

    def available(self) -> str | None:
        """None, or why torch cannot be used and the command that installs it."""
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed; pip install 'kernelproof[torch]'"
        return None

    def devices(self) -> tuple[str, ...]:
        """The devices available now: "cpu" and possibly "cuda"; none without torch."""
        if self.available() is not None:
            return ()
        torch = importlib.import_module("torch")
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    # Import statements and plain returns, which torch.compile traces through.
    def entmax(
        self, z: Tensor, *, order: Any = None, alpha: Any = None, dim: int | None = None, axis: int | None = None
    ) -> Tensor:
        """α-entmax of `z` along `dim`; see `kernelproof.verify.backends.torch.ops.entmax`."""
        from kernelproof.verify.backends.torch.tensor_ops import ops  # noqa: PLC0415 (imports torch)

        return ops.entmax(z, order=order, alpha=alpha, dim=dim, axis=axis)

    def weights(self, scores: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """The weights of rows of scores; see `kernelproof.verify.backends.torch.ops.weights`."""
        from kernelproof.verify.backends.torch.tensor_ops import ops  # noqa: PLC0415 (imports torch)

        return ops.weights(scores, kernel, rule, empty=empty)

    def regression(self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
        """Kernel regression; see `kernelproof.verify.backends.torch.ops.regression`."""
        from kernelproof.verify.backends.torch.tensor_ops import ops  # noqa: PLC0415 (imports torch)

        return ops.regression(q, k, v, kernel, rule, empty=empty)

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, kernel: Any, rule: Any, **options: Any
    ) -> Tensor | AttentionInfo:
        """Attention; see `kernelproof.verify.backends.torch.ops.attention` for the options."""
        from kernelproof.verify.backends.torch.tensor_ops import ops  # noqa: PLC0415 (imports torch)

        return ops.attention(q, k, v, kernel, rule, **options)

    def vjp(self, op: str, cotangent: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Vector-Jacobian products by argument name; see `kernelproof.verify.backends.torch.product.vjp`."""
        from kernelproof.verify.backends.torch.tensor_ops import product  # noqa: PLC0415 (imports torch)

        return product.vjp(op, cotangent, *args, **kwargs)


BACKEND = TorchBackend()
