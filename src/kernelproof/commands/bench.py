"""What the command ``kernelproof bench`` does, from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kernelproof.reference.errors import DomainError
from kernelproof.reports import bench as reports
from kernelproof.verify.bench.bench_record import BenchResults
from kernelproof.verify.bench.runner import annotated, chosen, names_of
from kernelproof.verify.bench.runner import bench as measure


def bench(
    *,
    only: str | Sequence[str] | None = None,
    quick: bool = False,
    out: str | Path | None = None,
    readme: str | Path | None = None,
    kept: str | Path | None = None,
    done: Callable[[str], None] = lambda _: None,
) -> BenchResults:
    """Measure every figure beside its rival, or read a kept run, and write the reports.

    Args:
        only: beginnings of names, such as ``"truth"`` or ``"entmax_softmax/low-float32"``; None means all.
        quick: small inputs and few rounds: to try the benchmarks, not to judge by them.
        out: folder for the reports; None writes nothing.
        readme: a file whose table between the markers is written anew; None: no such file.
        kept: a bench.json, or a folder with one, to report on instead of measuring, with the notes as they are now.
        done: hears the name of everything that was measured.

    Raises:
        DomainError: an argument is not one of what is allowed; the message says what is.
    """
    if kept is not None and (only is not None or quick):
        msg = f"a kept run is reported as it is; got only={only!r} and quick={quick!r} with it"
        raise DomainError(msg)
    if readme is not None and (only is not None or quick):
        msg = f"the table of a README comes from a whole run; got only={only!r} and quick={quick!r}"
        raise DomainError(msg)
    if out is not None:
        reports.check_writable(Path(out))
    results = measure(only=parts(only), quick=quick, done=done) if kept is None else annotated(reports.read(Path(kept)))
    if out is not None:
        reports.write(results, Path(out))
    if readme is not None:
        from kernelproof.reports.bench.readme import update  # noqa: PLC0415 (few need it)

        update(Path(readme), results)
    return results


def parts(only: str | Sequence[str] | None) -> list[str] | None:
    """A text with commas as a list."""
    return [part.strip() for part in only.split(",")] if isinstance(only, str) else None if only is None else list(only)


def names(only: str | Sequence[str] | None = None) -> list[str]:
    """What there is to measure.

    Raises:
        DomainError: `only` names nothing.
    """
    return [name for family in chosen(parts(only)) for name in names_of(family)]
