"""Every claim passes; every false variant of it does not, and is refuted where a witness exists."""

from __future__ import annotations

import pytest

from kernelproof.theory import discovery
from kernelproof.theory.claim import FalseVariant, Kind, Role, Settings
from kernelproof.theory.finding import Verdict
from kernelproof.theory.verdicts import judge

NAMES = discovery.built_in()
QUICK = Settings(examples=40)
FALSE = [pytest.param(variant, id=f"{name}: {variant.name}") for name in NAMES for variant in discovery.variants(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_passes(name: str) -> None:
    claim = discovery.claim(name)
    found = judge(claim, QUICK)
    assert found.verdict.passes, [check for check in found.checks if check.finding and not check.finding.verdict.passes]
    assert found.passes, found.reason
    assert (found.verdict is Verdict.CONSISTENT) == (claim.why_not_more != ""), "say why not more, or nothing"
    assert (found.verdict is Verdict.DERIVED) == (claim.argument != ""), "words join the steps, or a machine does"
    assert {check.id for check in claim.checks} == {check.id for check in found.checks}


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_has_a_false_variant(name: str) -> None:
    assert discovery.variants(name)


@pytest.mark.parametrize("variant", FALSE)
def test_a_false_variant_does_not_pass(variant: FalseVariant) -> None:
    verdict = judge(variant.claim, QUICK, until_refuted=True).verdict
    assert verdict not in {Verdict.PROVED, Verdict.DERIVED}
    if variant.refuted:
        assert verdict is Verdict.REFUTED


@pytest.mark.parametrize("name", ["softmax", "normalized_relu", "entmax"])
def test_each_assumption_of_a_correspondence_is_dropped_by_a_check(name: str) -> None:
    claim = discovery.claim(name)
    dropped = {check.drops for check in claim.checks if check.role is Role.NECESSITY}
    assert dropped == {each.id for each in claim.assumptions}


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_says_what_a_reader_needs(name: str) -> None:
    claim = discovery.claim(name)
    assert claim.source
    assert claim.variables or claim.kind is Kind.NUMBER
    assert claim.statement.count("$") % 2 == 0
    assert claim.statement.count(r"\[") == claim.statement.count(r"\]")
