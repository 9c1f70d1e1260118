"""JUnit XML, for services that show test results: one suite per target, one case per check.

FAIL, UNDECIDED and XPASS become failures; CRASH becomes an error; UNSUPPORTED, UNAVAILABLE and XFAIL become skips with
their reasons. Only PASS passes.
"""

from __future__ import annotations

from math import isfinite
from xml.etree import ElementTree as ET

from kernelproof.reference.plain_text import clean, one_line
from kernelproof.reports.summary import cases
from kernelproof.reports.text import INTERRUPTED
from kernelproof.verify.record.schema import Check, Results, Target, Verdict

_TAGS = {
    Verdict.FAIL: "failure",
    Verdict.XPASS: "failure",
    Verdict.XFAIL: "skipped",
    Verdict.UNDECIDED: "failure",
    Verdict.CRASH: "error",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.UNAVAILABLE: "skipped",
}


def junit(results: Results) -> str:
    """Return `results` as JUnit XML 1.0 text; characters that XML does not allow become escapes."""
    root = ET.Element(
        "testsuites", name="kernelproof", time=f"{results.seconds if isfinite(results.seconds) else 0:.3f}"
    )
    for target in results.targets:
        _suite(
            root,
            results,
            f"{target.name} ({target.device})",
            [_case(target, check) for check in target.checks] or [_target_case(target)],
        )
    if results.skipped:
        skips = [_element(target="run", name=reason, tag="skipped", message=reason) for reason in results.skipped]
        _suite(root, results, "skipped", skips)
    if results.interrupted:
        cut = _element(target="run", name="interrupted", tag="error", kind="INTERRUPTED", message=INTERRUPTED)
        _suite(root, results, "run", [cut])
    if not results.passed and not any(_count(root, tag) for tag in ("failure", "error")):
        found = "the run did not pass, and no check of a target failed"
        _suite(root, results, "run", [_element(target="run", name="passed", tag="failure", message=found)])
    for tag, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        root.set(name, str(_count(root, tag)))
    ET.indent(root, space=" ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _count(node: ET.Element, tag: str) -> int:
    return sum(1 for _ in node.iter(tag))


def _suite(root: ET.Element, results: Results, name: str, found: list[ET.Element]) -> None:
    suite = ET.SubElement(root, "testsuite", name=one_line(name), timestamp=one_line(results.started))
    suite.extend(found)
    for tag, attribute in (("testcase", "tests"), ("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(_count(suite, tag)))


def _element(target: str, name: str, tag: str | None = None, kind: str = "", message: str = "") -> ET.Element:
    case = ET.Element("testcase", classname=one_line(target), name=one_line(name))
    if tag is not None:
        mark = ET.SubElement(case, tag, message=one_line(message))
        if kind:
            mark.set("type", kind)
    return case


def _case(target: Target, check: Check) -> ET.Element:
    shown = cases(check)
    message = shown[0].message if shown else f"{check.decided} decided, {check.undecided} undecided"
    if check.reasons:
        came = "expected to fail, and passed" if check.verdict is Verdict.XPASS else "expected to fail"
        message = f"{came}: {'; '.join(check.reasons)}"
    case = _element(target.name, check.id, _TAGS.get(check.verdict), check.verdict.value, message)
    lines = [line for worst in shown for line in (worst.message, f"case: {worst.case}", worst.reproduce, "")]
    for mark in case:
        if mark.tag != "skipped":
            mark.text = clean("\n".join([check.title, "", *lines]))
    if check.verdict is Verdict.PASS:
        note = f"{check.decided} decided, {check.undecided} undecided"
        ET.SubElement(case, "system-out").text = note
    return case


def _target_case(target: Target) -> ET.Element:
    message = target.note or f"{target.verdict.value}: no check ran"
    tag = _TAGS.get(target.verdict, None if target.passed else "failure")
    return _element(target.name, "target", tag, target.verdict.value, message)
