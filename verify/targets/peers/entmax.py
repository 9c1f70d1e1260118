"""entmax 1.3: sparsemax and 1.5-entmax by sorting, and α-entmax by bisection.

The package promises nothing for a row of −∞; its bisection and torch.softmax give NaN, so all functions here must. A
float α is rounded to the dtype of the logits, as the package does.

Source: Peters, Niculae and Martins, ACL 2019; Correia, Niculae and Martins, EMNLP 2019 (the gradient in α).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelproof.verify.targets.peers import peer

if TYPE_CHECKING:
    from torch import Tensor

_COMMON: dict[str, Any] = {"op": "entmax", "array_library": "torch", "nan": "nan", "empty_row": "nan", "least_keys": 1}


@peer("torch", "entmax", **_COMMON, order=1, gradients=["z"])
def sparsemax(z: Tensor, dim: int = -1) -> Tensor:
    """Order 1 by a full sort."""
    import entmax  # noqa: PLC0415 (an extra)

    found: Tensor = entmax.sparsemax(z, dim=dim)
    return found


@peer("torch", "entmax", **_COMMON, order=1, gradients=["z"])
def sparsemax_k2(z: Tensor, dim: int = -1) -> Tensor:
    """Order 1 by a partial sort of two keys; the number is doubled where it is too small."""
    import entmax  # noqa: PLC0415 (an extra)

    found: Tensor = entmax.sparsemax(z, dim=dim, k=2)
    return found


@peer("torch", "entmax", **_COMMON, order=2, gradients=["z"])
def entmax15(z: Tensor, dim: int = -1) -> Tensor:
    """Order 2 by a full sort."""
    import entmax  # noqa: PLC0415 (an extra)

    found: Tensor = entmax.entmax15(z, dim=dim)
    return found


@peer("torch", "entmax", **_COMMON, order=2, gradients=["z"])
def entmax15_k2(z: Tensor, dim: int = -1) -> Tensor:
    """Order 2 by a partial sort of two keys; the number is doubled where it is too small."""
    import entmax  # noqa: PLC0415 (an extra)

    found: Tensor = entmax.entmax15(z, dim=dim, k=2)
    return found


@peer("torch", "entmax", **_COMMON, gradients=["z", "alpha"])
def entmax_bisect(z: Tensor, alpha: Any = 1.5, dim: int = -1) -> Tensor:
    """Any order by 50 steps of bisection; differentiable in α."""
    import entmax  # noqa: PLC0415 (an extra)

    told = alpha.to(z.dtype) if hasattr(alpha, "dtype") else alpha
    found: Tensor = entmax.entmax_bisect(z, alpha=told, dim=dim)
    return found


@peer("torch", "entmax", **_COMMON, order=1, gradients=["z"])
def sparsemax_bisect(z: Tensor, dim: int = -1) -> Tensor:
    """Order 1 by 50 steps of bisection."""
    import entmax  # noqa: PLC0415 (an extra)

    found: Tensor = entmax.sparsemax_bisect(z, dim=dim)
    return found
