"""The command line. Commands import everything heavy in their bodies, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from kernelproof.commands import lines
from kernelproof.commands.terminal import close, complain, completed, say, trace
from kernelproof.options import TargetOptions

DEFAULT_OUT = Path("kernelproof-report")
OK, FAILED, USAGE, OURS = range(4)

app = typer.Typer(
    name="kernelproof",
    help="Certified ground truth for sparse attention, held against every implementation.",
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _folder(text: str) -> Path:
    """Parse the name of a folder; reject an empty text, such as that of a variable that is not set."""
    if not str(text).strip():
        raise typer.BadParameter(f"a folder must have a name; got {text!r}")  # noqa: EM102 (typer adds which option)
    return Path(text)


def _show_version(wanted: bool) -> None:
    if wanted:
        from kernelproof import __version__  # noqa: PLC0415

        say(f"kernelproof {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Certified ground truth for sparse attention, held against every implementation."""


@app.command()
@lines.with_target_options
def verify(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="A backend, file.py:object or package.module:object; none means all built-in backends.",
        ),
    ] = None,
    execute: Annotated[
        list[str] | None, typer.Option("--exec", metavar="'PROGRAM ...'", help="A program, which speaks JSON lines.")
    ] = None,
    *,
    suite: Annotated[
        str, typer.Option(help="quick, standard or exhaustive; large: batches of 67 million scores.")
    ] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of every case.")] = 0,
    case: Annotated[str | None, typer.Option(help="Run this one case, as a report prints it.")] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep truths, and read those that are kept.")
    ] = True,
    xfail: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Failures that are known, with reasons, as TOML.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(help="Time for the calls of a case, such as 10m; default: 60s, 5m for kernels on a GPU."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=_folder,
            metavar="FOLDER",
            help=f"Folder for the reports; default: {DEFAULT_OUT}, with --case none.",
        ),
    ] = None,
    **options: Unpack[TargetOptions],
) -> None:
    """Hold targets against the certified truth.

    Exit code 0: all passed; 1: something failed; 2: bad usage; 130: interrupted.
    """
    from kernelproof import api  # noqa: PLC0415
    from kernelproof.commands.spans import seconds_of  # noqa: PLC0415
    from kernelproof.commands.summary import summarize  # noqa: PLC0415

    # A report gives a line with --case for each failure: that must not overwrite the report.
    folder = DEFAULT_OUT if out is None and case is None else out
    results, unwritten = completed(
        lambda: api.verify(
            *(targets or ()),
            *(f"exec:{command}" for command in execute or ()),
            suite=suite,
            seed=seed,
            case=case,
            cache=cache,
            xfail=xfail,
            timeout=None if timeout is None else seconds_of(timeout),
            out=folder,
            progress=True,
            **options,
        )
    )
    summarize(results)
    verdict = f"{'passed' if results.passed else 'FAILED'} in {results.seconds:.0f} s"
    where = "" if folder is None else f"; the report is {folder / 'index.html'}"
    close(verdict, where, unwritten, passed=results.passed)


app.command()(lines.fuzz)
app.command()(lines.worst_case)


@app.command()
def theory(
    claim: Annotated[
        str | None, typer.Option(metavar="SLUG,...", help="Some claims, or a file with an object CLAIM; default: all.")
    ] = None,
    precision: Annotated[int, typer.Option(help="Bits of the enclosures.")] = 192,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn.")] = 0,
    search: Annotated[str | None, typer.Option(metavar="CLAIM", help="Search an open question for --time.")] = None,
    time: Annotated[str, typer.Option(help="How long to search, such as 90s, 5m or 1h.")] = "60s",
    out: Annotated[Path, typer.Option(parser=_folder, metavar="FOLDER", help="Folder for the reports.")] = Path(
        "kernelproof-theory"
    ),
) -> None:
    """Judge the claims of the theory.

    A theorem passes if it is PROVED, or DERIVED: every step is proved, and an argument in words joins them. Exit code
    0: all passed; 1: one did not; 2: bad usage; 130: interrupted.
    """
    from kernelproof.commands.spans import seconds_of  # noqa: PLC0415
    from kernelproof.commands.tables import show  # noqa: PLC0415
    from kernelproof.commands.theory import theory as judge  # noqa: PLC0415
    from kernelproof.commands.theory import wanted  # noqa: PLC0415
    from kernelproof.reference.progress import Progress  # noqa: PLC0415
    from kernelproof.reports.theory import words  # noqa: PLC0415

    names = () if search else wanted(claim)
    with Progress(len(names) or 1, shown=True, noun="claims", verb="judging") as shown:
        results, unwritten = completed(
            lambda: judge(
                claim=names or claim,
                precision=precision,
                seed=seed,
                search=search,
                seconds=seconds_of(time),
                out=out,
                done=lambda _: shown.advance(1),
            )
        )
    rows = [
        (each.label, each.id, each.title, each.verdict.value, ", ".join(kind.value for kind in each.evidence))
        for each in results.claims
    ]
    show(("", "claim", "", "verdict", "evidence"), rows)
    for each in results.claims:
        for check in each.checks:
            if check.finding is not None and not check.finding.verdict.passes:
                say(f"\n{each.id}, {check.id}: {check.finding.witness or check.finding.detail}")
            elif check.finding is None:
                say(f"skipped: {each.id}, {check.id} {check.unavailable}")
        if not each.passes and each.reason:
            say(f"\n{each.id} is {each.verdict.value}: {each.reason}")
    say(words.lede(results))
    verdict = f"{'passed' if results.passed else 'FAILED'} in {results.seconds:.0f} s"
    close(verdict, f"; the report is {out / 'index.html'}", unwritten, passed=results.passed)


@app.command()
def converge(
    what: Annotated[str | None, typer.Option(help="Some studies and pictures; default: all.")] = None,
    orders: Annotated[str | None, typer.Option(help="Exact orders, such as 1/2,1,64; default: 1/2 to 2^40.")] = None,
    backend: Annotated[str | None, typer.Option(help="Some built-in backends; default: all.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Another target on the same plot; may be repeated.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Some dtypes, for the study of backends.")] = None,
    style: Annotated[str, typer.Option(help="single-column, double-column or slides.")] = "single-column",
    venue: Annotated[str, typer.Option(help="neurips, icml or jmlr: whose widths.")] = "icml",
    seed: Annotated[int, typer.Option(help="Seed of everything drawn.")] = 0,
    out: Annotated[Path, typer.Option(parser=_folder, metavar="FOLDER", help="Folder for the figures.")] = Path(
        "kernelproof-converge"
    ),
) -> None:
    """Measure the limit n → ∞ and write the figures of a paper.

    Exit code 0: every curve is as proved, and every backend right at every order; 1: one is not, or gave no answer;
    2: bad usage; 130: interrupted.
    """
    from kernelproof.commands.converge import converge as measure  # noqa: PLC0415
    from kernelproof.commands.converge import wanted  # noqa: PLC0415
    from kernelproof.commands.tables import show  # noqa: PLC0415
    from kernelproof.reference.plain_text import one_line  # noqa: PLC0415
    from kernelproof.reference.progress import Progress  # noqa: PLC0415

    # Each is reported twice: when it is measured and when it is drawn.
    with Progress(2 * len(wanted(what)), shown=True, noun="steps", verb="measuring and drawing") as shown:
        results, unwritten = completed(
            lambda: measure(
                what=what,
                orders=orders,
                backends=backend,
                targets=target or (),
                dtypes=dtype,
                style=style,
                venue=venue,
                out=out,
                seed=seed,
                progress=lambda _: shown.advance(1),
            )
        )
    rows = []
    for study in results.studies:
        for curve in study.curves:
            window = curve.window
            bound = "-" if window is None else f"{float(window.relative):.3g}/n from n = {window.first}"
            slope = "-" if curve.fit is None else f"{curve.fit.slope.middle:.5f} ({curve.fit.limit})"
            rows.append((study.slug, curve.datum, curve.norm.value, bound, slope, curve.state.value))
    if rows:
        show(("study", "data", "norm", "proved distance from c·n^s", "slope (theory)", "verdict"), rows)
    if results.backends is not None:
        judged = []
        for each in results.backends.curves:
            kappa = "-" if each.kappa is None else f"{each.kappa:.3g}" + (f" at n = {each.worst}" if each.kappa else "")
            judged.append((each.label, str(len(each.judged)), kappa, each.grade, each.verdict.value))
        show(("target", "orders", "largest κ", "promised", "verdict"), judged)
    for reason in results.reasons:
        say(one_line(reason))
    where = f"; the figures are in {out}, all on {out / 'index.html'}"
    close("passed" if results.passed else "FAILED", where, unwritten, passed=results.passed)


@app.command()
def bench(
    only: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Figures whose names begin so, such as truth; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small inputs, few rounds: to try it, not to judge.")] = False,
    kept: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Report on this kept run instead of measuring.")
    ] = None,
    readme: Annotated[Path | None, typer.Option(help="A README whose table is written anew.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path("kernelproof-bench"),
) -> None:
    """Measure speed beside rivals.

    Exit code 0: all outputs agree with the truth; 1: some do not; 2: bad usage; 130: interrupted.
    """
    from kernelproof.commands import bench as command  # noqa: PLC0415
    from kernelproof.commands.tables import show  # noqa: PLC0415
    from kernelproof.reference.progress import Progress  # noqa: PLC0415
    from kernelproof.reports.bench import words  # noqa: PLC0415

    count = len(command.names(only)) if kept is None else 1
    with Progress(count, shown=True, noun="figures", verb="measuring") as shown:
        results, unwritten = completed(
            lambda: command.bench(
                only=only, quick=quick, out=out, readme=readme, kept=kept, done=lambda _: shown.advance(1)
            )
        )
    rows = [words.row(claim) for family in results.families for claim in family.claims]
    show(
        ("what", "goal", "measured", "met", ""),
        [(row.title, row.goal, row.measured, row.met, row.state.value) for row in rows],
    )
    where = f"\nThe report is {out / 'index.html'}"
    close(words.lede(results), where, unwritten, passed=not words.has_wrong(results))


@app.command()
def backends() -> None:
    """List what has a name: the built-in backends, the peers, and what installed packages registered."""
    from kernelproof.commands.tables import show  # noqa: PLC0415
    from kernelproof.verify.backends import backend_names  # noqa: PLC0415
    from kernelproof.verify.targets.declaration import declared  # noqa: PLC0415
    from kernelproof.verify.targets.loading import registered  # noqa: PLC0415
    from kernelproof.verify.targets.peers import peer_names  # noqa: PLC0415
    from kernelproof.verify.targets.target import find, load  # noqa: PLC0415

    rows: list[tuple[str, ...]] = []
    for name in backend_names():
        found, _ = load(find(name))
        reason = found.available()
        rows.append((name, reason or "available", ", ".join(found.devices()), ", ".join(found.dtypes)))
    for name in peer_names():
        found, _ = load(find(name))
        said = declared(found, name)
        cells = (", ".join(held or ()) for held in (said.devices, said.dtypes))
        rows.append((name, found.available() or "available", *cells))
    # Only name what a package registered, because importing it may do anything.
    rows += [(name, f"registered as {value}", "", "") for name, value in registered().items()]
    show(("target", "state", "devices", "dtypes"), rows)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 passed, 1 failed, 2 bad usage, 3 an error in kernelproof, 130 interrupted."""
    from kernelproof.verify.process import children  # noqa: PLC0415 (--help needs little of it)

    with children.ended_at_exit():
        code = run(arguments)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; a usage error is one line on standard error."""
    from kernelproof.verify.process import interruption  # noqa: PLC0415 (`main` was imported for its name before)

    with interruption.raised_by_signals():
        try:
            code: Any = app(args=arguments, prog_name="kernelproof", standalone_mode=False)
        except interruption.Interrupted as error:
            interruption.ignored()
            complain(str(error))
            return interruption.EXIT_CODE
        except typer.Abort:
            complain("interrupted")
            return interruption.EXIT_CODE
        except BaseException as error:
            number = interruption.came()
            if number is not None:
                # Code that was interrupted may raise anything.
                complain(str(interruption.Interrupted(number)))
                return interruption.EXIT_CODE
            if not isinstance(error, Exception):
                raise
            return _explain(error)
    return code if isinstance(code, int) else OK


def _explain(error: Exception) -> int:
    from kernelproof.reference.errors import BackendUnavailable, ClaimError, DomainError, TargetError  # noqa: PLC0415
    from kernelproof.verify.process.refusals import refusal  # noqa: PLC0415

    if hasattr(error, "format_message"):
        # A usage error of typer, whose class has no public name.
        complain(f"{str(error.format_message()).rstrip('.')}; see kernelproof --help")
        return USAGE
    if isinstance(error, DomainError | TargetError | ClaimError | BackendUnavailable):
        complain(str(error))
        return USAGE
    refused = refusal(error)
    if refused is not None:
        complain(refused)
        return USAGE
    trace(error)
    complain("this is a fault of kernelproof, not of the target; please report it")
    return OURS


if __name__ == "__main__":
    main()
