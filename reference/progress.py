"""Progress of a run: a bar on a terminal, plain lines in a pipe, nothing unless requested."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from kernelproof.reference.plain_text import clean


class Progress:
    """A counter on standard error.

    Args:
        total: how many items there will be.
        shown: whether to print anything at all.
        noun: what is counted, in the plural.
        verb: what is being done, such as "verifying".
        after: seconds of work before anything is printed.
    """

    def __init__(
        self, total: int, *, shown: bool, noun: str = "cases", verb: str = "verifying", after: float = 0.0
    ) -> None:
        self.total, self.done, self.shown = total, 0, shown
        self.noun, self.verb = noun, verb
        self.bar: Any = None
        self.task: Any = None
        self.tenth = 0
        self.started = time.monotonic()
        self.after = after

    def __enter__(self) -> Self:
        if not self.after:
            self._start()
        return self

    def _start(self) -> None:
        if self.shown and self.bar is None and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 (only a terminal needs rich)
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
            from rich.progress import Progress as Bar  # noqa: PLC0415

            columns = (
                TextColumn(self.verb),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self.noun),
                TimeElapsedColumn(),
            )
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.verb, total=self.total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int) -> None:
        """Count `count` more items as done."""
        self.done += count
        if self.after:
            if time.monotonic() - self.started < self.after:
                return
            self._start()
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done)
        elif self.shown and self.total and 10 * self.done // self.total > self.tenth:
            self.tenth = 10 * self.done // self.total
            self.say(f"{self.done} of {self.total} {self.noun}, {time.monotonic() - self.started:.0f} s")

    def say(self, line: str) -> None:
        """Print one line to the user."""
        if self.bar is not None:
            self.bar.console.print(clean(line), highlight=False, markup=False)
        elif self.shown:
            print(f"kernelproof: {clean(line)}", file=sys.stderr, flush=True)  # noqa: T201 (progress is output)
