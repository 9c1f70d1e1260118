"""The options that every command takes about a target: a light module, which the command line imports at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

Several = str | int | float | Sequence[Any] | None
"""One or more numbers: a text such as ``"1/2,1,inf"``, a number, or a sequence of either."""
Targets = Sequence[str | Callable[..., Any]]


class TargetOptions(TypedDict, total=False):
    """What the commands are told about a target; what is left out, or None, is not told.

    Attributes:
        op: one or more of entmax, weights, regression, attention; default: what the target has.
        order: one or more orders, such as ``"1/2,1,inf"``.
        alpha: one or more values of α instead of orders; entmax only.
        dtype: one or more dtypes; default: what the target takes.
        device: "cpu" or "cuda", and for `kernelproof.verify` "all"; default: what the machine has.
        call: how the one target is called, such as ``"f(z, dim=-1)"``.
        output: which item of what it returns is the output.
        array_library: whose arrays it computes on: numpy, torch, jax or cupy.
        contract: what else is declared of it: a TOML file, or the fields themselves.
        variant: ``"file.py:OBJECT"`` of the `kernelproof.variant.Variant` that it computes.
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
