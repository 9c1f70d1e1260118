"""Shared by the families of figures: rows of logits, backends, and peers that may be missing."""

from __future__ import annotations

import importlib
import inspect
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import BackendUnavailable
from kernelproof.verify.backends import backend
from kernelproof.verify.bench.figure import Missing

SHAPES = ((4096, 1024), (64, 65536))
SCALE = 2.0
"""Standard deviation of the logits."""


@lru_cache(maxsize=8)
def logits(rows: int, keys: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """(rows, keys) logits N(0, 2²); read-only, and cached, so that equal arguments return the same array."""
    z = np.random.default_rng(seed).normal(0, SCALE, (rows, keys)).astype(dtype)
    z.setflags(write=False)
    return z


@lru_cache(maxsize=4)
def cotangents(rows: int, keys: int, dtype: str) -> NDArray[Any]:
    """(rows, keys) upstream gradients N(0, 1)."""
    g = np.random.default_rng(1).normal(0, 1, (rows, keys)).astype(dtype)
    g.setflags(write=False)
    return g


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as text, such as 4096 × 1024."""
    return " × ".join(map(str, shape))


def order_text(order: float) -> str:
    """An order as text, such as 2, 2.7 or ∞."""
    return "∞" if order == np.inf else f"{order:g}"


def numba_backend(argument: str = "") -> Any:
    """The Numba backend; its entmax must take `argument`, if one is given.

    Raises:
        Missing: the backend cannot run here, or its entmax does not take the argument.
    """
    try:
        found = backend("numba")
    except BackendUnavailable as error:
        raise Missing(str(error)) from None
    if argument and argument not in inspect.signature(found.entmax).parameters:
        msg = f"entmax of the numba backend has no argument {argument!r}"
        raise Missing(msg)
    return found


def module(name: str, line: str = "") -> Any:
    """Import and return the module `name`.

    Raises:
        Missing: it is not installed; the message has `line`, the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        msg = f"{name} is not installed; install it with: {line}" if line else f"there is no module {name}"
        raise Missing(msg) from None


def torch() -> Any:
    """Import and return PyTorch.

    Raises:
        Missing: it is not installed.
    """
    return module("torch", "pip install 'kernelproof[torch]'")
