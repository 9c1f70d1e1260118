"""The Python function behind the command ``kernelproof bench``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kernelproof.reference.errors import DomainError
from kernelproof.reports import bench as reports
from kernelproof.reports.folder import keep
from kernelproof.verify.bench.bench_record import BenchResults
from kernelproof.verify.bench.runner import annotated, chosen, names_of
from kernelproof.verify.bench.runner import bench as measure
from kernelproof.verify.process import interruption
from kernelproof.verify.process.interruption import Interrupted


def bench(
    *,
    only: str | Sequence[str] | None = None,
    quick: bool = False,
    out: str | Path | None = None,
    readme: str | Path | None = None,
    kept: str | Path | None = None,
    done: Callable[[str], None] = lambda _: None,
) -> BenchResults:
    """Measure every figure and its rival, or read a stored run, and write the reports.

    Args:
        only: prefixes of names, such as ``"truth"`` or ``"entmax_softmax/low-float32"``; None means all.
        quick: use small inputs and few rounds: to try the benchmarks, not to judge by them.
        out: folder for the reports; None writes nothing.
        readme: a file in which to replace the table between the markers; None replaces nothing.
        kept: a bench.json, or a folder with one, to report on instead of measuring, with the current notes.
        done: called with the name of each figure and picture when it has been measured.

    Raises:
        DomainError: an argument is not allowed; the message says what is.
        NotWritten: the reports cannot be written; the results are in the exception.
    """
    if kept is not None and (only is not None or quick):
        msg = f"a kept run is reported as it is; got only={only!r} and quick={quick!r} with it"
        raise DomainError(msg)
    if readme is not None and (only is not None or quick):
        msg = f"the table of a README comes from a whole run; got only={only!r} and quick={quick!r}"
        raise DomainError(msg)
    if out is not None:
        reports.check_writable(Path(out))
    stopped: list[Interrupted] = []
    if kept is None:
        results = measure(only=parts(only), quick=quick, done=done, stopped=stopped)
    else:
        results = annotated(reports.read(Path(kept)))
    if out is not None:
        with interruption.held():
            keep(reports.write, results, Path(out))
    if stopped:
        raise stopped[0].with_report(out)
    if readme is not None:
        from kernelproof.reports.bench.readme import update  # noqa: PLC0415 (few need it)

        update(Path(readme), results)
    return results


def parts(only: str | Sequence[str] | None) -> list[str] | None:
    """Split a text at its commas; a sequence stays as it is, and None stays None."""
    return [part.strip() for part in only.split(",")] if isinstance(only, str) else None if only is None else list(only)


def names(only: str | Sequence[str] | None = None) -> list[str]:
    """The names of all figures and pictures that can be measured, or of those that `only` selects.

    Raises:
        DomainError: a part of `only` matches nothing.
    """
    return [name for family in chosen(parts(only)) for name in names_of(family)]
