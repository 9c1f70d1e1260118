"""A torch.nn.Module: sparsemax, which is entmax of order 1, with its gradient from autograd.

    kernelproof verify examples/sparsemax_torch.py:Sparsemax

The class is instantiated without arguments and called through `forward`. It has no parameter for the order, so it
declares which order it computes; it also promises grade B.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Sparsemax(torch.nn.Module):
    """The projection of each row of logits onto the simplex."""

    KERNELPROOF = {"op": "entmax", "order": 1, "grade": "B"}  # noqa: RUF012 (never modified)

    def forward(self, z: Tensor, dim: int = -1) -> Tensor:
        """Weights in the shape and dtype of `z`."""
        if z.shape[dim] == 0:
            return z.clone()
        wide = z if z.dtype == torch.float64 else z.float()
        # Gaps to the largest score: exact where it matters, and an offset of the whole row cancels at once.
        gaps = wide.amax(dim, keepdim=True).detach() - wide
        ordered = gaps.sort(dim).values
        sizes = torch.arange(1, z.shape[dim] + 1, dtype=wide.dtype, device=z.device)
        sizes = sizes.reshape([-1] + [1] * (z.dim() - 1 - dim % z.dim()))
        # A masked key is infinitely far, and adds nothing to the sums.
        far = torch.isinf(ordered)
        sums = 1 + torch.where(far, 0, ordered).cumsum(dim)
        inside = (ordered * sizes < sums) & ~far
        count = inside.sum(dim, keepdim=True).clamp(min=1)
        top = sums.gather(dim, count - 1) / count
        # relu has gradient 0 at 0, in agreement with the count: both treat a key at the threshold as outside.
        weights = torch.where(torch.isnan(gaps), gaps, torch.relu(top - gaps))
        return weights.to(z.dtype)
