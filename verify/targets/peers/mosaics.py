"""Methods of the paper's Memory Mosaics that the built-in backends lack, written from their definitions.

Memory Mosaics scale keys to norm β: raw scores are ``β²c`` with c the cosine of query and key. For unit keys
``D = 2 − 2c``, so ``c = 1 + s`` with the scores s = −D/2 that these functions take. A masked key has s = −∞.

Source: arXiv:2601.22766, section 5; the repository deep-spin/sparse_attention_as_kernel_regression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelproof.verify.targets.peers import peer

if TYPE_CHECKING:
    from torch import Tensor

_COMMON: dict[str, Any] = {
    "op": "weights",
    "array_library": "torch",
    "order": 1,
    "dtypes": ["float64", "float32"],
    "gradients": ["scores"],
}


@peer("torch", **_COMMON, rule="anchored:gamma")
def relumax(scores: Tensor, gamma: float) -> Tensor:
    """Normalized ``[(s − max s)/γ + 1]₊`` with γ = h² and h = 1/β."""
    beta = gamma**-0.5
    lead = scores - scores.amax(dim=-1, keepdim=True)
    weights: Tensor = (lead / (1.0 / beta) ** 2 + 1.0).relu()
    return weights / weights.sum(dim=-1, keepdim=True)


@peer("torch", **_COMMON, rule="fixed:h")
def norm_relu(scores: Tensor, h: float) -> Tensor:
    """Normalized ReLU of ``β²c/γ + b`` with γ = h²/2, b = 1 − 2β² and h = 1/β; uniform if all of these are 0.

    A masked key has raw score 0 before the ReLU, as in the definition.
    """
    import torch  # noqa: PLC0415 (an extra)

    beta = 1.0 / h
    allowed = torch.isfinite(scores)
    raw = torch.where(allowed, beta**2 * (1.0 + scores), torch.zeros_like(scores))
    weights = (raw / (0.5 * h**2) + (1.0 - 2.0 * beta**2)).relu()
    total = weights.sum(dim=-1, keepdim=True)
    uniform = allowed.to(scores.dtype) / allowed.sum(dim=-1, keepdim=True).clamp_min(1)
    return torch.where(total > 0, weights / total.clamp_min(1e-6), uniform)
