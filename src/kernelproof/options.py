"""The options about a target that all commands share; a light module, because the command line imports it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

Several = str | int | float | Sequence[Any] | None
"""One or more numbers or names: a text such as ``"1/2,1,inf"``, a number, or a sequence of either."""
Targets = Sequence[str | Callable[..., Any]]


class TargetOptions(TypedDict, total=False):
    """Options about a target; an option that is None is treated as left out.

    Attributes:
        op: one or more of entmax, weights, regression, attention; default: those that the target has.
        order: one or more orders, such as ``"1/2,1,inf"``.
        alpha: one or more values of α instead of orders; entmax only.
        dtype: one or more dtypes; default: those that the target takes.
        device: "cpu" or "cuda", and for `kernelproof.verify` "all"; default: the devices of the machine.
        call: how to call the target, such as ``"f(z, dim=-1)"``; for a single target, as are the following.
        output: which item of its return value is the output.
        array_library: the library of the arrays it computes on: numpy, torch, jax or cupy.
        contract: the rest of its declaration: a TOML file, or the fields themselves.
        variant: the `kernelproof.variant.Variant` that it computes, as ``"file.py:OBJECT"``.
    """

    op: str | Sequence[str] | None
    order: Several
    alpha: Several
    dtype: str | Sequence[str] | None
    device: str | None
    call: str | None
    output: int | str | None
    array_library: str | None
    contract: str | Path | Mapping[str, Any] | None
    variant: str | None
