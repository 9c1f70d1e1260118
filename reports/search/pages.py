"""The pages of `fuzz` and `worst-case`: they open offline, have no script, and escape every text from outside."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment

from kernelproof.reports import summary, text
from kernelproof.reports.overview import overview
from kernelproof.reports.renderer import templates
from kernelproof.reports.search.coverage import families_tried, tried
from kernelproof.reports.search.extremes import sections
from kernelproof.verify.fuzz.fuzz_record import FuzzResults
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults
from kernelproof.verify.records import OPS


def fuzz_page(results: FuzzResults) -> str:
    """Return `results` as an HTML page; a pure function of its argument."""
    cells = results.coverage
    found = len(results.findings)
    return _filled(
        "fuzz.html.j2",
        results=results,
        said="Nothing found" if results.passed else f"{found} found" if found else "Nothing decided",
        ops=[op for op in OPS if any(cell.op == op for cell in cells)],
        dtypes=list(dict.fromkeys(cell.dtype for cell in cells)),
        decided=sum(cell.decided for cell in cells),
        undecided=sum(cell.undecided for cell in cells),
        grid=families_tried(cells),
        lines=tried(cells),
    )


def worst_case_page(results: WorstCaseResults) -> str:
    """Return `results` as an HTML page; a pure function of its argument."""
    return _filled("worst_case.html.j2", results=results, seen=overview(results), sections=list(sections(results)))


def listed(value: Any) -> str:
    """Return an array of a witness, given as nested lists of numbers, as text; JSON holds some numbers as words.

    >>> listed([[0.5, "NaN"], [True, "-Infinity"]])
    '[[0.5, NaN], [True, −∞]]'
    """
    if isinstance(value, list):
        return f"[{', '.join(map(listed, value))}]"
    return text.number(value) if isinstance(value, str) else str(value)


def _filled(name: str, *, results: FuzzResults | WorstCaseResults, **held: Any) -> str:
    environment = summary.flat(results.environment)
    return (
        _environment()
        .get_template(name)
        .render(results=results, interrupted=text.INTERRUPTED, environment=environment, **held)
    )


def _environment() -> Environment:
    environment = templates()
    environment.filters |= {
        "order": summary.order_label,
        "grade": lambda grade: f"g-{grade.lower()}" if grade else "",
        "listed": listed,
        "depth": lambda count: f"h{min(5, 1 + int(math.log10(count)))}",
    }
    return environment
