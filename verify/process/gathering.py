"""Gathering: the results of named work in child processes, as they come; what a lost process had is done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from kernelproof.reference.errors import ResourceError
from kernelproof.verify.process.blame import Ended
from kernelproof.verify.process.refusals import refusal

SPARE = 3
"""How many processes may be lost before the rest is given up: the system may end one that takes too much memory."""


def gather(starts: Mapping[str, Callable[[], Future[Any]]], found: dict[str, Any], done: Callable[[str], None]) -> None:
    """Start all work, and put each result into `found` under its name; what came before an error stays there.

    Args:
        starts: a function for each name that starts the work, for the first time or again.
        found: where the results go.
        done: called with the name of each result.

    Raises:
        ResourceError: more processes than `SPARE` ended before they had finished their work, or the system refused one
            what it needs.
    """
    jobs = {start(): name for name, start in starts.items()}
    lost = 0
    while jobs:
        ready, _ = wait(jobs, return_when=FIRST_COMPLETED)
        for job in sorted(ready, key=lambda each: jobs[each]):
            name = jobs.pop(job)
            try:
                found[name] = job.result()
            except Ended as error:
                lost += 1
                if lost > SPARE:
                    msg = f"{lost} processes of ours ended before they were finished, the last at {name!r}: {error}"
                    raise ResourceError(msg) from None
                jobs[starts[name]()] = name
            except Exception as error:
                refused = refusal(error)
                if refused is None:
                    raise
                raise ResourceError(refused) from None
            else:
                done(name)
