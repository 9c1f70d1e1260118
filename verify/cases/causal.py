"""Which keys a causal query sees where there are not as many queries as keys: there two alignments are in use.

The op counts queries from the last key on, so that the last query sees every key (bottom-right, as FlashAttention);
others count both from the first on, so that the first query sees the first key alone (top-left, as `is_causal` of
PyTorch). A target that promises the latter is called alike, and judged by the truth of what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kernelproof.verify.records import Contract, Flags, Inputs

TOP_LEFT = "top-left"
"""The value of the option `causal` in inputs of a target that promises that alignment."""


def seen_keys(count: int, size: int, causal: Any) -> Flags:
    """(T, S) the keys that each query of `count` sees of `size`; `causal` is the value of the option, which is set.

    >>> seen_keys(1, 3, True).tolist(), seen_keys(1, 3, "top-left").tolist()
    ([[True, True, True]], [[True, False, False]])
    """
    shift = 0 if causal == TOP_LEFT else size - count
    return np.asarray(np.arange(size) <= np.arange(count)[:, None] + shift)


def aligned(inputs: Inputs, contract: Contract) -> Inputs:
    """`inputs` with the alignment that a target promises in the option `causal`, if that is set."""
    wanted: bool | str = TOP_LEFT if contract.causal == TOP_LEFT else True
    if inputs.options.get("causal", wanted) in {wanted, False}:
        return inputs
    return replace(inputs, options={**inputs.options, "causal": wanted})


def as_called(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a target is given them, which knows of one alignment."""
    return {name: True if name == "causal" and value == TOP_LEFT else value for name, value in options.items()}


def spelled_out(options: Mapping[str, Any], count: int, size: int) -> dict[str, Any]:
    """The options with another alignment than that of the op written out as a mask (..., T, S)."""
    if options.get("causal") != TOP_LEFT:
        return dict(options)
    seen, mask = seen_keys(count, size, TOP_LEFT), options.get("mask")
    if mask is None or mask.dtype == bool:
        both = seen if mask is None else mask & seen
    else:
        both = np.where(seen, mask.astype(np.float64), -np.inf)
    return {**{name: value for name, value in options.items() if name != "causal"}, "mask": both}
