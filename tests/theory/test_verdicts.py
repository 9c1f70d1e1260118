"""The verdict of a claim follows from those of its checks, and nothing that went wrong looks like a pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flint import arb
from hypothesis import strategies as st

from kernelproof.reference.errors import ClaimError, DomainError
from kernelproof.theory import discovery
from kernelproof.theory.claim import Assumption, Check, Claim, Kind, Role, Settings
from kernelproof.theory.domain import domain
from kernelproof.theory.evidence import exact, sampled, symbolic
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict, issue
from kernelproof.theory.runner import judge_all
from kernelproof.theory.statement import Statement
from kernelproof.theory.verdicts import judge

PROVED = symbolic.proves(Statement(domain(), ("1 + 1 = 2",)))
CONSISTENT = sampled.equal(st.just(1), lambda _: (arb(1), arb(1)), Settings(examples=1), domain="some", width=1e-30)
REFUTED = exact.equal([("x", 1, 2)], domain="one")
UNDECIDED = exact.equal([], domain="none")


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
    checks = tuple(
        Check(str(number), "it", role, partial(_given, finding), needs=() if finding else (("no_such_module", "it"),))
        for number, (role, finding) in enumerate(found)
    )
    stated = Statement(domain(), ("1 + 1 = 2",))
    judged = judge(Claim("it", "It", "$2 = 2$", "ours", Kind.THEOREM, checks, formal=stated))
    assert judged.verdict is verdict
    assert judged.passes is (verdict is Verdict.PROVED)


def _given(finding: Finding | None, _: Settings) -> Finding:
    assert finding is not None
    return finding


def claim(run: Callable[[Settings], Any], **given: Any) -> Claim:
    check = Check("only", "something", Role.PROOF, run, **given)
    return Claim("mine", "Mine", "$x = x$", "ours", Kind.THEOREM, (check,), assumptions=(Assumption("a", "$x$"),))


def test_a_check_that_raises_is_an_error_that_names_it() -> None:
    def broken(_: Settings) -> Finding:
        msg = "by nothing"
        raise ZeroDivisionError(msg)

    with pytest.raises(ClaimError, match="claim 'mine', check 'only' raised ZeroDivisionError: by nothing"):
        judge(claim(broken))


def test_a_check_that_overclaims_decides_nothing() -> None:
    def bold(_: Settings) -> Finding:
        return Finding(
            evidence=Evidence.SAMPLED, relation=Relation.EQUALITY, verdict=Verdict.PROVED, domain="", decided=3
        )

    found = judge(claim(bold))
    assert found.verdict is Verdict.UNDECIDED
    assert "samples prove nothing" in found.checks[0].lacking


def test_only_an_evidence_function_issues_a_finding() -> None:
    with pytest.raises(ClaimError, match="only an evidence function"):
        issue(**PROVED.model_dump())


@pytest.mark.parametrize("returned", [None, True, "PROVED"])
def test_a_check_that_returns_no_finding_is_an_error(returned: object) -> None:
    with pytest.raises(ClaimError, match="must return a Finding"):
        judge(claim(lambda _: returned))


def test_a_check_that_leaves_the_program_does_not_pass() -> None:
    def leaving(_: Settings) -> Finding:
        raise SystemExit(0)

    with pytest.raises(ClaimError, match="raised SystemExit"):
        judge(claim(leaving))


def test_a_copy_with_another_verdict_decides_nothing() -> None:
    bold = CONSISTENT.model_copy(update={"verdict": Verdict.PROVED})
    found = judge(claim(lambda _: bold))
    assert found.verdict is Verdict.UNDECIDED
    assert found.checks[0].lacking == "no evidence function issued this finding"
    tables = CONSISTENT.with_tables(numbers={"of interest": 1})
    assert judge(claim(lambda _: tables)).checks[0].finding == tables


def test_a_module_in_a_package_that_is_not_there_is_missing() -> None:
    found = judge(claim(lambda _: PROVED, needs=(("no_such_package.part", "it"),)))
    assert found.checks[0].unavailable is not None


def test_what_is_missing_is_said_and_decides_nothing() -> None:
    found = judge(claim(lambda _: PROVED, needs=(("no_such_module", "kernelproof[peers]"),)))
    assert found.verdict is Verdict.UNDECIDED
    assert found.checks[0].unavailable == "needs kernelproof[peers]; pip install 'kernelproof[peers]'"


FILE = """
from kernelproof.theory.claim import Check, Claim, Kind, Role
from kernelproof.theory.domain import domain, integers
from kernelproof.theory.evidence import exact
from kernelproof.theory.statement import Statement

STATED = Statement(domain(n=integers(1, 8)), ("9 > n",))

CLAIM = Claim(
    "mine", "Mine", "$1 = 1$", "ours", Kind.THEOREM,
    (Check("one", "that", Role.PROOF, lambda _: {run}{drops}),), formal=STATED,
)
"""


def write(folder: Path, *, run: str = "", drops: str = "") -> str:
    path = folder / "mine.py"
    path.write_text(FILE.format(run=run or "exact.proves(STATED)", drops=drops))
    return str(path)


def test_a_claim_in_a_file_is_judged(tmp_path: Path) -> None:
    assert judge_all([write(tmp_path)], Settings())[0].verdict is Verdict.PROVED


def test_a_claim_that_drops_what_it_does_not_assume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="drops 'weather'"):
        discovery.claim(write(tmp_path, drops=", drops='weather'"))


def test_unknown_names_and_files_are_told() -> None:
    with pytest.raises(DomainError, match=r"no claim 'sofmax' \(did you mean softmax\?\); known: "):
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
