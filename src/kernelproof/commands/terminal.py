"""What the commands print: no escape sequence reaches a terminal, whatever a target, a path or an exception says."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from kernelproof.reference.errors import NotWritten

R = TypeVar("R")


def say(text: str) -> None:
    """Print `text`, cleaned, to standard output."""
    from kernelproof.reference.plain_text import clean  # noqa: PLC0415 (--help loads nothing heavy)

    typer.echo(clean(text))


def complain(message: str) -> None:
    """Print `message` to standard error, cleaned and as one line."""
    from kernelproof.reference.plain_text import one_line  # noqa: PLC0415 (as above)

    print(f"kernelproof: {one_line(message)}", file=sys.stderr)  # noqa: T201 (this is the command line)


def trace(error: Exception) -> None:
    """Print the traceback of `error`, cleaned, to standard error."""
    from kernelproof.reference.plain_text import clean  # noqa: PLC0415 (as above)

    print(clean("".join(traceback.format_exception(error))), file=sys.stderr, end="")  # noqa: T201 (as above)


def completed(run: Callable[[], R]) -> tuple[R, NotWritten | None]:
    """The results of `run`, and the error if they were found but cannot be written."""
    from kernelproof.reference.errors import NotWritten  # noqa: PLC0415 (as above)

    try:
        return run(), None
    except NotWritten as error:
        return error.results, error


def close(verdict: str, where: str, unwritten: NotWritten | None, *, passed: bool) -> NoReturn:
    """Print the last line of a command, and end it.

    Args:
        verdict: what came out.
        where: where the report is, in words that follow the verdict; "" if there is none.
        unwritten: why it could not be written.
        passed: whether the exit code is 0; otherwise it is 1.

    Raises:
        NotWritten: `unwritten`, which becomes another line and the exit code 2.
        Exit: in all other cases.
    """
    say(f"{verdict}{where}" if unwritten is None else verdict)
    if unwritten is not None:
        raise unwritten
    raise typer.Exit(0 if passed else 1)
