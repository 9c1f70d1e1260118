"""The axes of a call of attention, and inputs at two of their levels: where a fault of a pair must show.

A mutant that is wrong only where two levels meet names them, as "mask × causal". `example` makes the inputs there, so
that a test can show that the mutant is wrong on them, and right where only one of the two is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

AXES: Mapping[str, tuple[str, ...]] = {
    "mask": ("mask", "boolean", "additive"),
    "causal": ("causal",),
    "lengths": ("lengths",),
    "scale": ("scale",),
    "key_norm_term": ("key_norm_term",),
    "queries and keys": ("T < S", "T = S", "T > S", "one query"),
    "keys": ("65 to 512 keys", "513 to 4096 keys", "beyond 4096 keys"),
    "key width": ("width 1", "odd width"),
    "value width": ("narrow values", "wide values", "values beyond 32"),
    "heads": ("grouped", "one key head"),
    "batch": ("no batch", "batch", "several batch axes", "inner axis 1"),
    "layout": ("not contiguous",),
    "identity": ("q is k",),
    "position": ("first block masked", "last masked", "all but one masked"),
    "magnitude": ("large products",),
    "dtype": ("half precision",),
    "gradient": ("gradient",),
}
"""Axis -> the levels of it at which mutants are wrong."""

PAIRS: tuple[tuple[str, str], ...] = (
    ("mask", "causal"),
    ("mask", "lengths"),
    ("mask", "scale"),
    ("mask", "key_norm_term"),
    ("mask", "T < S"),
    ("mask", "T > S"),
    ("mask", "65 to 512 keys"),
    ("mask", "width 1"),
    ("mask", "wide values"),
    ("mask", "grouped"),
    ("mask", "batch"),
    ("mask", "not contiguous"),
    ("mask", "q is k"),
    ("mask", "first block masked"),
    ("mask", "large products"),
    ("mask", "gradient"),
    ("boolean", "causal"),
    ("boolean", "lengths"),
    ("boolean", "gradient"),
    ("additive", "causal"),
    ("additive", "scale"),
    ("additive", "all but one masked"),
    ("additive", "half precision"),
    ("additive", "gradient"),
    ("causal", "lengths"),
    ("causal", "scale"),
    ("causal", "key_norm_term"),
    ("causal", "T < S"),
    ("causal", "T = S"),
    ("causal", "T > S"),
    ("causal", "one query"),
    ("causal", "65 to 512 keys"),
    ("causal", "odd width"),
    ("causal", "narrow values"),
    ("causal", "grouped"),
    ("causal", "one key head"),
    ("causal", "not contiguous"),
    ("causal", "q is k"),
    ("causal", "first block masked"),
    ("causal", "all but one masked"),
    ("causal", "large products"),
    ("causal", "half precision"),
    ("causal", "gradient"),
    ("lengths", "scale"),
    ("lengths", "key_norm_term"),
    ("lengths", "T < S"),
    ("lengths", "T > S"),
    ("lengths", "65 to 512 keys"),
    ("lengths", "grouped"),
    ("lengths", "all but one masked"),
    ("lengths", "half precision"),
    ("lengths", "gradient"),
    ("scale", "key_norm_term"),
    ("scale", "q is k"),
    ("scale", "large products"),
    ("scale", "half precision"),
    ("scale", "gradient"),
    ("key_norm_term", "grouped"),
    ("key_norm_term", "half precision"),
    ("key_norm_term", "gradient"),
    ("T < S", "beyond 4096 keys"),
    ("T < S", "grouped"),
    ("T < S", "not contiguous"),
    ("T < S", "last masked"),
    ("T < S", "gradient"),
    ("T = S", "513 to 4096 keys"),
    ("T = S", "wide values"),
    ("T = S", "q is k"),
    ("T > S", "gradient"),
    ("65 to 512 keys", "odd width"),
    ("65 to 512 keys", "grouped"),
    ("65 to 512 keys", "half precision"),
    ("65 to 512 keys", "gradient"),
    ("513 to 4096 keys", "wide values"),
    ("odd width", "grouped"),
    ("odd width", "gradient"),
    ("wide values", "grouped"),
    ("wide values", "gradient"),
    ("values beyond 32", "grouped"),
    ("grouped", "no batch"),
    ("grouped", "several batch axes"),
    ("grouped", "inner axis 1"),
    ("grouped", "not contiguous"),
    ("grouped", "first block masked"),
    ("grouped", "half precision"),
    ("grouped", "gradient"),
    ("one key head", "batch"),
    ("one key head", "gradient"),
    ("several batch axes", "gradient"),
    ("inner axis 1", "not contiguous"),
    ("not contiguous", "gradient"),
    ("q is k", "gradient"),
    ("first block masked", "gradient"),
    ("all but one masked", "gradient"),
    ("large products", "half precision"),
    ("half precision", "gradient"),
)
"""The pairs of levels at which users meet faults; every one has a mutant."""

_SIZES: Mapping[str, dict[str, Any]] = {
    "T < S": {"count": 5, "size": 9},
    "T = S": {"count": 9, "size": 9},
    "T > S": {"count": 9, "size": 5},
    "one query": {"count": 1},
    "65 to 512 keys": {"size": 200},
    "513 to 4096 keys": {"size": 1100},
    "beyond 4096 keys": {"size": 4200, "count": 2},
    "width 1": {"width": 1},
    "odd width": {"width": 20},
    "narrow values": {"out": 3},
    "wide values": {"out": 11},
    "values beyond 32": {"out": 40},
    "grouped": {"heads": 4},
    "one key head": {"heads": 4, "groups": 1},
    "no batch": {"batch": ()},
    "batch": {"batch": (3,)},
    "several batch axes": {"batch": (2, 3)},
    "inner axis 1": {"batch": (2, 1)},
}


def levels(at: str) -> tuple[str, str]:
    """The two levels of a pair."""
    first, _, second = at.partition(" × ")
    return first, second


def axis_of(level: str) -> str:
    """The axis that a level is of.

    Raises:
        KeyError: no axis has it.
    """
    return next(axis for axis, held in AXES.items() if level in held)


def example(*at: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and options of a call of softmax attention in float64 at these levels, ordinary in everything else."""
    told: dict[str, Any] = {"batch": (2,), "heads": 2, "groups": 2, "count": 9, "size": 9, "width": 8, "out": 8}
    # The number of keys last: which of the two numbers is larger stays as it is.
    for level in sorted(at, key=lambda level: axis_of(level) == "keys"):
        told |= _SIZES.get(level, {})
    if "T = S" in at:
        told["count"] = told["size"]
    rng = np.random.default_rng(0)
    batch, heads, groups, count, size = (told[name] for name in ("batch", "heads", "groups", "count", "size"))
    arrays = {
        "q": rng.normal(size=(*batch, heads, count, told["width"])),
        "k": rng.normal(size=(*batch, groups, size, told["width"])),
        "v": rng.normal(size=(*batch, groups, size, told["out"])),
    }
    if "large products" in at:
        # Every product is about −180 000, so that scores that are cut at −65 504 tie.
        arrays["q"] = np.abs(arrays["q"]) + 150.0
        arrays["k"] = arrays["k"] - 150.0
    if "q is k" in at:
        arrays["k"] = arrays["q"]
    if "not contiguous" in at:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    return arrays, _options(at, rng, (*batch, heads, count, size))


def _options(at: tuple[str, ...], rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    *batch, _, _, size = shape
    options: dict[str, Any] = {}
    free = rng.random(shape) < 0.6
    # Every query keeps its first key, which causal lets it see too wherever it sees any.
    free[..., 0] = True
    if "first block masked" in at:
        free = np.broadcast_to(np.arange(size) >= min(4, size - 1), shape).copy()
    if "last masked" in at:
        free[..., -1] = False
    if "all but one masked" in at:
        free = np.broadcast_to(np.arange(size) == 0, shape).copy()
    if {"mask", "boolean", "additive", "first block masked", "last masked"} & set(at) or (
        "all but one masked" in at and "lengths" not in at
    ):
        options["mask"] = free
        if "boolean" not in at:
            options["mask"] = np.where(free, rng.normal(size=shape), -np.inf)
    if "mask" in options and "not contiguous" in at:
        options["mask"] = np.asfortranarray(options["mask"])
    if "causal" in at:
        options["causal"] = True
    if "lengths" in at:
        short = 1 if "all but one masked" in at else max(size // 2, 1)
        options["lengths"] = (short + np.arange(int(np.prod(batch, dtype=int))) % 3).reshape(batch).astype(np.int64)
    if "scale" in at:
        options["scale"] = 0.21
    if "key_norm_term" in at:
        options["key_norm_term"] = True
    return options
