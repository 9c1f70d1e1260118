"""PyTorch's own softmax, and its attention, which is softmax attention: order ∞."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelproof.verify.targets.peers import peer

if TYPE_CHECKING:
    from torch import Tensor


@peer("torch", op="entmax", array_library="torch", order="inf", gradients=["z"], empty_row="nan")
def softmax(z: Tensor, dim: int = -1) -> Tensor:
    """torch.softmax."""
    import torch  # noqa: PLC0415 (an extra)

    return torch.softmax(z, dim=dim)


@peer("torch", op="attention", array_library="torch", order="inf", rule="adaptive:1", gradients=["q", "k", "v"])
def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Any = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention.

    Its `is_causal` aligns the first query with the first key, while the op aligns the last query with the last key, and
    it cannot be combined with a mask. So it is used only where there are as many queries as keys, which makes the two
    equal, and no mask; elsewhere the causal mask is written out. An additive mask has the dtype of the queries.
    """
    import torch  # noqa: PLC0415 (an extra)

    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)
    count, size = q.shape[-2], k.shape[-2]
    heads = q.shape[-3] // max(k.shape[-3], 1)
    if heads > 1:
        k, v = (each.repeat_interleave(heads, dim=-3) for each in (k, v))
    own = causal and mask is None and count == size
    if causal and not own:
        allowed = torch.ones(count, size, dtype=torch.bool, device=q.device).tril(size - count)
        if mask is None or mask.dtype == torch.bool:
            mask = allowed if mask is None else mask & allowed
        else:
            mask = mask.masked_fill(~allowed, float("-inf"))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=own, scale=scale)
