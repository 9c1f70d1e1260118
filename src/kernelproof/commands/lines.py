"""The command lines of ``fuzz`` and ``worst-case``, and the target options that command lines share.

Commands import everything heavy in their bodies, for a quick ``--help``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from kernelproof.commands.terminal import close, completed, say
from kernelproof.options import TargetOptions

Target = Annotated[str | None, typer.Argument(help="A backend, a peer, file.py:object or package.module:object.")]
Execute = Annotated[
    str | None, typer.Option("--exec", metavar="'PROGRAM ...'", help="A program instead, which speaks JSON lines.")
]
Time = Annotated[str | None, typer.Option("--time", help="How long, such as 90s, 5m or 1h; default: 60s.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn.")]

TARGET_OPTIONS: dict[str, Any] = {
    "op": typer.Option(help="Some of: entmax,weights,regression,attention; default: those the target has."),
    "order": typer.Option(help="Orders in (-inf, inf], such as -2,1/2,1,inf."),
    "alpha": typer.Option(help="Values of alpha in (0, inf] instead; for entmax."),
    "dtype": typer.Option(
        help="Some of: float64,float32,float16,bfloat16,float8_e4m3fn,float8_e5m2; default: those the target takes."
    ),
    "device": typer.Option(help="cpu or cuda, or all for verify; default: what is here."),
    "call": typer.Option(metavar="'f(z, dim=-1)'", help="How the one target is called."),
    "output": typer.Option(help="Which item of what it returns is the output."),
    "array_library": typer.Option(help="Whose arrays it computes on: numpy, torch, jax or cupy."),
    "contract": typer.Option(metavar="FILE.toml", help="What it promises and takes."),
    "variant": typer.Option(metavar="FILE.py:OBJECT", help="The variant of your own that it computes."),
}
"""The command-line form of each of `TargetOptions`."""


def with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the ``**options`` of `command` by `TARGET_OPTIONS`, placed before its keyword-only parameters."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
        for name, option in TARGET_OPTIONS.items()
    ]
    last = [each for each in own if each.kind is inspect.Parameter.KEYWORD_ONLY]
    parameters = [*(each for each in own if each not in last), *shared, *last]
    # typer reads both the signature and the annotations.
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


KEPT = Path(".kernelproof/examples")
"""Where `fuzz` keeps witnesses, unless told. With --examples it does not try them: a second run would find others."""
SHOWN = 150
"""The longest script, in lines, to print on a terminal; a witness that could not be shrunk may have thousands."""


@with_target_options
def fuzz(
    target: Target = None,
    execute: Execute = None,
    *,
    time: Time = None,
    examples: Annotated[int | None, typer.Option(help="How many recipes to judge, instead of a time.")] = None,
    seed: Seed = 0,
    database: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of witnesses, which are tried first; default: {KEPT}, tried first unless --examples."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "--report", help="Folder for fuzz.json, a page and Markdown.")] = Path(
        "kernelproof-fuzz"
    ),
    **options: Unpack[TargetOptions],
) -> None:
    """Search for inputs on which a target fails. Exit code 0: none found; 1: found; 2: bad usage; 130: interrupted."""
    from kernelproof.commands.fuzz import fuzz as search  # noqa: PLC0415 (only when the command runs)
    from kernelproof.commands.spans import seconds_of  # noqa: PLC0415 (as above)

    results, unwritten = completed(
        lambda: search(
            _one(target, execute),
            seconds=None if time is None else seconds_of(time),
            examples=examples,
            seed=seed,
            out=out,
            database=database or KEPT,
            replay=database is not None or examples is None,
            progress=True,
            **options,
        )
    )
    for finding in results.findings:
        say(f"\n{finding.op}, {finding.check} ({finding.kind}): {finding.message}")
        lines = finding.script.count("\n")
        long = f"  its script has {lines:,} lines, and is in {out / 'index.html'}; the case: {finding.small_recipe}"
        whole = 0 < lines <= SHOWN or (lines and unwritten is not None)
        say(finding.script if whole else long if lines else f"  {finding.small_recipe}")
    for note in results.notes:
        say(f"note: {note}")
    rate = f"{results.rows:,} rows in {results.examples:,} examples, {results.rows_per_second:,.0f} a second and core"
    count = len(results.findings)
    verdict = "nothing found" if results.passed else f"{count} found" if count else "nothing decided"
    close(
        f"{verdict} in {results.seconds:.0f} s ({rate})",
        f"; the report is {out / 'index.html'}",
        unwritten,
        passed=results.passed,
    )


@with_target_options
def worst_case(
    target: Target = None,
    execute: Execute = None,
    *,
    time: Annotated[
        str | None,
        typer.Option("--time", help="How long, such as 90s, 5m or 1h; default: 1s a line, 60s to 2m unless --whole."),
    ] = None,
    blocks: Annotated[int | None, typer.Option(help="Blocks of rows for each line, instead of a time.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Every order and dtype, not only the usual ones.")] = False,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for worst-case.json, a page and Markdown.")] = Path(
        "kernelproof-worst-case"
    ),
    **options: Unpack[TargetOptions],
) -> None:
    """Search for the largest errors of each op, order and dtype.

    Exit code 0: within the grade; 1: not; 2: bad usage; 130: interrupted.
    """
    from kernelproof.commands.spans import seconds_of  # noqa: PLC0415 (only when the command runs)
    from kernelproof.commands.tables import show  # noqa: PLC0415 (as above)
    from kernelproof.commands.worst_case import worst_case as search  # noqa: PLC0415 (as above)
    from kernelproof.reports.overview import overview  # noqa: PLC0415 (as above)

    results, unwritten = completed(
        lambda: search(
            _one(target, execute),
            seconds=None if time is None else seconds_of(time),
            blocks=blocks,
            seed=seed,
            whole=whole,
            out=out,
            progress=True,
            **options,
        )
    )
    seen = overview(results)
    show(seen.head, [tuple(line) for line in seen.lines])
    for note in seen.notes:
        say(note)
    verdict = "within" if results.passed else "NOT within"
    said = f"{results.rows:,} rows in {results.seconds:.0f} s, {verdict} the promised grade {results.promised}"
    close(said, f"; the report is {out / 'index.html'}", unwritten, passed=results.passed)


def _one(target: str | None, program: str | None) -> str:
    """The text that names the target.

    Raises:
        BadParameter: there is none, or there are two.
    """
    if (target is None) == (program is None):
        given = [each for each in (target, program) if each is not None]
        raise typer.BadParameter(f"say one target, or a program with --exec; got {given!r}")  # noqa: EM102 (as usage)
    return target if target is not None else f"exec:{program}"
