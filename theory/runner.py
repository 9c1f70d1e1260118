"""Judges many claims at once, each in a fresh interpreter of its own, so that runs do not affect each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from os import cpu_count

from kernelproof.reference.safe_path import working_folder_last
from kernelproof.theory import discovery
from kernelproof.theory.claim import Settings
from kernelproof.theory.results import ClaimResult
from kernelproof.theory.verdicts import judge


def judge_name(name: str, settings: Settings) -> ClaimResult:
    """Judge the claim called `name`.

    Raises:
        DomainError: there is no such claim.
        ClaimError: it is malformed, or one of its checks raised.
    """
    return judge(discovery.claim(name), settings)


def judge_all(
    names: Sequence[str],
    settings: Settings,
    *,
    workers: int | None = None,
    done: Callable[[ClaimResult], None] = lambda _: None,
) -> list[ClaimResult]:
    """Judge the claims called `names`, and return them in order; `done` is called with each as it finishes.

    Raises:
        DomainError: there is no such claim.
        ClaimError: one is malformed, or one of its checks raised; the others are abandoned.
    """
    count = min(workers or cpu_count() or 1, len(names))
    if count <= 1:
        found = []
        for name in names:
            found.append(judge_name(name, settings))
            done(found[-1])
        return found
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        with working_folder_last():
            # The first job starts all processes.
            jobs = {pool.submit(judge_name, name, settings): name for name in names}
        results: dict[str, ClaimResult] = {}
        try:
            for job in as_completed(jobs):
                results[jobs[job]] = job.result()
                done(results[jobs[job]])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[name] for name in names]
