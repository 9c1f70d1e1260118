from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from kernelproof.reports.junit import junit
from kernelproof.verify.record.schema import Results, Verdict

MARKS = {
    Verdict.PASS: [],
    Verdict.FAIL: ["failure"],
    Verdict.UNDECIDED: ["failure"],
    Verdict.CRASH: ["error"],
    Verdict.UNSUPPORTED: ["skipped"],
    Verdict.UNAVAILABLE: ["skipped"],
}


def parse(results: Results) -> ET.Element:
    return ET.fromstring(junit(results).encode())  # noqa: S314  our own text


def marks(case: ET.Element) -> list[str]:
    return [mark.tag for mark in case if mark.tag != "system-out"]


def test_every_check_is_a_case_with_its_verdict(results: Results) -> None:
    root = parse(results)
    for target, suite in zip(results.targets, root, strict=False):
        cases = list(suite)
        if target.checks:
            assert [case.get("name") for case in cases] == [check.id for check in target.checks]
            assert [marks(case) for case in cases] == [MARKS[check.verdict] for check in target.checks]
        else:
            assert [marks(case) for case in cases] == [MARKS[target.verdict]]


def test_counts_are_those_of_the_cases(results: Results) -> None:
    root = parse(results)
    for node in (root, *root):
        assert int(node.get("tests", "")) == len(list(node.iter("testcase")))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(node.get(name, "")) == len(list(node.iter(tag)))


def test_a_failure_carries_its_reproducing_lines(results: Results) -> None:
    failure = next(parse(results).iter("failure"))
    assert failure.get("type") == "FAIL"
    assert "kernelproof verify numba --case" in (failure.text or "")


def test_skips_say_why(results: Results) -> None:
    found = [mark.get("message") for mark in parse(results).iter("skipped")]
    assert set(results.skipped) < set(found)


@pytest.mark.parametrize("passed", [True, False])
def test_the_xml_is_red_exactly_if_the_run_did_not_pass(
    make_results: Callable[..., Results], clean_results: Results, *, passed: bool
) -> None:
    root = parse(make_results(passed=passed, targets=clean_results.targets))
    assert (int(root.get("failures", "")) + int(root.get("errors", "")) == 0) is passed


def test_markup_from_outside_is_text(hostile_results: Results) -> None:
    root = parse(hostile_results)
    assert {node.tag for node in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"
    }  # fmt: skip
    assert any("<script>alert(1)</script>]]>" in (node.get("message") or "") for node in root.iter("failure"))


def test_extreme_and_empty_records_are_xml(extreme_results: Results, empty_results: Results) -> None:
    assert len(parse(extreme_results)) > 0
    assert [mark.get("message") for mark in parse(empty_results).iter("failure")] == [
        "the run did not pass, and no check of a target failed"
    ]
