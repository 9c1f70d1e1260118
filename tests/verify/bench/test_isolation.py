"""Calls in a process of their own: their peak, and every way of not coming back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernelproof.verify.bench.isolation import Failed, peak_of

MEBI = 1 << 20
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is told on Linux only")


def use(size: int) -> Any:
    return np.ones(size, np.uint8)


def prepared(before: int, size: int) -> Callable[[], Any]:
    """A call that needs `size` bytes; making it needs `before`."""
    use(before)
    return partial(use, size)


def ended(code: int) -> Callable[[], Any]:
    return partial(os._exit, code)


def asleep() -> Callable[[], Any]:
    return partial(time.sleep, 60)


def broken() -> Callable[[], Any]:
    msg = "not today\nnor tomorrow"
    raise ValueError(msg)


@on_linux
def test_the_peak_is_that_of_the_call_alone() -> None:
    found = peak_of(partial(prepared, 200 * MEBI, 50 * MEBI), 60.0, 1 << 30)
    assert found is not None
    # The pages of the array itself, and at most a few of the interpreter's besides.
    assert 50 * MEBI <= found <= 55 * MEBI


@on_linux
def test_memory_is_limited() -> None:
    with pytest.raises(Failed, match=r"^it needs more than 0\.0625 GiB beyond its inputs$"):
        peak_of(partial(prepared, 0, 200 * MEBI), 60.0, 64 * MEBI)


def test_time_is_limited() -> None:
    started = time.monotonic()
    with pytest.raises(Failed, match="no answer in 2 s"):
        peak_of(asleep, 2.0, 1 << 30)
    assert time.monotonic() - started < 30


def test_a_process_that_ends_is_told() -> None:
    with pytest.raises(Failed, match="exit code 7"):
        peak_of(partial(ended, 7), 60.0, 1 << 30)


def test_an_exception_is_one_line() -> None:
    with pytest.raises(Failed, match=r"^ValueError: not today$"):
        peak_of(broken, 60.0, 1 << 30)
