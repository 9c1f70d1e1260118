"""What `verify` prints at the end: each target, and what to look at first."""

from __future__ import annotations

from kernelproof.commands.tables import show
from kernelproof.commands.terminal import say
from kernelproof.verify.checks import headline
from kernelproof.verify.record.schema import Results, Target


def summarize(results: Results) -> None:
    """Print a short summary: each target, and what to look at first."""
    rows = []
    for target in results.targets:
        worst = max((row.kappa_max for row in target.accuracy), default=None)
        failed = [check.id for check in target.checks if check.verdict in {"FAIL", "CRASH", "UNDECIDED"}]
        failed += [f"{check.id} ({check.verdict})" for check in target.checks if check.verdict in {"XFAIL", "XPASS"}]
        failed += [f"no {check.id}" for check in target.checks if check.verdict == "UNSUPPORTED"]
        decided = sum(check.decided for check in target.checks)
        rows.append(
            (
                target.name,
                target.device,
                f"{target.grade} ({_asked(target)} {target.promised})" if target.verdict != "UNAVAILABLE" else "-",
                target.verdict.value,
                "-" if worst is None else f"{worst:.3g}",
                f"{decided:,}",
                ", ".join(failed) or target.note or "-",
            )
        )
    show(("target", "device", "grade", "verdict", "worst κ", "comparisons", "look at"), rows)
    for target in results.targets:
        bad = {check.id: check.worst for check in target.checks if check.verdict in {"FAIL", "CRASH"} and check.worst}
        if bad:
            first = headline(bad)
            say(f"\n{target.name}, {first}: {bad[first].message}\n  {bad[first].reproduce}")
        if bad and target.note:
            # The note says what the target was not given, or what its declaration may lack.
            say(f"  note: {target.note}")
    for target in results.targets:
        said = [f"{each.covered:,} of {each.possible:,} ({each.op}, {each.of})" for each in target.pairs]
        if said:
            say(f"{target.name}: pairs covered {'; '.join(said)}")
    for line in results.skipped:
        say(f"skipped: {line}")
    known = [(target.name, check) for target in results.targets for check in target.checks if check.reasons]
    for name, check in known:
        came = "expected and passed" if check.verdict == "XPASS" else "expected"
        say(f"{came}: {name}, {check.id}: {'; '.join(check.reasons)}")


def _asked(target: Target) -> str:
    """Whether the required grade is promised by the target, or the default for a target that promises none."""
    return "default" if target.by_default else "promised"
