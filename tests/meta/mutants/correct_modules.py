"""Correct implementations in other forms of Python: modules, objects, functions that return more than the output."""

import numpy as np
import torch
from mutant_parts import entmax64, sparsemax_sorted
from mutant_parts_torch import allowed, attend, differentiated, mean, scores_of, weigh
from mutant_registry import correct


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32"])
class AttentionModule(torch.nn.Module):
    """Attention as a module, which is called through its forward."""

    def forward(self, query, key, value, is_causal=False):
        scores = scores_of(query, key)
        return mean(weigh(scores, allowed(scores.shape, causal=is_causal)), value)


@correct(order=1, dtypes=["float64", "float32"])
class SparsemaxModule(torch.nn.Module):
    """Sparsemax along an axis that the caller names."""

    def __init__(self):
        super().__init__()
        self.apply_last = differentiated(1)

    def forward(self, x, dim=-1):
        return self.apply_last(x.transpose(dim, -1)).transpose(dim, -1)


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32"])
def attention_and_weights(q, k, v):
    """The output, and the weights beside it."""
    p = torch.softmax(scores_of(q.double(), k.double()), -1)
    return mean(p, v.double()).to(q.dtype), p


@correct(order=2, output="weights")
def named_output(z):
    """A dict with the weights."""
    return {"threshold": None, "weights": entmax64(z, 2).astype(z.dtype)}


@correct(order=1)
def along_any_axis(x, axis=-1):
    """Sparsemax along an axis, which is moved to the end and back."""
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(sparsemax_sorted(moved).astype(x.dtype), -1, axis)


@correct(op="attention", order="inf", rule="adaptive:1", requires=["causal"], dtypes=["float64", "float32"])
def always_causal(q, k, v, causal=True):
    """A decoder's attention, which has no other form."""
    return attend(q, k, v, causal=True)


@correct(op="attention", order="inf", rule="adaptive:1", dtypes=["float64", "float32"], grouped_heads=False)
def one_key_head_for_each(q, k, v, scale=None):
    """As many key heads as heads."""
    return attend(q, k, v, scale=scale)


@correct(op="attention", order="inf", rule="nearest:topk:adaptive:1", dtypes=["float64", "float32"], gradients=[])
def attention_to_the_nearest(q, k, v, topk):
    """Softmax over the keys of the k largest scores, by index where they tie."""
    scores = scores_of(q.double(), k.double())
    order = torch.argsort(scores, dim=-1, descending=True, stable=True).argsort(-1)
    return mean(weigh(scores, order < topk), v.double()).to(q.dtype)
