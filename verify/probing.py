"""What a target takes, tried on a tiny input where nobody has said it: which arrays, and which shapes of attention.

A file may import torch for something else than the function that is verified, and a function may compute on
tensors in a file that imports no torch. The first guess stands unless the target refuses it by type and takes
the other. Attention that raises for grouped heads alone, or for values of another width, does not take them.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.verify.arrays import Kind, give, picked, take
from kernelproof.verify.binding import Binding
from kernelproof.verify.case import Case
from kernelproof.verify.declaring import Declaration
from kernelproof.verify.patterns import filled, order_with
from kernelproof.verify.shapes import fitted

Part = int | str | None
"""Which part of what a function returns is its output."""
_SHAPES = {"entmax": (1, 3), "weights": (1, 3), "regression": (1, 3, 2, 2), "attention": (1, 1, 1, 3, 2, 2)}


@dataclass(frozen=True)
class _Refusal:
    """How a function shows that arrays of a kind are not what it computes on.

    Attributes:
        text: what it raised, or what it returned in the place of an array.
        returned: whether it computed, and only what it returned is of another type.
    """

    text: str
    returned: bool


def probed(
    function: Callable[..., Any], binding: Binding, guess: Kind, dtype: str, output: int | str | None
) -> tuple[Kind, str]:
    """The kind of arrays that `function` takes, and what a note says of it ("" if it takes `guess`).

    Where it takes neither, one that computes on arrays of a kind and returns something else is likelier to be meant
    for them than one that raises.

    Args:
        function: called once, and again with the other kind only if it refuses the first by type.
        binding: of its parameters.
        guess: what its source suggests.
        dtype: one that it takes.
        output: which part of what it returns is the output.
    """
    first = _refusal(function, binding, guess, dtype, output)
    if first is None:
        return guess, ""
    other: Kind = "torch" if guess == "numpy" else "numpy"
    if other == "torch" and find_spec("torch") is None:
        return guess, f": {first.text}"
    second = _refusal(function, binding, other, dtype, output)
    if second is None:
        return other, f", for with the others: {first.text}"
    told = f"; with {guess} arrays: {first.text}; with {other} arrays: {second.text}"
    return (other if second.returned and not first.returned else guess), told


def _refusal(
    function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, output: int | str | None
) -> _Refusal | None:
    """How `function` shows that arrays of `kind` are not what it computes on; None if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = False
        try:
            found = _called(function, binding, kind, dtype, _SHAPES[binding.op])
            returned = True
            take(picked(found, output), kind)
        except (TypeError, AttributeError, TargetError) as error:
            return _Refusal(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}", returned)
        except BaseException:  # noqa: BLE001 (another fault than that of the type is for the checks to find)
            return None
    return None


def _called(function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, shape: tuple[int, ...]) -> Any:
    """What `function` returns for a tiny case of `shape`."""
    rule = filled(binding.rules[0] if binding.rules else "adaptive:1", 0, "3")
    case = Case(binding.op, order_with(rule), None, rule, dtype, "random", shape, "1", 0)
    arrays = {name: give(array, kind, "cpu") for name, array in case.inputs().arrays.items()}
    positional, keywords = binding.call(case, arrays, {}) or ([*arrays.values()], {})
    return function(*positional, **keywords)


_Shape = tuple[int, ...]
_EXTRAS: Mapping[str, tuple[bool, tuple[_Shape, ...], str]] = {
    "grouped_heads": (False, ((4, 2, 2, 3, 2, 2), (6, 3, 3, 5, 4, 4)), "fewer key heads than heads"),
    "equal_widths": (True, ((4, 4, 2, 3, 2, 1), (3, 3, 3, 5, 4, 2)), "values of another width than the keys"),
}
"""By field of `Shapes`: what it is where attention does not take this, shapes of cases with it, and its name."""
_BATCHES: Mapping[int, _Shape] = {3: (), 4: (2,), 5: (2, 1)}
"""Axes of q -> the axes before those of heads."""


def refused_extras(
    function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, said: Declaration
) -> Iterator[tuple[str, Any, str]]:
    """What not every kernel of attention takes and this one raises for: (field of `Shapes`, its value, a remark).

    Nothing is told of what is declared, and nothing where it raises without any of it as well.

    Args:
        function: called for a few tiny cases.
        binding: of its parameters.
        kind: the arrays that it computes on.
        dtype: one that it takes.
        said: what is declared of it.
    """

    @cache
    def refusal(shape: _Shape) -> str | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _called(function, binding, kind, dtype, fitted("attention", said.limits, shape))
            except Exception as error:  # noqa: BLE001 (whatever it raises, it says that it does not take them)
                return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"
        return None

    plain = (4, 4, 2, 3, 2, 2)
    ranks = [rank for rank, batch in _BATCHES.items() if refusal((*batch, *plain)) is None]
    if not ranks:
        return
    declared = dict(said.shapes)
    if not {"least_rank", "most_rank"} & set(declared):
        for name, rank, beyond in (
            ("least_rank", min(ranks), min(ranks) - 1),
            ("most_rank", max(ranks), max(ranks) + 1),
        ):
            if beyond in _BATCHES:
                reason = refusal((*_BATCHES[beyond], *plain))
                yield name, rank, f"not given arrays of {beyond} axes, for which it raises {reason}"
    batch = _BATCHES[min(ranks)]
    for name, (value, shapes, words) in _EXTRAS.items():
        reasons = [refusal((*batch, *shape)) for shape in shapes]
        # One that takes some of them has to take all.
        if name not in declared and all(reason is not None for reason in reasons):
            yield name, value, f"not given {words}, for which it raises {reasons[0]}"


@contextmanager
def watchdog(seconds: float | None, memory: int) -> Iterator[None]:
    """End the process if what is inside takes longer, whatever it holds; None: no limit.

    It may take `memory` bytes of data more than the process holds, where the system can limit that.
    """
    if seconds is None:
        yield
        return
    with _memory(memory), _time(seconds):
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    with open(os.devnull, "w", encoding="ascii") as sink:  # noqa: PTH123 (os.devnull is no place of the file system)
        faulthandler.dump_traceback_later(seconds, exit=True, file=sink)
        process = os.getpid()
        try:
            yield
        finally:
            # A child that the call forked has no such thread: cancelling would wait for it without end.
            if os.getpid() == process:
                faulthandler.cancel_dump_traceback_later()


@contextmanager
def _memory(more: int) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    resource = import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held_bytes() + more
    # Only the soft limit: the process is limited anew when it takes its first case.
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if before[1] < 0 else min(wanted, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def held_bytes() -> int:
    """The bytes of data that this process holds, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData")), 0)


@dataclass
class _Data:
    """The limits of the data segment of a worker: `wanted` in calls, `most` for truth and judgements as well."""

    wanted: int = 0
    most: int = 0
    base: int = 0


_DATA = _Data()
RESERVE = 2 * 2**30
"""Bytes that our own code may take beyond what targets may, so that what they hold is no fault of ours."""


def limit_data(more: int) -> None:
    """From now on calls may hold `more` bytes of data beyond what this process holds."""
    resource = import_module("resource")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    _DATA.base = held_bytes()
    wanted, most = _DATA.base + more, _DATA.base + more + RESERVE
    _DATA.wanted, _DATA.most = (wanted, most) if hard < 0 else (min(wanted, hard), min(most, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA.most, _DATA.most))


@contextmanager
def data_limited() -> Iterator[None]:
    """What is inside may hold what `limit_data` allows; nothing where that was not called."""
    if not _DATA.wanted:
        yield
        return
    resource = import_module("resource")
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA.wanted, _DATA.most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (_DATA.most, _DATA.most))


def exhausted() -> bool:
    """Whether targets hold more than half of the data that calls of this process may hold."""
    return bool(_DATA.wanted) and held_bytes() - _DATA.base > (_DATA.wanted - _DATA.base) / 2
