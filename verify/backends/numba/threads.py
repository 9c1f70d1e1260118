"""Python threads for tiles, each with single-threaded BLAS.

BLAS and Numba keep pools of threads that spin for a while after each call; if both use all cores in turn, each waits
for the other pool to yield. Tiles therefore run in Python threads, and BLAS is limited to the calling thread.
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
    """Limit BLAS to the calling thread; the last user to leave restores the previous limit."""
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
    """Apply `function` to all jobs on `threads` threads, the calling one if 1; results are in the order of the jobs."""
    if threads == 1 or len(jobs) == 1:
        return [function(job) for job in jobs]
    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, jobs))
