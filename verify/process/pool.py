"""A pool of supervised child processes: jobs wait for the next one that is free, and each ends in a future.

One thread deals the jobs and looks after the processes, so that they are watched whatever the caller is doing.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from multiprocessing import Pipe
from multiprocessing.connection import wait
from threading import Lock, Thread
from typing import Any

from kernelproof.verify.process.blame import Doing, End, Ended, Step
from kernelproof.verify.process.child import WATCH, Child
from kernelproof.verify.process.service import Done, Raised, Work
from kernelproof.verify.process.tree import end_all


class Job(Future[Any]):
    """The future answer to `work`; it raises what the work raised, or `Ended` if the process ended first.

    Attributes:
        work: what is to be done.
        step: the last step that the process announced.
        told: the records that the work has told, also if the process ended.
        trace: the traceback of what the work raised, or "".
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.step = Step(Doing.STARTING)
        self.told: list[tuple[Any, ...]] = []
        self.trace = ""

    def settle(self, said: Done | Raised | End, child: Child) -> None:
        """Take what has come of the work."""
        self.step, self.told = child.step, child.told
        if isinstance(said, Done):
            self.set_result(said.answer)
        elif isinstance(said, Raised):
            self.trace = said.trace
            self.set_exception(said.exception)
        else:
            self.set_exception(Ended(said))


class Pool:
    """`count` child processes, which start with the first job.

    Args:
        count: how many.
        preparation: the first work of each of them.
    """

    def __init__(self, count: int, preparation: Work) -> None:
        self._children = [Child(preparation) for _ in range(count)]
        self._waiting: deque[Job] = deque()
        self._doing: dict[Child, Job] = {}
        self._lock = Lock()
        self._stopped = False
        self._error: BaseException | None = None
        self._ear, self._bell = Pipe(duplex=False)
        self._thread: Thread | None = None

    def submit(self, work: Work) -> Job:
        """The future answer to `work`."""
        job = Job(work)
        with self._lock:
            if self._error is not None:
                job.set_exception(self._error)
                return job
            self._waiting.append(job)
        if self._thread is None:
            self._thread = Thread(target=self._supervise, name="kernelproof pool", daemon=True)
            self._thread.start()
        self._bell.send_bytes(b"\0")
        return job

    def stop(self) -> None:
        """Kill the processes; jobs that are not done are cancelled. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread is not None:
            self._bell.send_bytes(b"\0")
            self._thread.join()
        for child, job in self._doing.items():
            # What was told before is not lost with the process.
            if not job.done():
                child.read()
                job.step, job.told = child.step, child.told
        end_all((child.pid for child in self._children if child.alive), reap=False)
        for child in self._children:
            child.stop()
        for job in (*self._doing.values(), *self._waiting):
            job.cancel()
        self._ear.close()
        self._bell.close()

    def _supervise(self) -> None:
        try:
            for child in self._children:
                child.start()
            while not self._stopped:
                self._deal()
                handles = [handle for child in self._children if child.busy for handle in child.handles]
                if self._ear in wait([self._ear, *handles], WATCH):
                    self._ear.recv_bytes()
                self._look()
        except BaseException as error:  # noqa: BLE001 (whoever waits for a job must hear of it)
            with self._lock:
                self._error = error
            for job in (*self._doing.values(), *self._waiting):
                job.set_exception(error)

    def _deal(self) -> None:
        """Give waiting jobs to idle processes."""
        for child in self._children:
            if not self._waiting:
                return
            if child.busy:
                continue
            if not child.alive:
                # It ended before; its preparation comes first again.
                child.start()
                continue
            job = self._waiting.popleft()
            self._doing[child] = job
            try:
                child.give(job.work)
            except Exception as error:  # noqa: BLE001 (work that cannot be pickled)
                del self._doing[child]
                job.set_exception(error)

    def _look(self) -> None:
        """See what has come of the work of every busy process."""
        for child in self._children:
            said = child.look() if child.busy else None
            if said is None:
                continue
            job = self._doing.pop(child, None)
            if job is None and not isinstance(said, Done):
                # The preparation failed: that is the answer to whoever waits, or it would be tried without end.
                job = self._waiting.popleft() if self._waiting else None
                child.stop()
            if job is not None:
                job.settle(said, child)
