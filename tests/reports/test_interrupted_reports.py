"""A run that was interrupted says so in every format, and a whole one in none."""

from __future__ import annotations

import pytest

from kernelproof import reports
from kernelproof.reports.text import INTERRUPTED
from kernelproof.verify.record.schema import Results


@pytest.mark.parametrize("name", ["index.html", "report.md", "junit.xml"])
def test_every_format_says_it(name: str, results: Results) -> None:
    assert INTERRUPTED not in reports.render(results)[name]
    assert INTERRUPTED in reports.render(results.model_copy(update={"interrupted": True}))[name]
