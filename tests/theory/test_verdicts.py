"""The verdict of a claim follows from those of its checks, and nothing that went wrong looks like a pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelproof.reference.errors import ClaimError, DomainError
from kernelproof.theory import discovery
from kernelproof.theory.claim import Assumption, Claim, ClaimCheck, Kind, Role, Settings
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict
from kernelproof.theory.runner import judge_all
from kernelproof.theory.verdicts import combine, judge

PROVED = Finding(
    evidence=Evidence.SYMBOLIC, relation=Relation.EQUALITY, verdict=Verdict.PROVED, domain="all", decided=1
)
CONSISTENT = Finding(
    evidence=Evidence.SAMPLED,
    relation=Relation.EQUALITY,
    verdict=Verdict.CONSISTENT,
    domain="some",
    decided=9,
    width=0.0,
)
REFUTED = CONSISTENT.model_copy(update={"verdict": Verdict.REFUTED, "witness": "x = 1"})
UNDECIDED = CONSISTENT.model_copy(update={"verdict": Verdict.UNDECIDED, "decided": 0, "undecided": 1})


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([(Role.PROOF, PROVED)], Verdict.PROVED),
        ([(Role.PROOF, PROVED), (Role.SUPPORT, CONSISTENT)], Verdict.PROVED),
        ([(Role.SUPPORT, PROVED)], Verdict.CONSISTENT),
        ([(Role.PROOF, PROVED), (Role.PROOF, CONSISTENT)], Verdict.CONSISTENT),
        ([(Role.PROOF, PROVED), (Role.PROOF, None)], Verdict.CONSISTENT),
        ([(Role.PROOF, PROVED), (Role.SUPPORT, UNDECIDED)], Verdict.UNDECIDED),
        ([(Role.PROOF, PROVED), (Role.SUPPORT, REFUTED), (Role.SUPPORT, UNDECIDED)], Verdict.REFUTED),
        ([(Role.REFEREE, None)], Verdict.UNDECIDED),
        ([], Verdict.UNDECIDED),
    ],
)
def test_the_verdict_of_a_claim(found: list[tuple[Role, Finding | None]], verdict: Verdict) -> None:
    assert combine(found) is verdict


def claim(run: Callable[[Settings], Any], **given: Any) -> Claim:
    check = ClaimCheck("only", "something", Role.PROOF, run, **given)
    return Claim("mine", "Mine", "$x = x$", "ours", Kind.THEOREM, (check,), assumptions=(Assumption("a", "$x$"),))


def test_a_check_that_raises_is_an_error_that_names_it() -> None:
    def broken(_: Settings) -> Finding:
        msg = "by nothing"
        raise ZeroDivisionError(msg)

    with pytest.raises(ClaimError, match="claim 'mine', check 'only' raised ZeroDivisionError: by nothing"):
        judge(claim(broken))


def test_a_check_that_overclaims_is_an_error() -> None:
    def bold(_: Settings) -> Finding:
        return Finding(
            evidence=Evidence.SAMPLED, relation=Relation.EQUALITY, verdict=Verdict.PROVED, domain="", decided=3
        )

    with pytest.raises(ClaimError, match="samples prove nothing"):
        judge(claim(bold))


@pytest.mark.parametrize("returned", [None, True, "PROVED"])
def test_a_check_that_returns_no_finding_is_an_error(returned: object) -> None:
    with pytest.raises(ClaimError, match="must return a Finding"):
        judge(claim(lambda _: returned))


def test_a_check_that_leaves_the_program_does_not_pass() -> None:
    def leaving(_: Settings) -> Finding:
        raise SystemExit(0)

    with pytest.raises(ClaimError, match="raised SystemExit"):
        judge(claim(leaving))


def test_a_copy_that_overclaims_is_an_error() -> None:
    bold = CONSISTENT.model_copy(update={"verdict": Verdict.PROVED})
    with pytest.raises(ClaimError, match="samples prove nothing"):
        judge(claim(lambda _: bold))


def test_a_module_in_a_package_that_is_not_there_is_missing() -> None:
    found = judge(claim(lambda _: PROVED, needs=(("no_such_package.part", "it"),)))
    assert found.checks[0].unavailable is not None


def test_what_is_missing_is_said_and_decides_nothing() -> None:
    found = judge(claim(lambda _: PROVED, needs=(("no_such_module", "kernelproof[peers]"),)))
    assert found.verdict is Verdict.UNDECIDED
    assert found.checks[0].unavailable == "needs kernelproof[peers]; pip install 'kernelproof[peers]'"


FILE = """
from kernelproof.theory.claim import ClaimCheck, Claim, Kind, Role
from kernelproof.theory.evidence import exact

CLAIM = Claim(
    "mine", "Mine", "$1 = 1$", "ours", Kind.THEOREM,
    (ClaimCheck("one", "that", Role.PROOF, lambda _: {run}{drops}),),
)
"""


def write(folder: Path, *, run: str = "", drops: str = "") -> str:
    path = folder / "mine.py"
    path.write_text(FILE.format(run=run or "exact.equal([('1', 1, 1)], domain='one')", drops=drops))
    return str(path)


def test_a_claim_in_a_file_is_judged(tmp_path: Path) -> None:
    assert judge_all([write(tmp_path)], Settings())[0].verdict is Verdict.PROVED


def test_claims_are_judged_in_processes_in_their_order(tmp_path: Path) -> None:
    names = [write(tmp_path), "normalized_relu"]
    heard: list[str] = []
    found = judge_all(names, Settings(), workers=2, done=lambda result: heard.append(result.id))
    assert [each.id for each in found] == ["mine", "normalized_relu"]
    assert sorted(heard) == ["mine", "normalized_relu"]


def test_an_error_in_a_process_comes_through(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="ZeroDivisionError"):
        judge_all([write(tmp_path, run="1 / 0"), "normalized_relu"], Settings(), workers=2)


def test_a_claim_that_drops_what_it_does_not_assume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="drops 'weather'"):
        discovery.claim(write(tmp_path, drops=", drops='weather'"))


def test_unknown_names_and_files_are_told() -> None:
    with pytest.raises(DomainError, match="no claim 'sofmax'; known: "):
        discovery.claim("sofmax")
    with pytest.raises(DomainError, match="no Python file"):
        discovery.claim("no/such/file.py")


def test_a_file_without_a_claim_or_that_breaks_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("CLAIM = 3\n")
    with pytest.raises(ClaimError, match="must hold a Claim; got 3"):
        discovery.claim(str(tmp_path / "empty.py"))
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')\n")
    with pytest.raises(ClaimError, match="does not import: RuntimeError: no"):
        discovery.claim(str(tmp_path / "broken.py"))
