"""Python threads for tiles, each with BLAS to itself.

BLAS and Numba keep pools of threads that spin for a while after each call; taken in turns on all cores, every turn
waits for the other pool to give way. So tiles run in Python threads, and BLAS is told to use the one that calls it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOCK = threading.Lock()
_LIMITS: list[ExitStack] = []
_USERS: list[int] = []


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS uses the calling thread alone; what was set before is set again when the last user leaves."""
    with _LOCK:
        if not _USERS:
            _LIMITS.append(ExitStack())
            _LIMITS[0].enter_context(_controller().limit(limits=1, user_api="blas"))
        _USERS.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _USERS.pop()
            if not _USERS:
                _LIMITS.pop().close()


def each(function: Callable[[Job], Result], jobs: Sequence[Job], threads: int) -> list[Result]:
    """The results of `function` for all jobs, in their order, on so many threads; one runs them here."""
    if threads == 1 or len(jobs) == 1:
        return [function(job) for job in jobs]
    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, jobs))
