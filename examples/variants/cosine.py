"""A cosine kernel, and a correct fast version of it in PyTorch, gradients included.

kernelproof verify examples/variants/cosine.py:cosine --suite quick
"""

import torch

import kernelproof
from kernelproof import variant

# K(t) = cos²(πt/2), 0 from t = 1 on, with t = gap/γ: a smooth cousin of ReLUmax². At the edge it vanishes as (1 − t)².
COSINE = variant.Variant(
    "cosine",
    profile=lambda x, t: x.cos(x.pi * t / 2) ** 2,
    bandwidth=variant.Constant("gamma"),
    order=2,
    parameters={"gamma": 2},
)


@kernelproof.declare(variant="examples/variants/cosine.py:COSINE", grade="B")
def cosine(scores, gamma):
    """Weights (..., m): cos² near the best key, and near the edge, where cos² loses its digits, sin² of what is left.

    A row in which every key is masked gets zeros: NaN would reach the gradient of γ, which all rows share.
    """
    top = torch.nan_to_num(scores.amax(-1, keepdim=True), nan=torch.nan, neginf=0.0)
    gaps = torch.clamp(top - scores, max=gamma)
    near = torch.cos(torch.pi / 2 * (gaps / gamma)) ** 2
    far = torch.sin(torch.pi / 2 * ((gamma - gaps) / gamma)) ** 2
    terms = torch.where(gaps < gamma / 2, near, far)
    total = terms.sum(-1, keepdim=True)
    return terms / torch.where(total == 0, 1, total)
